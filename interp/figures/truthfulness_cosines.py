"""The cosines of the truth directions of all layers with each other."""

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from interp.errors import ResultError
from interp.figures.maps import pinned_map
from interp.figures.style import styled
from interp.results.truthfulness import ROLES, TruthfulnessComparison


# Base with itself, post with itself, and base (rows) with post (columns).
PAIRS = ((0, 0), (1, 1), (0, 1))


def direction_cosines(result: TruthfulnessComparison) -> go.Figure:
    """Cosine of the directions of all layers: within base, within post, across.

    Blocks of one colour are layers that hold truth along one direction.

    Args:
        result: The comparison.

    Raises:
        ResultError: If the result is of a version that did not keep them.
    """
    if not result.layer_cosines.size:
        raise ResultError(
            "This result does not hold the cosines of all layers.",
            remedy="Run the study again with this version, or draw cosine_curve.",
        )
    titles = [
        # Three of them stand beside each other on a phone.
        ROLES[i] if i == j else f"{ROLES[i]} × {ROLES[j]}"
        for i, j in PAIRS
    ]
    figure = make_subplots(
        rows=1,
        cols=3,
        subplot_titles=titles,
        shared_yaxes=True,
        horizontal_spacing=0.04,
    )
    for column, (i, j) in enumerate(PAIRS, start=1):
        last = column == len(PAIRS)
        trace = pinned_map(
            result.layer_cosines[i, j],
            x=result.layers,
            y=result.layers,
            gap=0,
            bar="cosine" if last else None,
        ).update(
            hovertemplate=f"{ROLES[i]} layer %{{y}}, {ROLES[j]} layer %{{x}}<br>"
            "cosine %{z:.3f}<extra></extra>",
        )
        figure.add_trace(trace, row=1, col=column)
    step = max(1, len(result.layers) // 8)
    figure.update_xaxes(title_text="layer", dtick=step, tick0=0, showgrid=False)
    figure.update_yaxes(dtick=step, tick0=0, showgrid=False)
    figure.update_yaxes(title_text="layer (rows: base)", col=1)
    figure.update_annotations(font={"size": 13})
    return styled(
        figure,
        title="How alike the truth directions of all layers are",
        height=380,
    )
