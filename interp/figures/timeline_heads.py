"""Figures of single heads of a `HeadTimeline`, and of several training runs.

Each is a pure function of the results and of what is looked at.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from jaxtyping import Float
from plotly.subplots import make_subplots

from interp.errors import ResultError
from interp.figures.style import MODEL_COLOURS, NEUTRAL, plain, styled
from interp.figures.timeline_parts import (
    COLOURS,
    ROW_HEIGHT,
    add_curve,
    curve_errors,
    head_values,
    line_with_errors,
    mark,
    metric_words,
    small_words,
    step_places,
    with_steps,
)
from interp.results.timeline import HeadTimeline


# What a head's rise is seen beside, where it was followed.
BESIDE = ("loss", "icl_score")
# More runs beside each other cannot be read.
MOST_RUNS = 12
PER_ROW = 3


def head_lines(
    result: HeadTimeline, metric: str, head: str, *, beside: Sequence[str] = ()
) -> go.Figure:
    """One head over training; below it the loss and the in-context-learning score.

    All share one axis of steps. Bands across are where a curve changes: between which
    checkpoints, and the interval over sequences; see `timeline_curves`.

    Args:
        result: The timeline.
        metric: Which metric of the head.
        head: Which head, as `L1H0`.
        beside: Others in the same panel, at most three.

    Raises:
        ConfigError: If the metric was not measured.
        ResultError: If there is no such head.
    """
    names = [name for name in BESIDE if name in result.curves]
    x, logarithmic = step_places(result)
    rows = 1 + len(names)
    figure = make_subplots(
        rows=rows, cols=1, shared_xaxes=True, vertical_spacing=0.16 / rows
    )
    shown = tuple(dict.fromkeys((head, *beside)))[: len(COLOURS)]
    for name, colour in zip(shown, COLOURS, strict=False):
        error_band, line = _head_line(result, metric, name, x=x, colour=colour)
        line.showlegend = len(shown) > 1
        figure.add_trace(error_band, row=1, col=1)
        figure.add_trace(line, row=1, col=1)
    label = small_words(metric).replace(" ", "<br>", 1)
    label = label if len(shown) > 1 else plain(head) + "<br>" + label
    figure.update_yaxes(title_text=label, row=1, col=1)
    chance = float(result.chance[result.metrics.index(metric)])
    if np.isfinite(chance):
        figure.add_hline(
            y=chance,
            line={"color": NEUTRAL, "width": 1, "dash": "dash"},
            row=1,  # pyright: ignore[reportArgumentType]
            col=1,  # pyright: ignore[reportArgumentType]
        )
    highest = f"{metric} (highest head)"
    change = next((row for row in result.phases if row.curve == highest), None)
    if change is not None and head == result.top(metric, k=1)[0]:
        mark(figure, change, 1, logarithmic=logarithmic)
    for row, name in enumerate(names, start=2):
        # The colours of several heads mean nothing else.
        colour = COLOURS[row - 1] if len(shown) == 1 else NEUTRAL
        add_curve(figure, result, name, row=row, x=x, colour=colour)
    styled(
        figure,
        title=f"{plain(head)} over training, with what the model can do",
        height=90 + ROW_HEIGHT * rows,
    )
    return with_steps(figure, result, rows=rows)


def _head_line(
    result: HeadTimeline,
    metric: str,
    head: str,
    *,
    x: Float[np.ndarray, " checkpoint"],
    colour: str,
) -> tuple[go.Scatter, go.Scatter]:
    """The band and the line of one head."""
    values = result.value(metric)
    try:
        mean = head_values(values, head)
        error = head_values(result.stderr[result.metrics.index(metric)], head)
    except (ValueError, IndexError) as wrong:
        raise ResultError(
            f"There is no head {head!r} in {result!r}.",
            expected="Heads are named by layer and number, as 'L1H0'.",
        ) from wrong
    return line_with_errors(
        x, mean, error, steps=result.steps, colour=colour, name=plain(head)
    )


def first_above(result: HeadTimeline, metric: str, threshold: float) -> pd.DataFrame:
    """When each head is above a threshold for the first time, the earliest first.

    Args:
        result: The timeline.
        metric: Which metric.
        threshold: The value.

    Returns:
        One row per head that ever is, with the step, the step from which it stays
        there to the end (NaN if it does not), and its value at the end.

    Raises:
        ConfigError: If the metric was not measured.
    """
    values = result.value(metric)
    n_checkpoints, n_layers, n_heads = values.shape
    flat = values.reshape(n_checkpoints, -1).T
    above = flat > threshold
    # The last checkpoint at or below it decides from where on a head stays above.
    stays = n_checkpoints - np.argmin(above[:, ::-1], axis=1)
    stays = np.where(above.all(axis=1), 0, stays)
    rows = [
        {
            "head": f"L{i // n_heads}H{i % n_heads}",
            "first_step": int(result.steps[above[i].argmax()]),
            "stays_from": float(result.steps[stays[i]])
            if stays[i] < n_checkpoints
            else np.nan,
            "at_the_end": float(flat[i, -1]),
        }
        for i in range(n_layers * n_heads)
        if above[i].any()
    ]
    frame = pd.DataFrame(
        rows, columns=["head", "first_step", "stays_from", "at_the_end"]
    )
    return frame.sort_values("first_step", kind="stable", ignore_index=True)


def timelines_beside(results: Mapping[str, HeadTimeline], curve: str) -> go.Figure:
    """One curve of several training runs on common axes, a small panel for each.

    Args:
        results: The runs by name; those without the curve are left out.
        curve: Which curve.

    Raises:
        ResultError: If no run has it.
    """
    having = [(name, one) for name, one in results.items() if curve in one.curves][
        :MOST_RUNS
    ]
    if not having:
        raise ResultError(f"No run followed {curve!r}.", remedy="Choose another curve.")
    columns = min(PER_ROW, len(having))
    rows = -(-len(having) // columns)
    figure = make_subplots(
        rows=rows,
        cols=columns,
        shared_yaxes=True,
        shared_xaxes=True,
        subplot_titles=[plain(name[:40]) for name, _ in having],
        vertical_spacing=0.3 / rows,
        horizontal_spacing=0.04,
    )
    for place, (name, one) in enumerate(having):
        for trace in line_with_errors(
            one.steps.astype(float),
            one.curve(curve),
            curve_errors(one, curve),
            steps=one.steps,
            colour=MODEL_COLOURS["base"],
            name=plain(name),
        ):
            figure.add_trace(trace, row=place // columns + 1, col=place % columns + 1)
    figure.update_annotations(font={"size": 12})
    figure.update_xaxes(title_text="step", row=rows)
    return styled(
        figure,
        title=f"{metric_words(curve)} in {len(having)} training runs",
        height=120 + 170 * rows,
    )
