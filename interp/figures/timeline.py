"""Figures of a `HeadTimeline`. Each is a pure function of the result."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from interp.figures.style import DIVERGING, MODEL_COLOURS, NEUTRAL, faded, styled
from interp.figures.timeline_parts import (
    COLOURS,
    ROW_HEIGHT,
    add_curve,
    even_ticks,
    head_values,
    metric_words,
    small_words,
    spread_ticks,
    step_places,
    with_steps,
)
from interp.results.timeline import HeadTimeline


# Rows of a map and curves below each other that a screen can show.
MOST_HEADS, MOST_CURVES = 64, 6
# Pictures of a film; of more checkpoints some are passed over, evenly.
MOST_FRAMES = 120
Order = Literal["layer", "final"]
Scale = Literal["even", "log"]
_ABOVE = (
    (0.0, faded(MODEL_COLOURS["base"], 0.0)),
    (1.0, faded(MODEL_COLOURS["base"], 0.9)),
)


def map_heads(
    result: HeadTimeline, metric: str, *, order: Order = "layer"
) -> tuple[str, ...]:
    """The heads that a map of a metric shows, from its top: at most 64.

    Of more those are shown that are ever highest.

    Args:
        result: The timeline.
        metric: Which metric.
        order: By layer, or by the value at the last checkpoint, highest first.

    Raises:
        ConfigError: If it was not measured.
    """
    values = result.value(metric)
    flat = values.reshape(len(values), -1).T
    finite = np.isfinite(flat)
    ever = np.where(finite, flat, -np.inf).max(axis=1)
    kept = np.sort(np.argsort(-ever, kind="stable")[:MOST_HEADS])
    kept = kept[finite[kept].any(axis=1)]
    if order == "final":
        last = np.where(finite[kept, -1], flat[kept, -1], -np.inf)
        kept = kept[np.argsort(-last, kind="stable")]
    return tuple(f"L{i // values.shape[2]}H{i % values.shape[2]}" for i in kept)


def timeline_map(
    result: HeadTimeline,
    metric: str,
    *,
    order: Order = "layer",
    scale: Scale = "even",
) -> go.Figure:
    """One metric of every head over the checkpoints.

    Colour starts where chance is, or at zero. Of more than 64 heads those are shown
    that are ever highest, and the title says so.

    Args:
        result: The timeline.
        metric: Which metric.
        order: Heads by layer, or by the value at the last checkpoint, highest first.
        scale: Checkpoints evenly spaced, or at the logarithm of their step plus the
            first one above 0, so that step 0 has a place too.

    Raises:
        ConfigError: If it was not measured.
    """
    names = map_heads(result, metric, order=order)
    values = result.value(metric)
    n_checkpoints, n_layers, n_heads = values.shape
    table = np.stack([head_values(values, name) for name in names] or [[]])
    chance = float(result.chance[result.metrics.index(metric)])
    x = np.arange(n_checkpoints, dtype=float)
    if scale == "log":
        first = min(result.steps[result.steps > 0].tolist(), default=1)
        x = np.log10(result.steps / first + 1)
    figure = go.Figure(
        go.Heatmap(
            z=table,
            x=x.astype(np.float32),
            y=np.arange(len(names)),
            customdata=np.tile(result.steps, (len(names), 1))[..., None],
            text=[[name] * n_checkpoints for name in names],
            **_colours(table, chance),
            colorbar={"title": {"text": metric_words(metric)}, "thickness": 14},
            hovertemplate="%{text}, step %{customdata[0]}<br>%{z:.3f}<extra></extra>",
            ygap=1,
        )
    )
    at = even_ticks(n_checkpoints) if scale == "even" else spread_ticks(x)
    figure.update_xaxes(
        tickvals=x[at], ticktext=[f"{result.steps[i]}" for i in at], showgrid=False
    )
    every = max(1, len(names) // 24)
    figure.update_yaxes(
        tickvals=np.arange(len(names))[::every],
        ticktext=names[::every],
        showgrid=False,
        autorange="reversed",
    )
    shown = len(names) if len(names) < n_layers * n_heads else "all"
    rest = "" if shown == "all" else f", {shown} of {n_layers * n_heads} heads"
    known = "" if np.isnan(chance) else f" (chance: {chance:.2f})"
    return styled(
        figure,
        title=f"{metric_words(metric)} of each head over training{known}{rest}",
        x="step (checkpoints evenly spaced)"
        if scale == "even"
        else "step (logarithmic)",
        y="head",
        height=max(280, 130 + 16 * len(names)),
    )


def _colours(table: np.ndarray, chance: float) -> dict[str, Any]:
    """A scale from chance, or zero, to the highest; both ways from zero if need be."""
    if np.isnan(chance) and np.nanmin(table, initial=0.0) < 0:
        # What can be negative is pinned at zero, where the background shows.
        high = max(float(np.nanmax(np.abs(table))), 0.05)
        return {"colorscale": DIVERGING, "zmin": -high, "zmax": high}
    low = 0.0 if np.isnan(chance) else chance
    high = max(float(np.nanmax(table, initial=0.0)), low + 0.1)
    return {"colorscale": _ABOVE, "zmin": low, "zmax": high}


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
    x = step_places(result)[0]
    figure = make_subplots(
        rows=len(names), cols=1, shared_xaxes=True, vertical_spacing=0.16 / len(names)
    )
    for row, name in enumerate(names, start=1):
        colour = COLOURS[(row - 1) % len(COLOURS)]
        add_curve(figure, result, name, row=row, x=x, colour=colour)
    styled(
        figure,
        title="What changes during training, and when",
        height=90 + ROW_HEIGHT * len(names),
    )
    return with_steps(figure, result, rows=len(names))


def timeline_scatter(
    result: HeadTimeline,
    x: str = "prefix_matching",
    y: str = "copying",
    *,
    checkpoint: int = -1,
) -> go.Figure:
    """Two metrics of every head at one checkpoint, with the way of the highest heads.

    An induction head both looks at what followed and copies it: upper right. Lines are
    the way of the three heads that end furthest to the right. The axes hold all
    checkpoints, so that figures of two of them can be compared.

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
    figure = go.Figure(_ways(result, x, y, n_shown=checkpoint % len(across) + 1))
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
            f"{metric_words(x)} %{{x:.3f}}<br>"
            f"{metric_words(y)} %{{y:.3f}}<extra></extra>",
        )
    )
    figure.update_xaxes(range=_ends(across))
    figure.update_yaxes(range=_ends(up))
    return styled(
        figure,
        title=f"{metric_words(x)} and {small_words(y)} of each head",
        x=f"{small_words(x)} (share of attention)",
        y=small_words(y),
        height=420,
    )


