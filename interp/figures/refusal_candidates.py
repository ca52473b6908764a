"""Figures of how a refusal direction was chosen and of what adding it does."""

import math

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from interp.errors import ResultError
from interp.figures.intervals import Estimates
from interp.figures.style import (
    DIVERGING,
    FALSE_COLOUR,
    MODEL_COLOURS,
    NEUTRAL,
    TRUE_COLOUR,
    model_names,
    plain,
    styled,
)
from interp.results.refusal import (
    RefusalCandidate,
    RefusalComparison,
    RefusalDose,
    Source,
)
from interp.results.truthfulness import ROLES, Role


PANELS = (
    ("bypass", "bypass: score when ablated, harmful"),
    ("induce", "induce: score when added, harmless"),
    ("kl", "KL when ablated, harmless"),
)
# High refusal scores in the colour of POST, low ones in that of BASE.
REVERSED = tuple((1 - at, colour) for at, colour in reversed(DIVERGING))
SEQUENTIAL = ((0.0, "rgba(21,144,127,0.05)"), (1.0, "rgba(21,144,127,0.9)"))
PIXELS_PER_POSITION = 34
NAN = float("nan")
SOURCE_COLOURS: dict[Source, str] = {
    "base": MODEL_COLOURS["base"],
    "post": MODEL_COLOURS["post"],
    "random": NEUTRAL,
}


