"""How alike two models' refusal directions are at every position and layer."""

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from interp.errors import ResultError
from interp.figures.maps import pinned_map
from interp.figures.style import plain, styled
from interp.results.refusal import RefusalComparison, RefusalCosine


TEMPLATES = {
    "own": "each in its own template",
    "common": "both in post's template",
}
PIXELS_PER_ROW = 34


def cosine_positions(result: RefusalComparison) -> go.Figure:
    """Cosine of the two models' refusal directions by position and layer.

    A low cosine in the models' own templates alone can come from the templates.

    Args:
        result: The comparison.

    Raises:
        ResultError: If the result does not hold the cosines by position.
    """
    if not result.cosines:
        raise ResultError(
            "This result does not hold the cosines by position.",
            remedy="Run the refusal study again, which keeps them.",
        )
    rows = result.cosines
    templates = [name for name in TEMPLATES if any(r.template == name for r in rows)]
    figure = make_subplots(
        rows=len(templates),
        cols=1,
        subplot_titles=[TEMPLATES[name] for name in templates],
        vertical_spacing=0.28 if len(templates) > 1 else 0,
    )
    height = 0
    for number, name in enumerate(templates, start=1):
        own = [row for row in rows if row.template == name]
        positions = sorted({row.position for row in own}, reverse=True)
        height = max(height, len(positions))
        figure.add_trace(_map(own, positions), row=number, col=1)
        # One scale is enough for both.
        figure.data[-1].showscale = number == 1
        figure.update_yaxes(
            tickvals=[*range(len(positions))],
            ticktext=[_position(own, position) for position in positions],
            autorange="reversed",
            title_text="position",
            row=number,
            col=1,
        )
        layers = sorted({row.layer for row in own})
        figure.update_xaxes(tickvals=layers if len(layers) <= 32 else None, row=number)
    figure.update_xaxes(title_text="layer (resid_pre)", row=len(templates), col=1)
    figure.update_xaxes(showgrid=False)
    figure.update_yaxes(showgrid=False)
    return styled(
        figure,
        title="Cosine of the two models' refusal directions by position",
        height=150 + len(templates) * (90 + PIXELS_PER_ROW * height),
    )


def _map(rows: list[RefusalCosine], positions: list[int]) -> go.Heatmap:
    layers = sorted({row.layer for row in rows})
    z = np.full((len(positions), len(layers)), np.nan, dtype=np.float32)
    for row in rows:
        z[positions.index(row.position), layers.index(row.layer)] = row.cosine
    said = [[_position(rows, position)] * len(layers) for position in positions]
    # The figure's title says of what; above the bar it would meet those of panels.
    return pinned_map(z, x=layers, y=[*range(len(positions))], bar="").update(
        customdata=said,
        hovertemplate="position %{customdata}<br>layer %{x}<br>cosine %{z:.3f}"
        "<extra></extra>",
    )


def _position(rows: list[RefusalCosine], position: int) -> str:
    """A position as an axis says it: its number and the tokens that stand there."""
    row = next(row for row in rows if row.position == position)
    tokens = list(dict.fromkeys((row.base_token, row.post_token)))
    return f"{position} " + plain(" / ".join(repr(token)[1:-1] for token in tokens))
