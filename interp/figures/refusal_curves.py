"""The three scores of every candidate direction by layer, one curve per position."""

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from interp.errors import ResultError
from interp.figures.refusal_candidates import PANELS, panel_titles
from interp.figures.style import (
    FALSE_COLOUR,
    MODEL_COLOURS,
    NEUTRAL,
    TRUE_COLOUR,
    faded,
    plain,
    styled,
)
from interp.results.refusal import RefusalCandidate, RefusalComparison, RefusalLimits


# At least 3 : 1 on white and on #15171b; told apart by the dash of the line too.
COLOURS = (*MODEL_COLOURS.values(), TRUE_COLOUR, FALSE_COLOUR, "#8f7d1e", "#7470d6")
DASHES = ("solid", "dash", "dot")
LATE = "in the last layers"
SHADE = 0.14


def candidate_places(
    result: RefusalComparison,
) -> tuple[list[tuple[int, str]], list[int]]:
    """The rows and columns of candidates: positions with their token, and layers."""
    tokens = {one.position: one.token for one in result.candidates}
    layers = sorted({one.layer for one in result.candidates})
    return sorted(tokens.items()), layers


def candidate_curves(result: RefusalComparison) -> go.Figure:
    """Bypass, induce and KL of every candidate by layer, one curve per position.

    Excluded regions are shaded: the last layers, and scores beyond the limits. The star
    is the chosen candidate; a hollow marker fell; scores that the choice did not need
    are gaps. `customdata` begins with the places of position and layer in
    `candidate_places`.

    Args:
        result: The comparison.

    Raises:
        ResultError: If the result has no candidates.
    """
    if not result.candidates:
        raise ResultError(
            f"{result!r} has no candidate directions.",
            remedy="Its notes say why; draw another figure.",
        )
    positions, layers = candidate_places(result)
    figure = make_subplots(
        rows=len(PANELS),
        cols=1,
        shared_xaxes=True,
        subplot_titles=panel_titles(result),
        vertical_spacing=0.08,
    )
    for row, (name, _) in enumerate(PANELS, start=1):
        for at in range(len(positions)):
            figure.add_trace(_curve(result, name, at, show=row == 1), row=row, col=1)
        unit = "nats" if name == "kl" else "log odds"
        figure.update_yaxes(title_text=unit, row=row, col=1)
        _shade(figure, result, name, row)
    ends = [layers[0] - 0.5, layers[-1] + 0.5]
    figure.update_xaxes(range=ends, dtick=max(1, len(layers) // 16), tick0=0)
    figure.update_xaxes(title_text="layer (resid_pre)", row=len(PANELS), col=1)
    figure.update_annotations(font={"size": 13})
    return styled(
        figure,
        title="Candidate directions by layer",
        height=720,
    ).update_layout(margin={"t": 96})


def _curve(result: RefusalComparison, name: str, at: int, *, show: bool) -> go.Scatter:
    positions, layers = candidate_places(result)
    position, token = positions[at]
    own = sorted(
        (one for one in result.candidates if one.position == position),
        key=lambda one: one.layer,
    )
    colour = COLOURS[at % len(COLOURS)]
    return go.Scatter(
        x=[one.layer for one in own],
        y=np.array([getattr(one, name) for one in own], np.float32),
        mode="lines+markers",
        name=f"{position} {plain(token)[:18]}",
        legendgroup=str(position),
        showlegend=show,
        line={
            "color": colour,
            "width": 2,
            "dash": DASHES[at // len(COLOURS) % len(DASHES)],
        },
        marker={
            "symbol": [_symbol(one) for one in own],
            "size": [16 if one.fate == "chosen" else 8 for one in own],
        },
        customdata=[[at, layers.index(one.layer), plain(_fate(one))] for one in own],
        hovertemplate=f"position {position}, layer %{{x}}<br>{name} %{{y:.3g}}<br>"
        "%{customdata[2]}",
    )


def _symbol(one: RefusalCandidate) -> str:
    if one.fate == "chosen":
        return "star"
    return "circle" if one.fate == "passed" else "circle-open"


def _fate(one: RefusalCandidate) -> str:
    share = f"; chosen in {one.share:.0%} of resamples" if one.share > 0 else ""
    return one.fate + share


def _shade(figure: go.Figure, result: RefusalComparison, name: str, row: int) -> None:
    """The region in which a candidate is not used."""
    limits = result.limits
    last = max(one.layer for one in result.candidates)
    late = _first_late_layer(result)
    style = {"fillcolor": faded(NEUTRAL, SHADE), "line": {"width": 0}, "layer": "below"}
    if late <= last:
        figure.add_vrect(x0=late - 0.5, x1=last + 0.5, row=row, col=1, **style)  # pyright: ignore[reportArgumentType]
    if limits is None:
        return
    limit, is_upper = _limit(limits, name)
    values = [getattr(one, name) for one in result.candidates]
    finite = [value for value in [*values, limit] if np.isfinite(value)]
    if not np.isfinite(limit):
        return
    pad = 0.12 * (max(finite) - min(finite) or 1.0)
    low, high = min(finite) - pad, max(finite) + pad
    ends = (limit, high) if is_upper else (low, limit)
    figure.add_hrect(y0=ends[0], y1=ends[1], row=row, col=1, **style)  # pyright: ignore[reportArgumentType]
    figure.update_yaxes(range=[low, high], row=row, col=1)


def _limit(limits: RefusalLimits, name: str) -> tuple[float, bool]:
    """A score's limit, and whether what lies above it is excluded."""
    match name:
        case "bypass":
            return limits.max_bypass, True
        case "induce":
            return limits.min_induce, False
        case _:
            return limits.max_kl, True


def _first_late_layer(result: RefusalComparison) -> int:
    if result.limits is not None:
        return result.limits.first_late_layer
    # Older results say it in words only.
    late = [one.layer for one in result.candidates if one.fate.startswith(LATE)]
    return min(late, default=max(one.layer for one in result.candidates) + 1)
