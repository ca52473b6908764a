"""Figures of what adding truth directions does, beside every control."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from interp.errors import ResultError
from interp.figures.intervals import Estimates
from interp.figures.style import MODEL_COLOURS, NEUTRAL, model_names, styled
from interp.results.truthfulness import ROLES, Role, TruthEffect, TruthfulnessComparison


Effect = Literal["nie_gap", "nie_saturation"]
SCALES: dict[Effect, str] = {
    "nie_gap": "1 = turned around",
    "nie_saturation": "1 = certain and wrong",
}
# The vectors in the order of a legend; colours at least 3 : 1 on white and #15171b.
CONTROL_COLOURS = {
    "other data set": "#15907f",
    "shuffled labels": "#b0559c",
    "shuffled labels, truth removed": "#b0559c",
    "random, covariance": "#8f7d1e",
    "random, covariance, truth removed": "#8f7d1e",
    "random vector": NEUTRAL,
}


def intervention_bars(
    result: TruthfulnessComparison,
    *,
    effect: Effect = "nie_gap",
) -> go.Figure:
    """How far each vector turns the judgement of each model around, with controls.

    Bars of directions carry bootstrap intervals. Bars of controls are means over the
    vectors that were drawn, with their range. "Truth removed" are controls that were
    too much like the truth direction, without what they share with it.

    Args:
        result: The comparison.
        effect: Which indirect effect.

    Raises:
        ResultError: If the result has no interventions.
    """
    if not any(row.condition != "none" for row in result.interventions):
        raise ResultError(
            f"{result!r} has no interventions.",
            remedy="Its notes say why; draw another figure.",
        )
    figure = go.Figure()
    names = model_names(result.models)
    for target in ROLES:
        bars = {
            label: _bar([getattr(row, effect) for row in rows], rows[0], effect)
            for label, rows in _vectors(result, target).items()
        }
        if not bars:
            continue
        found = Estimates.stacked(bars.values())
        figure.add_trace(
            found.bars(
                list(bars), colour=MODEL_COLOURS[target], name=f"in {names[target]}"
            ).update(
                hovertemplate="%{y}<br>effect %{x:.3f} "
                "[%{customdata[0]:.3f}, %{customdata[1]:.3f}]",
            )
        )
    figure.add_vline(x=0, line={"color": NEUTRAL, "width": 1})
    figure.update_yaxes(autorange="reversed")
    return styled(
        figure,
        title="What pushing along a direction does to the judgement",
        x=f"indirect effect<br>({SCALES[effect]})",
        height=440,
    )


def dose_response(
    result: TruthfulnessComparison, *, effect: Effect = "nie_gap"
) -> go.Figure:
    """The effect of each vector by its length, in units of the residual stream's norm.

    One panel for each model that is changed; bands are bootstrap intervals.

    Args:
        result: The comparison.
        effect: Which indirect effect.

    Raises:
        ResultError: If nothing was added at several strengths.
    """
    targets: list[Role] = [
        role for role in ROLES if any(r.target == role for r in result.doses)
    ]
    if not targets:
        raise ResultError(
            "This result has no dose-response curves.",
            expected="Vectors added at several strengths.",
            remedy="Run the study with doses, or draw intervention_bars.",
        )
    names = model_names(result.models)
    figure = make_subplots(
        rows=len(targets),
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.1,
        subplot_titles=[f"in {names[role]}" for role in targets],
    )
    seen: set[str] = set()
    for panel, target in enumerate(targets, start=1):
        rows = [row for row in result.doses if row.target == target]
        labels = dict.fromkeys(_label(row) for row in rows)
        for label in _in_order(labels):
            own = [row for row in rows if _label(row) == label]
            line, shade = _dose_traces(label, own, effect)
            line.update(showlegend=label not in seen)
            figure.add_trace(shade, row=panel, col=1)
            figure.add_trace(line, row=panel, col=1)
            seen.add(label)
    figure.add_hline(y=0, line={"color": NEUTRAL, "width": 1})
    figure.update_annotations(font={"size": 13}, x=0, xanchor="left")
    figure.update_yaxes(title_text=f"effect ({SCALES[effect]})")
    figure.update_xaxes(
        title_text="length of the vector / norm of the residual stream",
        row=len(targets),
        col=1,
    )
    return styled(
        figure,
        title="How the effect grows with the length of what is added",
        height=180 + 240 * len(targets),
    ).update_layout(margin={"t": 132})


def _dose_traces(
    label: str, rows: Sequence[TruthEffect], effect: Effect
) -> tuple[go.Scatter, go.Scatter]:
    """A curve from zero and its band."""
    rows = sorted(rows, key=lambda row: row.norm_share)
    ends = (effect, f"{effect}_low", f"{effect}_high")
    found = Estimates.stacked(
        [(0.0, 0.0, 0.0), *([getattr(row, one) for one in ends] for row in rows)]
    )
    shares = np.array([0.0, *(row.norm_share for row in rows)], np.float32)
    gaps = np.array([0.0, *(row.coefficient for row in rows)], np.float32)
    colour = _colour(label)
    line = go.Scatter(
        x=shares,
        y=found.value,
        mode="lines+markers",
        name=label,
        legendgroup=label,
        line={
            "color": colour,
            "width": 2.5 if label.endswith("direction") else 1.5,
            "dash": "dot" if label.startswith("post") else "solid",
        },
        customdata=np.column_stack([gaps, found.ends]),
        hovertemplate="%{x:.2f} norms, %{customdata[0]:.2f} class gaps<br>"
        "effect %{y:.3f} [%{customdata[1]:.3f}, %{customdata[2]:.3f}]",
    )
    shade = found.band(shares, colour=colour, name=f"{label} interval")
    return line, shade.update(legendgroup=label)


def _label(row: TruthEffect) -> str:
    if row.condition == "direction":
        return f"{row.direction} direction"
    names = {
        "random": "random vector",
        "covariance": "random, covariance",
        "shuffled": "shuffled labels",
        "dataset": "other data set",
    }
    return names[row.condition] + ", truth removed" * row.orthogonal


def _in_order(labels: dict[str, None]) -> list[str]:
    order = [*(f"{role} direction" for role in ROLES), *CONTROL_COLOURS]
    return [label for label in order if label in labels]


def _colour(label: str) -> str:
    for role in ROLES:
        if label.startswith(role):
            return MODEL_COLOURS[role]
    return CONTROL_COLOURS[label]


def _vectors(
    result: TruthfulnessComparison, target: Role
) -> dict[str, list[TruthEffect]]:
    """The rows of each vector that was added in a model, controls together."""
    found: dict[str, list[TruthEffect]] = {}
    for row in result.interventions:
        if row.target == target and row.condition != "none":
            found.setdefault(_label(row), []).append(row)
    return {label: found[label] for label in _in_order(dict.fromkeys(found))}


def _bar(
    values: list[float], first: TruthEffect, effect: str
) -> tuple[float, float, float]:
    """Height and whiskers: an interval for one vector, a range for several."""
    if len(values) == 1:
        low, high = getattr(first, f"{effect}_low"), getattr(first, f"{effect}_high")
        return values[0], low, high
    return float(np.mean(values)), min(values), max(values)