def refusal_candidates(result: RefusalComparison) -> go.Figure:
    """The three scores of every candidate direction, position by layer.

    The chosen candidate is framed; a candidate without length, or whose score was not
    needed for the choice, has no colour. The middle of the two scales of refusal scores
    is 0, where refusing is as likely as not.

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
    positions = sorted({one.position for one in result.candidates})
    layers = sorted({one.layer for one in result.candidates})
    tokens = {one.position: one.token for one in result.candidates}
    figure = make_subplots(
        rows=len(PANELS),
        cols=1,
        shared_xaxes=True,
        subplot_titles=panel_titles(result),
        vertical_spacing=0.11,
    )
    for row, (name, _) in enumerate(PANELS, start=1):
        figure.add_trace(_heat(result, name, positions, layers, row), row=row, col=1)
        _frame_chosen(figure, result, positions, row)
        figure.update_yaxes(
            tickvals=list(range(len(positions))),
            ticktext=[f"{p} {plain(tokens[p])[:18]}" for p in positions],
            row=row,
            col=1,
        )
    figure.update_xaxes(dtick=max(1, len(layers) // 16), showgrid=False)
    figure.update_yaxes(showgrid=False)
    figure.update_xaxes(title_text="layer (resid_pre)", row=len(PANELS), col=1)
    figure.update_annotations(font={"size": 13})
    height = 190 + len(PANELS) * (70 + PIXELS_PER_POSITION * len(positions))
    return styled(
        figure,
        title="Candidate directions on validation prompts",
        height=height,
    ).update_layout(margin={"t": 96})


def panel_titles(result: RefusalComparison) -> list[str]:
    """What each panel of candidates shows, and of how many it lacks the score.

    Args:
        result: The comparison.
    """
    lacking = [
        sum(_is_left_out(one, name) for one in result.candidates) for name, _ in PANELS
    ]
    n = len(result.candidates)
    return [
        words + (f" ({gaps} of {n} not computed)" if gaps else "")
        for (_, words), gaps in zip(PANELS, lacking, strict=True)
    ]


def _is_left_out(one: RefusalCandidate, name: str) -> bool:
    return math.isnan(getattr(one, name)) and "not computed" in one.fate


def refusal_doses(result: RefusalComparison) -> go.Figure:
    """The refusal score of the first token by the strength of the added direction.

    One panel per model; harmless instructions to the right of 0, where a direction is
    added, harmful ones to the left, where it is subtracted. Bars are 95 % intervals.

    Args:
        result: The comparison.

    Raises:
        ResultError: If the result has no dose-response.
    """
    if not result.doses:
        raise ResultError(
            f"{result!r} has no dose-response.",
            remedy="It needs a chosen direction; draw another figure.",
        )
    names = model_names(result.models)
    roles: list[Role] = [
        role for role in ROLES if any(row.model == role for row in result.doses)
    ]
    figure = make_subplots(
        rows=len(roles),
        cols=1,
        shared_xaxes=True,
        subplot_titles=[f"in {names[role]}" for role in roles],
        vertical_spacing=0.14,
    )
    for number, role in enumerate(roles, start=1):
        for trace in _dose_traces(result, role, show_legend=number == 1):
            figure.add_trace(trace, row=number, col=1)
        figure.add_hline(0, line={"color": NEUTRAL, "width": 1}, row=number, col=1)  # pyright: ignore[reportArgumentType]
    figure.update_yaxes(title_text="refusal score")
    figure.update_xaxes(
        title_text="coefficient (harmful below 0, harmless above)",
        row=len(roles),
        col=1,
    )
    figure.update_annotations(font={"size": 13})
    return styled(
        figure,
        title="Adding the direction more or less",
        height=120 + 260 * len(roles),
    ).update_layout(margin={"t": 96})


def refusal_side_effects(result: RefusalComparison) -> go.Figure:
    """What ablating each direction does to ordinary text: loss and divergence.

    Args:
        result: The comparison.

    Raises:
        ResultError: If the result has no side effects.
    """
    if not result.side_effects:
        raise ResultError(
            f"{result!r} has no side effects.",
            remedy="It needs a direction that can be ablated; draw another figure.",
        )
    figure = go.Figure()
    labels = [f"{row.direction} direction" for row in result.side_effects]
    measures = (
        ("loss_change", "change of the loss", TRUE_COLOUR),
        ("divergence", "KL from the unchanged model", FALSE_COLOUR),
    )
    for name, words, colour in measures:
        found = Estimates.of(result.side_effects, name)
        figure.add_trace(
            found.bars(labels, colour=colour, name=words).update(
                customdata=[[row.n_tokens, row.n_texts] for row in result.side_effects],
                hovertemplate="%{y}: %{x:.3f} nats a token (%{customdata[0]} tokens of "
                "%{customdata[1]} texts)",
            )
        )
    figure.update_yaxes(autorange="reversed")
    return styled(
        figure,
        title="Side effects of ablation on ordinary text",
        x="nats a token",
        height=190 + 2 * PIXELS_PER_POSITION * len(labels),
    )


def _heat(
    result: RefusalComparison,
    name: str,
    positions: list[int],
    layers: list[int],
    row: int,
) -> go.Heatmap:
    values = np.full((len(positions), len(layers)), np.nan, np.float32)
    fates = np.full(values.shape, "", dtype=object)
    for one in result.candidates:
        at = positions.index(one.position), layers.index(one.layer)
        values[at] = getattr(one, name)
        share = f"; chosen in {one.share:.0%} of resamples" if one.share > 0 else ""
        fates[at] = one.fate + share
    finite = values[np.isfinite(values)]
    largest = float(abs(finite).max()) if finite.size else 1.0
    is_change = name == "kl"
    unit = "nats" if is_change else "log odds"
    n = len(PANELS)
    return go.Heatmap(
        x=layers,
        y=list(range(len(positions))),
        z=values,
        customdata=fates,
        colorscale=SEQUENTIAL if is_change else REVERSED,
        zmin=0.0 if is_change else -largest,
        zmax=largest or 1.0,
        xgap=1,
        ygap=1,
        colorbar={
            "title": {"text": unit, "side": "right"},
            "len": 0.8 / n,
            "y": 1 - (row - 0.5) / n,
            "thickness": 12,
        },
        hovertemplate=f"layer %{{x}}, position %{{y}}<br>{name} %{{z:.3g}} {unit}<br>"
        "%{customdata}<extra></extra>",
        showscale=True,
        name=name,
    )


def _frame_chosen(
    figure: go.Figure, result: RefusalComparison, positions: list[int], row: int
) -> None:
    for one in result.candidates:
        if one.fate != "chosen":
            continue
        at = positions.index(one.position)
        figure.add_shape(
            type="rect",
            x0=one.layer - 0.5,
            x1=one.layer + 0.5,
            y0=at - 0.5,
            y1=at + 0.5,
            line={"color": FALSE_COLOUR, "width": 3},
            row=row,
            col=1,
        )


def _dose_traces(
    result: RefusalComparison, role: Role, *, show_legend: bool
) -> list[go.Scatter]:
    arms: dict[tuple[Source, int], list[RefusalDose]] = {}
    for row in result.doses:
        if row.model == role:
            arms.setdefault((row.direction, row.draw), []).append(row)
    traces: list[go.Scatter] = []
    for (source, draw), rows in arms.items():
        rows = sorted(rows, key=lambda row: row.coefficient)
        name = "random, equal length" if source == "random" else f"{source} direction"
        # A gap at 0: the prompts on its two sides are not the same.
        gap = sum(row.coefficient < 0 for row in rows)
        scores = [(row.score, row.score_low, row.score_high) for row in rows]
        found = Estimates.stacked([*scores[:gap], (NAN, NAN, NAN), *scores[gap:]])
        facts = [[row.instructions, row.refused, row.n] for row in rows]
        traces.append(
            go.Scatter(
                x=np.insert([row.coefficient for row in rows], gap, 0.0),
                y=found.value,
                mode="lines+markers",
                name=name,
                legendgroup=source,
                showlegend=show_legend and draw == 0,
                line={"color": SOURCE_COLOURS[source], "width": 1 if draw else 2},
                # In the colour of the curve.
                error_y=found.whiskers()
                | {"color": None, "thickness": 1.2, "width": 3},
                customdata=[*facts[:gap], ["", 0, 0], *facts[gap:]],
                hovertemplate="%{customdata[0]}, coefficient %{x}: score %{y:.2f}, "
                "%{customdata[1]} of %{customdata[2]} above 0",
            )
        )
    return traces
