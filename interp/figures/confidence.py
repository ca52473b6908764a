"""Figures of a `ConfidenceComparison`. Each is a pure function of the result."""

from dataclasses import dataclass
from typing import get_args

import numpy as np
import plotly.graph_objects as go

from interp.errors import ResultError
from interp.figures.intervals import Estimates
from interp.figures.style import (
    FALSE_COLOUR,
    MODEL_COLOURS,
    NEUTRAL,
    TRUE_COLOUR,
    band,
    log_ticks,
    model_names,
    styled,
)
from interp.results.calibration import N_BINS, Bins, reliability
from interp.results.confidence import (
    Chosen,
    ConfidenceComparison,
    ConfidenceRow,
    NeuronEffect,
    Swap,
)
from interp.results.truthfulness import ROLES, Role
from interp.statistics.calibration import consistency_band


CHOSEN_NAMES: dict[Chosen, tuple[str, str]] = {
    "entropy": ("candidate entropy neuron", FALSE_COLOUR),
    "control": ("random neuron of that norm", NEUTRAL),
    "frequency": ("token-frequency neuron", TRUE_COLOUR),
}
SYMBOLS: dict[Role, str] = {"base": "circle", "post": "diamond"}


@dataclass(frozen=True, slots=True, kw_only=True)
class AblatedGroup:
    """The neurons of one model that were ablated for one reason.

    Attributes:
        role: The model.
        chosen: The reason.
        rows: What ablating each did.
    """

    role: Role
    chosen: Chosen
    rows: tuple[NeuronEffect, ...]

    @property
    def name(self) -> str:
        """What they are called in a legend."""
        return f"{CHOSEN_NAMES[self.chosen][0]}, {self.role}"

    @property
    def marker(self) -> dict[str, object]:
        """How they look: the colour tells the reason, the shape the model."""
        colour = CHOSEN_NAMES[self.chosen][1]
        return {
            "color": colour,
            "symbol": SYMBOLS[self.role],
            "size": 9,
            "opacity": 0.8,
        }


def ablated_groups(result: ConfidenceComparison) -> tuple[AblatedGroup, ...]:
    """All neurons that were ablated, by reason and model.

    Args:
        result: The comparison.
    """
    return tuple(
        AblatedGroup(role=role, chosen=chosen, rows=rows)
        for chosen in get_args(Chosen)
        for role in ROLES
        if (rows := result.effects_of(role, chosen))
    )


def overlap_curve(result: ConfidenceComparison) -> go.Figure:
    """How many candidates the two models share, by how many are taken, with chance.

    Args:
        result: The comparison.
    """
    figure = go.Figure()
    figure.add_trace(
        band(
            result.sizes,
            result.overlap_low,
            result.overlap_high,
            colour=NEUTRAL,
            name="random sets, 95%",
        ).update(showlegend=True)
    )
    figure.add_trace(
        go.Scatter(
            x=result.sizes,
            y=result.overlap_expected,
            mode="lines",
            name="random sets, mean",
            line={"color": NEUTRAL, "width": 1.5, "dash": "dash"},
            hovertemplate="%{x} neurons<br>expected %{y:.3f}",
        )
    )
    figure.add_trace(
        go.Scatter(
            x=result.sizes,
            y=result.overlap,
            mode="lines+markers",
            name="base and post",
            line={"color": TRUE_COLOUR, "width": 2.5},
            customdata=np.stack([result.overlap_p], axis=1),
            hovertemplate="%{x} neurons<br>overlap %{y:.3f}<br>p %{customdata[0]:.2g}",
        )
    )
    figure.update_xaxes(type="log", tickvals=_round_numbers(int(result.sizes.max())))
    figure.update_yaxes(range=[-0.03, 1.05])
    return styled(
        figure,
        title="How alike the two models' candidate entropy neurons are",
        x="candidates taken of each model",
        y="intersection over union",
        height=340,
    )


def effect_scatter(result: ConfidenceComparison) -> go.Figure:
    """Total against direct effect on the loss of every neuron that was ablated.

    On the line nothing passes through the norm's scale; entropy neurons stand far
    below it. Direct effects of next to nothing stand at the lower edge.

    Args:
        result: The comparison.

    Raises:
        ResultError: If no neuron has an effect.
    """
    figure = go.Figure()
    totals = [row.loss_total for row in result.effects if row.loss_total > 0]
    if not totals:
        raise ResultError(
            f"{result!r} has no neuron with an effect.", remedy="Draw another figure."
        )
    # Zero has no place on a logarithmic axis.
    floor = min(totals) / 30
    ends = np.array([min(totals) / 1.5, max(totals) * 1.5], np.float32)
    figure.add_trace(
        go.Scatter(
            x=ends,
            y=ends,
            mode="lines",
            name="all direct",
            line={"color": NEUTRAL, "width": 1.5, "dash": "dash"},
            hoverinfo="skip",
        )
    )
    for group in ablated_groups(result):
        identity = [
            [row.neuron, row.mediated, row.entropy_change, row.loss_direct]
            for row in group.rows
        ]
        height = [max(row.loss_direct, floor) for row in group.rows]
        figure.add_trace(
            go.Scatter(
                x=np.array([row.loss_total for row in group.rows], np.float32),
                y=np.array(height, np.float32),
                mode="markers",
                name=group.name,
                marker=group.marker,
                customdata=np.array(identity, np.float32),
                hovertemplate=f"{group.role}, neuron %{{customdata[0]:.0f}}"
                "<br>total %{x:.2g} nats<br>direct %{customdata[3]:.2g} nats"
                "<br>through the norm %{customdata[1]:.2f}"
                "<br>entropy %{customdata[2]:+.2g} nats",
            )
        )
    figure.update_xaxes(log_ticks(ends))
    figure.update_yaxes(log_ticks(np.append(ends, np.float32(floor))))
    return styled(
        figure,
        title="What ablating a neuron does, and how much of it directly",
        x="total effect on the loss (nats)",
        y="direct effect (nats)",
        height=480,
    ).update_layout(legend={"y": -0.18, "yanchor": "top"}, margin={"t": 48})


