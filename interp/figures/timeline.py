"""Figures of a `HeadTimeline`. Each is a pure function of the result."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from interp.figures.style import (
    DIVERGING,
    FALSE_COLOUR,
    MODEL_COLOURS,
    NEUTRAL,
    TRUE_COLOUR,
    band,
    faded,
    plain,
    styled,
)
from interp.results.timeline import HeadTimeline
from interp.results.timeline_rows import PhaseChange


COLOURS = (*MODEL_COLOURS.values(), TRUE_COLOUR, FALSE_COLOUR)
# Rows of a map and curves below each other that a screen can show.
MOST_HEADS, MOST_CURVES = 64, 6
MOST_TICKS = 10
# Two standard errors, drawn around a mean.
ERRORS = 2.0
ROW_HEIGHT = 130
_ABOVE = (
    (0.0, faded(MODEL_COLOURS["base"], 0.0)),
    (1.0, faded(MODEL_COLOURS["base"], 0.9)),
)


def timeline_map(result: HeadTimeline, metric: str) -> go.Figure:
    """One metric of every head over the checkpoints.

    Colour starts where chance is, or at zero. Of more than 64 heads those are shown
    that are ever highest, and the title says so. Checkpoints are evenly spaced.

    Args:
        result: The timeline.
        metric: Which metric.

    Raises:
        ConfigError: If it was not measured.
    """
    values = result.value(metric)
    n_checkpoints, n_layers, n_heads = values.shape
    flat = values.reshape(n_checkpoints, -1).T
    finite = np.isfinite(flat)
    ever = np.where(finite, flat, -np.inf).max(axis=1)
    kept = np.sort(np.argsort(-ever, kind="stable")[:MOST_HEADS])
    kept = kept[finite[kept].any(axis=1)]
    names = [f"L{i // n_heads}H{i % n_heads}" for i in kept]
    chance = float(result.chance[result.metrics.index(metric)])
    low, high = 0.0 if np.isnan(chance) else chance, float(ever[kept].max(initial=0.0))
    scale = _ABOVE
    if np.isnan(chance) and np.nanmin(flat[kept], initial=0.0) < 0:
        # What can be negative is pinned at zero, where the background shows.
        high = float(np.nanmax(np.abs(flat[kept])))
        low, scale = -high, DIVERGING
    figure = go.Figure(
        go.Heatmap(
            z=flat[kept],
            x=np.arange(n_checkpoints),
            y=np.arange(len(kept)),
            customdata=np.tile(result.steps, (len(kept), 1))[..., None],
            text=[[name] * n_checkpoints for name in names],
            colorscale=scale,
            zmin=low,
            zmax=max(high, low + 0.1),
            colorbar={"title": {"text": plain(_words(metric))}, "thickness": 14},
            hovertemplate="%{text}, step %{customdata[0]}<br>%{z:.3f}<extra></extra>",
            ygap=1,
        )
    )
    at = _ticks(n_checkpoints)
    figure.update_xaxes(
        tickvals=at, ticktext=[f"{result.steps[i]}" for i in at], showgrid=False
    )
    every = max(1, len(names) // 24)
    figure.update_yaxes(
        tickvals=np.arange(len(names))[::every],
        ticktext=names[::every],
        showgrid=False,
        autorange="reversed",
    )
    shown = len(kept) if len(kept) < n_layers * n_heads else "all"
    rest = "" if shown == "all" else f", {shown} of {n_layers * n_heads} heads"
    known = "" if np.isnan(chance) else f" (chance: {chance:.2f})"
    return styled(
        figure,
        title=f"{_words(metric)} of each head over training{known}{rest}",
        x="step (checkpoints evenly spaced)",
        y="head",
        height=max(280, 130 + 16 * len(kept)),
    )


def timeline_curves(
    result: HeadTimeline, names: Sequence[str] | None = None
) -> go.Figure:
    """Curves over training, one below the other, with where each changes.

    The band around a curve is two standard errors over the evaluation sequences. The
    wide band across is the gap between the two checkpoints around the change, the
    narrow one the interval over sequences; the line is the logistic midpoint, the
    dotted ones are the other two estimators.

    Args:
        result: The timeline.
        names: Which curves, at most 6; those that change, then others, by default.

    Raises:
        ConfigError: If there is no such curve.
    """
    names = _chosen(result) if names is None else tuple(names)[:MOST_CURVES]
    logarithmic = any(row.scale == "log" for row in result.phases)
    x = np.log1p(result.steps) if logarithmic else result.steps.astype(float)
    figure = make_subplots(
        rows=len(names), cols=1, shared_xaxes=True, vertical_spacing=0.16 / len(names)
    )
    changes = {row.curve: row for row in result.phases}
    for row, name in enumerate(names, start=1):
        colour = COLOURS[(row - 1) % len(COLOURS)]
        mean, error = result.curve(name), _errors(result, name)
        there = np.isfinite(mean)
        spread = np.where(np.isfinite(error), ERRORS * error, 0.0)
        figure.add_trace(
            band(
                x[there],
                (mean - spread)[there].astype(np.float32),
                (mean + spread)[there].astype(np.float32),
                colour=colour,
                name=name,
            ),
            row=row,
            col=1,
        )
        figure.add_trace(
            go.Scatter(
                x=x[there],
                y=mean[there],
                mode="lines+markers",
                name=plain(_words(name)),
                line={"color": colour, "width": 2},
                marker={"size": 4},
                customdata=result.steps[there],
                hovertemplate="step %{customdata}<br>%{y:.3f}",
                showlegend=False,
            ),
            row=row,
            col=1,
        )
        figure.update_yaxes(title_text=_label(name), row=row, col=1)
        if name in changes:
            _mark(figure, changes[name], row, logarithmic=logarithmic)
    at = x[_ticks(len(x))]
    if logarithmic:
        wanted = np.linspace(x[0], x[-1], MOST_TICKS)
        at = np.unique([x[np.abs(x - place).argmin()] for place in wanted])
    steps = np.expm1(at) if logarithmic else at
    styled(
        figure,
        title="What changes during training, and when",
        height=90 + ROW_HEIGHT * len(names),
    )
    figure.update_xaxes(tickvals=at, ticktext=[f"{step:.0f}" for step in steps])
    scale = " (logarithm of step + 1)" if logarithmic else ""
    figure.update_xaxes(title_text=f"step{scale}", row=len(names), col=1)
    return figure


def timeline_scatter(
    result: HeadTimeline,
    x: str = "prefix_matching",
    y: str = "copying",
    *,
    checkpoint: int = -1,
) -> go.Figure:
    """Two metrics of every head at one checkpoint, with the way of the highest heads.

    An induction head both looks at what followed and copies it: upper right. Lines are
    the way of the three heads that end furthest to the right.

    Args:
        result: The timeline.
        x: A metric.
        y: Another.
        checkpoint: Which checkpoint, by its place.

    Raises:
        ConfigError: If one of them was not measured.
    """
    across, up = result.value(x), result.value(y)
    _, n_layers, n_heads = across.shape
    figure = go.Figure()
    ways = [name for name in result.top(x) if np.isfinite(_way(across, name)).any()]
    for colour, name in zip(COLOURS[1:], ways, strict=False):
        figure.add_trace(
            go.Scatter(
                x=_way(across, name)[: checkpoint % len(across) + 1],
                y=_way(up, name)[: checkpoint % len(up) + 1],
                mode="lines+markers",
                name=f"way of {name}",
                line={"color": colour, "width": 1.5, "dash": "dot"},
                marker={"size": 4},
                customdata=result.steps,
                hovertemplate=f"{name}, step %{{customdata}}<br>"
                f"{_words(x)} %{{x:.3f}}<br>{_words(y)} %{{y:.3f}}<extra></extra>",
            )
        )
    layers, heads = np.indices((n_layers, n_heads)).reshape(2, -1)
    figure.add_trace(
        go.Scatter(
            x=across[checkpoint].ravel(),
            y=up[checkpoint].ravel(),
            mode="markers",
            name=f"all heads at step {result.steps[checkpoint]}",
            marker={"size": 9, "color": MODEL_COLOURS["base"], "opacity": 0.75},
            customdata=np.stack([layers, heads], axis=-1),
            hovertemplate="L%{customdata[0]}H%{customdata[1]}<br>"
            f"{_words(x)} %{{x:.3f}}<br>{_words(y)} %{{y:.3f}}<extra></extra>",
        )
    )
    return styled(
        figure,
        title=f"{_words(x)} and {_words(y).lower()} of each head",
        x=f"{_words(x).lower()} (share of attention)",
        y=_words(y).lower(),
        height=420,
    )


def _way(values: np.ndarray, head: str) -> np.ndarray:
    layer, number = head.removeprefix("L").split("H")
    return values[:, int(layer), int(number)]


def _chosen(result: HeadTimeline) -> tuple[str, ...]:
    """Curves that change first; means of several heads only say the same again."""
    changing = {row.curve for row in result.phases if row.verdict == "transition"}
    names = [name for name in result.curves if "(mean of" not in name]
    ordered = sorted(names, key=lambda name: name not in changing)
    return tuple(ordered[:MOST_CURVES])


def _errors(result: HeadTimeline, name: str) -> np.ndarray:
    samples = result.samples[result.curves.index(name)]
    there = np.isfinite(samples)
    count = there.sum(axis=1)
    centred = np.where(there, samples - result.curve(name)[:, None], 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sqrt(np.square(centred).sum(axis=1) / (count * (count - 1)))


def _mark(
    # Plotly's own stubs say that a row is a text.
    figure: Any,
    change: PhaseChange,
    row: int,
    *,
    logarithmic: bool,
) -> None:
    """Bands and lines where a curve changes."""
    if change.verdict != "transition":
        return

    def at(step: float) -> float:
        return float(np.log1p(step)) if logarithmic else step

    middle = change.time("logistic midpoint")
    for low, high, opacity in (
        (middle.grid_low, middle.grid_high, 0.14),
        (middle.low, middle.high, 0.35),
    ):
        if np.isfinite([low, high]).all():
            figure.add_vrect(
                x0=at(low),
                x1=at(high),
                fillcolor=faded(NEUTRAL, opacity),
                line_width=0,
                layer="below",
                row=row,
                col=1,
            )
    for time in change.times:
        solid = time.estimator == "logistic midpoint"
        if np.isfinite(time.step):
            figure.add_vline(
                x=at(time.step),
                line={
                    "color": NEUTRAL,
                    "width": 1.5 if solid else 1,
                    "dash": "solid" if solid else "dot",
                },
                row=row,
                col=1,
            )


def _ticks(n: int) -> np.ndarray:
    return np.unique(np.linspace(0, n - 1, min(n, MOST_TICKS)).round().astype(int))


def _label(name: str) -> str:
    """The name of a curve on two short lines, as an axis has little room."""
    words = _words(name).lower().replace(" (", "<br>(")
    if "<br>" not in words and len(words) > 12:
        words = "<br>".join(words.rsplit(" ", 1))
    unit = "<br>(nats)" if name.startswith(("loss", "icl_score")) else ""
    return words + unit


def _words(name: str) -> str:
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]