def _ways(result: HeadTimeline, x: str, y: str, *, n_shown: int) -> list[go.Scatter]:
    """The way of the heads that end highest, up to a checkpoint."""
    across, up = result.value(x), result.value(y)
    names = [
        name for name in result.top(x) if np.isfinite(head_values(across, name)).any()
    ]
    return [
        go.Scatter(
            x=head_values(across, name)[:n_shown],
            y=head_values(up, name)[:n_shown],
            mode="lines+markers",
            name=f"way of {name}",
            line={"color": colour, "width": 1.5, "dash": "dot"},
            marker={"size": 4},
            customdata=result.steps,
            hovertemplate=f"{name}, step %{{customdata}}<br>"
            f"{metric_words(x)} %{{x:.3f}}<br>"
            f"{metric_words(y)} %{{y:.3f}}<extra></extra>",
        )
        for colour, name in zip(COLOURS[1:], names, strict=False)
    ]


def timeline_film(
    result: HeadTimeline,
    x: str = "prefix_matching",
    y: str = "copying",
    *,
    checkpoint: int = -1,
) -> go.Figure:
    """`timeline_scatter` with buttons that play all checkpoints, one after the other.

    Args:
        result: The timeline.
        x: A metric.
        y: Another.
        checkpoint: Which checkpoint is shown before it is played.

    Raises:
        ConfigError: If one of them was not measured.
    """
    figure = timeline_scatter(result, x, y, checkpoint=checkpoint)
    n = len(result.steps)
    places = np.unique(np.linspace(0, n - 1, min(n, MOST_FRAMES)).round().astype(int))
    figure.frames = [
        go.Frame(
            name=str(result.steps[place]),
            data=timeline_scatter(result, x, y, checkpoint=place).data,
        )
        for place in places.tolist()
    ]
    # Redrawn, so that the legend names the step.
    shown = {"frame": {"duration": 300, "redraw": True}, "transition": {"duration": 0}}
    play = {"label": "Play", "method": "animate", "args": [None, shown]}
    # What is animated next is nothing, at once: that is how plotly stops.
    stop = {"mode": "immediate", "frame": {"duration": 0, "redraw": False}}
    pause = {"label": "Pause", "method": "animate", "args": [[None], stop]}
    return figure.update_layout(
        updatemenus=[
            {
                "type": "buttons",
                "direction": "left",
                "buttons": [play, pause],
                "x": 1,
                "xanchor": "right",
                "y": 0,
                "yanchor": "bottom",
                "showactive": False,
                "bgcolor": faded(NEUTRAL),
            }
        ]
    )


def _ends(values: np.ndarray) -> list[float]:
    """The range of an axis that holds all values."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    margin = 0.05 * (high - low or 1.0)
    return [low - margin, high + margin]


def _chosen(result: HeadTimeline) -> tuple[str, ...]:
    """Curves that change first; means of several heads only say the same again."""
    changing = {row.curve for row in result.phases if row.verdict == "transition"}
    names = [name for name in result.curves if "(mean of" not in name]
    ordered = sorted(names, key=lambda name: name not in changing)
    return tuple(ordered[:MOST_CURVES])
