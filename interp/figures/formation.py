"""Figures of `FormationRun`. Each is a pure function of the result."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from interp.figures.report import Hidden, Panel
from interp.figures.style import (
    FALSE_COLOUR,
    MODEL_COLOURS,
    NEUTRAL,
    TRUE_COLOUR,
    band,
    plain,
    styled,
)
from interp.results.formation import FormationRun


COLOURS = (
    NEUTRAL,
    MODEL_COLOURS["base"],
    MODEL_COLOURS["post"],
    TRUE_COLOUR,
    FALSE_COLOUR,
    "#8f8a2b",
)
# A report of every metric twice would hide the ones that matter.
MAX_PANELS = 6
# More small panels than these are too small to read.
MAX_SEEDS = 16
RELEASED = " (released)"
# Reddy (2023) calls them so.
MEANINGS = {
    "CLA": "how often the likeliest label is in the context",
    "ILA1": "attention of labels to their items in the first layer",
    "TLA2": "attention of the target to all labels in the last layer",
    "TILA2": "attention of the target to the right label in the last layer",
}


def formation_curves(result: FormationRun, metric: str) -> go.Figure:
    """One metric over training: the median of each condition and all of its runs' span.

    Args:
        result: The experiment.
        metric: What to show.

    Raises:
        ConfigError: If it was not measured.
    """
    figure = go.Figure()
    for number, condition in enumerate(result.conditions):
        values = result.curve(metric, condition)
        there = np.isfinite(values).any(axis=0)
        if not there.any():
            continue
        colour = COLOURS[number % len(COLOURS)]
        x, values = result.steps[there], values[:, there]
        low, middle, high = np.nanquantile(values, [0, 0.5, 1], axis=0)
        figure.add_trace(
            band(
                x,
                low.astype(np.float32),
                high.astype(np.float32),
                colour=colour,
                name=plain(condition),
            )
        )
        figure.add_trace(
            go.Scatter(
                x=x,
                y=middle.astype(np.float32),
                mode="lines",
                name=plain(condition),
                line={"color": colour, "width": 2},
                hovertemplate=f"{plain(condition)}<br>step %{{x}}: %{{y:.3f}}"
                "<extra></extra>",
            )
        )
    if metric == result.metrics[0]:
        figure.add_hline(
            y=result.level, line={"color": NEUTRAL, "width": 1, "dash": "dash"}
        )
    name = _words(metric)
    return styled(
        figure,
        title=f"{name[:1].upper()}{name[1:]} over training",
        x="step",
        y=plain(metric.replace("_", " ")),
    )


def formation_seeds(result: FormationRun, metric: str) -> go.Figure:
    """One metric over training on common axes, a small panel for each seed.

    Args:
        result: The experiment.
        metric: What to show.

    Raises:
        ConfigError: If it was not measured.
    """
    values = result.curve(metric)
    seeds = np.unique(result.seeds)[:MAX_SEEDS]
    # More panels beside each other are too narrow on a phone.
    columns = min(2, len(seeds))
    rows = -(-len(seeds) // columns)
    figure = make_subplots(
        rows=rows,
        cols=columns,
        shared_xaxes=True,
        shared_yaxes=True,
        subplot_titles=[f"seed {seed}" for seed in seeds],
        vertical_spacing=0.3 / rows,
        horizontal_spacing=0.03,
    )
    drawn: set[int] = set()
    for place, seed in enumerate(seeds):
        for replica in np.flatnonzero(result.seeds == seed):
            condition = int(result.condition[replica])
            there = np.isfinite(values[replica])
            figure.add_trace(
                go.Scatter(
                    x=result.steps[there],
                    y=values[replica][there],
                    mode="lines",
                    name=plain(result.conditions[condition]),
                    legendgroup=str(condition),
                    showlegend=condition not in drawn,
                    line={"color": COLOURS[condition % len(COLOURS)], "width": 1.5},
                ),
                row=place // columns + 1,
                col=place % columns + 1,
            )
            drawn.add(condition)
    figure.update_annotations(font={"size": 12})
    figure.update_xaxes(title_text="step", row=rows)
    name = _words(metric)
    left_out = len(np.unique(result.seeds)) - len(seeds)
    more = f", the first {len(seeds)}" if left_out else ""
    return styled(
        figure,
        title=f"{name[:1].upper()}{name[1:]} by seed{more}",
        height=140 + 170 * rows,
    ).update_layout(margin={"t": 96})


def _words(metric: str) -> str:
    """A metric in words; what is an abbreviation in the literature is explained."""
    name, released, rest = metric.partition(RELEASED)
    meaning = MEANINGS.get(name)
    words = f"{meaning} ({name})" if meaning else name.replace("_", " ")
    return plain(words + released + rest)


def formation_panels(result: FormationRun) -> tuple[Panel, ...]:
    """The curves of a report: metrics as trained first, then the first one released."""
    shown = [m for m in result.metrics if RELEASED not in m][: MAX_PANELS - 1]
    released = result.metrics[0] + RELEASED
    shown += [released] if released in result.metrics else []
    times = ", ".join(f"{row.condition} {row.step:.0f}" for row in result.times)
    panels = [
        Panel(
            name="formation_curves",
            figure=formation_curves(result, metric),
            alt=f"{metric} over training by condition, medians and all runs' span. "
            f"Median step of crossing {result.level:.3g}: {times}.",
            rows=_medians(result, metric),
        )
        for metric in shown
    ]
    if len(np.unique(result.seeds)) > 1:
        panels.append(
            Panel(
                name="formation_seeds",
                figure=formation_seeds(result, result.metrics[0]),
                alt=f"{result.metrics[0]} over training, a small panel for each seed.",
            )
        )
    return tuple(panels)


def formation_tables(result: FormationRun) -> tuple[Hidden, ...]:
    """What was claimed, and when each condition crossed the level."""
    return (
        Hidden(
            title="What this experiment stands for", rows=result.findings_dataframe()
        ),
        Hidden(title="When each condition changed", rows=result.times_dataframe()),
    )


def _medians(result: FormationRun, metric: str) -> pd.DataFrame:
    rows = result.to_dataframe().query("metric == @metric")
    grouped = rows.groupby(["condition", "step"], sort=False)["value"]
    return grouped.agg(["min", "median", "max"]).reset_index()
