"""What the figures of a `HeadTimeline` are made of: curves, changes, axes of steps."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float, Float32, Int

from interp.figures.style import (
    FALSE_COLOUR,
    MODEL_COLOURS,
    NEUTRAL,
    TRUE_COLOUR,
    band,
    faded,
    plain,
)
from interp.results.timeline import HeadTimeline
from interp.results.timeline_rows import PhaseChange


COLOURS = (*MODEL_COLOURS.values(), TRUE_COLOUR, FALSE_COLOUR)
ROW_HEIGHT = 130
MOST_TICKS = 10
ABBREVIATIONS = {"auroc", "icl", "kl"}
LOGARITHM = "step (logarithm of step + 1)"
# Two standard errors, drawn around a mean.
ERRORS = 2.0


def step_places(result: HeadTimeline) -> tuple[Float[np.ndarray, " checkpoint"], bool]:
    """Where the checkpoints of curves lie, and whether on a logarithmic scale.

    Args:
        result: The timeline.
    """
    logarithmic = any(row.scale == "log" for row in result.phases)
    steps = result.steps.astype(float)
    return (np.log1p(steps) if logarithmic else steps), logarithmic


def with_steps(figure: go.Figure, result: HeadTimeline, *, rows: int) -> go.Figure:
    """The figure with steps at its horizontal axes, named below the last row.

    Args:
        figure: Is changed.
        result: The timeline.
        rows: How many rows there are.
    """
    x, logarithmic = step_places(result)
    at = spread_ticks(x) if logarithmic else even_ticks(len(x))
    figure.update_xaxes(
        tickvals=x[at], ticktext=[f"{step}" for step in result.steps[at]]
    )
    title = LOGARITHM if logarithmic else "step"
    return figure.update_xaxes(title_text=title, row=rows, col=1)


def add_curve(
    # Plotly's own stubs say that a row is a text.
    figure: Any,
    result: HeadTimeline,
    name: str,
    *,
    row: int,
    x: Float[np.ndarray, " checkpoint"],
    colour: str,
) -> None:
    """Draw one curve with its errors and changes into a row of a figure.

    Args:
        figure: Is changed.
        result: The timeline.
        name: The curve.
        row: Which row, counted from 1.
        x: Where the checkpoints lie.
        colour: Of the curve.

    Raises:
        ConfigError: If there is no such curve.
    """
    traces = line_with_errors(
        x,
        result.curve(name),
        curve_errors(result, name),
        steps=result.steps,
        colour=colour,
        name=metric_words(name),
    )
    for trace in traces:
        figure.add_trace(trace, row=row, col=1)
    figure.update_yaxes(title_text=_label(name), row=row, col=1)
    change = next((one for one in result.phases if one.curve == name), None)
    if change is not None:
        mark(figure, change, row, logarithmic=step_places(result)[1])


def line_with_errors(
    x: Float[np.ndarray, " checkpoint"],
    mean: Float32[np.ndarray, " checkpoint"],
    error: Float[np.ndarray, " checkpoint"],
    *,
    steps: Int[np.ndarray, " checkpoint"],
    colour: str,
    name: str,
) -> tuple[go.Scatter, go.Scatter]:
    """A band of two standard errors and the curve in it.

    Args:
        x: Where the checkpoints lie.
        mean: The curve; NaN is left out.
        error: Its standard error; NaN is no band.
        steps: The steps of the checkpoints.
        colour: Of both.
        name: What the curve is called, as plotly shows it.
    """
    there = np.isfinite(mean)
    spread = np.where(np.isfinite(error), ERRORS * error, 0.0)
    low, high = ((mean + sign * spread)[there].astype(np.float32) for sign in (-1, 1))
    line = go.Scatter(
        x=x[there],
        y=mean[there],
        mode="lines+markers",
        name=name,
        line={"color": colour, "width": 2},
        marker={"size": 4},
        customdata=steps[there],
        hovertemplate="step %{customdata}<br>%{y:.3f}",
        showlegend=False,
    )
    return band(x[there], low, high, colour=colour, name=name), line


def head_values(
    values: Float32[np.ndarray, "checkpoint layer head"], head: str
) -> Float32[np.ndarray, " checkpoint"]:
    """The values of one head, as `L1H0`, at every checkpoint."""
    layer, number = head.removeprefix("L").split("H")
    return values[:, int(layer), int(number)]


def mark(figure: Any, change: PhaseChange, row: int, *, logarithmic: bool) -> None:
    """Draw bands and lines where a curve changes.

    Args:
        figure: Is changed.
        change: The change.
        row: Which row, counted from 1.
        logarithmic: Whether the horizontal axis is the logarithm of step + 1.
    """
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


def metric_words(name: str) -> str:
    """The name of a metric or curve as words that plotly shows letter for letter.

    Example:
        >>> metric_words("icl_score"), metric_words("prefix_matching")
        ('ICL score', 'Prefix matching')
    """
    words = small_words(name)
    return words[:1].upper() + words[1:]


def small_words(name: str) -> str:
    """The same inside a sentence: small letters, but for what is an abbreviation.

    Example:
        >>> small_words("truth_probe_auroc")
        'truth probe AUROC'
    """
    words = plain(name.replace("_", " ")).split(" ")
    return " ".join(one.upper() if one in ABBREVIATIONS else one for one in words)


def curve_errors(result: HeadTimeline, name: str) -> Float[np.ndarray, " checkpoint"]:
    """The standard error of a curve over its samples; NaN where there are too few."""
    samples = result.samples[result.curves.index(name)]
    there = np.isfinite(samples)
    count = there.sum(axis=1)
    centred = np.where(there, samples - result.curve(name)[:, None], 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sqrt(np.square(centred).sum(axis=1) / (count * (count - 1)))


def spread_ticks(x: Float[np.ndarray, " place"]) -> Int[np.ndarray, " tick"]:
    """Some of the places, about evenly far from each other."""
    wanted = np.linspace(x[0], x[-1], MOST_TICKS)
    return np.unique([np.abs(x - place).argmin() for place in wanted])


def even_ticks(n: int) -> Int[np.ndarray, " tick"]:
    """Some of so many places, evenly far from each other."""
    return np.unique(np.linspace(0, n - 1, min(n, MOST_TICKS)).round().astype(int))


def _label(name: str) -> str:
    """The name of a curve on two short lines, as an axis has little room."""
    words = small_words(name).replace(" (", "<br>(")
    if "<br>" not in words and len(words) > 12:
        words = "<br>".join(words.rsplit(" ", 1))
    unit = "<br>(nats)" if name.startswith(("loss", "icl_score")) else ""
    return words + unit