def swap_bars(result: ConfidenceComparison) -> go.Figure:
    """How far each swapped part moves a model's entropy, beside the other model's.

    Bars carry intervals over whole texts; those of random neurons are means over the
    draws with their range. Dotted lines mark the entropy of the other model.

    Args:
        result: The comparison.
    """
    figure = go.Figure()
    names = model_names(result.models)
    for i, role in enumerate(ROLES):
        bars = {
            swapped: _bar(rows)
            for swapped in get_args(Swap)[1:]
            if (rows := result.row(role, swapped))
        }
        found = Estimates.stacked(bars.values())
        figure.add_trace(
            found.bars(
                list(bars), colour=MODEL_COLOURS[role], name=f"in {names[role]}"
            ).update(
                hovertemplate="%{y}<br>%{x:+.4f} nats [%{customdata[0]:+.4f}, "
                "%{customdata[1]:+.4f}]",
            )
        )
        goal = result.gap if i == 0 else -result.gap
        figure.add_vline(
            x=goal,
            line={"color": MODEL_COLOURS[role], "width": 1.5, "dash": "dot"},
            annotation={
                "text": f"as {ROLES[1 - i]}",
                "font": {"size": 11, "color": MODEL_COLOURS[role]},
            },
            annotation_position="bottom left" if goal > 0 else "bottom right",
        )
    figure.add_vline(x=0, line={"color": NEUTRAL, "width": 1})
    figure.update_yaxes(autorange="reversed")
    return styled(
        figure,
        title="What the other model's weights do to a model's entropy",
        x="change of the mean entropy (nats)",
        height=340,
    ).update_layout(margin={"t": 96})


def calibration_curve(
    result: ConfidenceComparison, *, n_bins: int = N_BINS
) -> go.Figure:
    """How often each model is right when it is so sure, with how often it is so sure.

    Markers grow with the number of predictions in a bin. Above the line a model is too
    modest, below it too sure. The bars on the line hold 95 % of the accuracies that a
    bin of independent calibrated predictions has.

    Args:
        result: The comparison.
        n_bins: How many bins of equal width.
    """
    figure = go.Figure()
    figure.add_trace(
        go.Scatter(
            x=[0, 1],
            y=[0, 1],
            mode="lines",
            name="calibrated",
            line={"color": NEUTRAL, "width": 1.5, "dash": "dash"},
            hoverinfo="skip",
        )
    )
    names = model_names(result.models)
    for i, role in enumerate(ROLES):
        bins = reliability(result.top[i], result.correct[i], n_bins=n_bins)
        held = bins.n > 0
        share = bins.n[held] / bins.n.sum()
        figure.add_trace(
            go.Scatter(
                x=bins.confidence[held],
                y=bins.accuracy[held],
                mode="lines+markers",
                name=names[role],
                line={"color": MODEL_COLOURS[role], "width": 2},
                marker={"size": (5 + 20 * np.sqrt(share)).astype(np.float32)},
                customdata=bins.n[held][:, None].astype(np.float32),
                hovertemplate="confidence %{x:.3f}<br>accuracy %{y:.3f}"
                "<br>%{customdata[0]:.0f} predictions",
            )
        )
        figure.add_trace(_consistency(bins, MODEL_COLOURS[role]))
    figure.update_xaxes(range=[-0.03, 1.03])
    figure.update_yaxes(range=[-0.03, 1.06])
    return styled(
        figure,
        title="How often each model is right when it is so sure",
        x="probability of the likeliest token",
        y="share that is right",
        height=420,
    )


def _consistency(bins: Bins, colour: str) -> go.Scatter:
    """What noise makes of calibrated predictions, as bars on the diagonal."""
    held = bins.n > 0
    middle = bins.confidence[held]
    low, high = consistency_band(bins.n, bins.confidence)[:, held].astype(np.float32)
    return go.Scatter(
        x=middle,
        y=middle,
        mode="markers",
        showlegend=False,
        opacity=0.6,
        marker={"color": colour, "size": 2},
        error_y={
            "type": "data",
            "array": np.maximum(high - middle, 0),
            "arrayminus": np.maximum(middle - low, 0),
            "color": colour,
            "thickness": 1.5,
            "width": 4,
        },
        customdata=np.stack((low, high), axis=1),
        hovertemplate="calibrated: accuracy %{customdata[0]:.3f} to "
        "%{customdata[1]:.3f}",
    )


def _round_numbers(most: int) -> list[int]:
    """1, 2, 5, 10, 20, 50 and so on, up to `most`."""
    decades = range(len(str(most)))
    return [n * 10**k for k in decades for n in (1, 2, 5) if n * 10**k <= most]


def _bar(rows: tuple[ConfidenceRow, ...]) -> tuple[float, float, float]:
    """Height and whiskers: an interval for one swap, a range for several draws."""
    if len(rows) == 1:
        row = rows[0]
        return row.entropy_change, row.entropy_change_low, row.entropy_change_high
    changes = [row.entropy_change for row in rows]
    return float(np.mean(changes)), min(changes), max(changes)
