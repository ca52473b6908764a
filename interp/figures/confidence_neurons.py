"""Figures of what neurons of a `ConfidenceComparison` do, and of which are shared.

Each is a pure function of the result and of what is looked at.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from interp.errors import ResultError
from interp.figures.confidence import CHOSEN_NAMES, ablated_groups
from interp.figures.intervals import Estimates
from interp.figures.style import FALSE_COLOUR, NEUTRAL, TRUE_COLOUR, styled
from interp.results.confidence import ConfidenceComparison
from interp.results.neurons import by_variance
from interp.results.truthfulness import ROLES


Effect = Literal[
    "entropy_change", "loss_total", "loss_direct", "mediated", "kl", "argmax_changed"
]
EFFECTS: dict[Effect, str] = {
    "entropy_change": "change of entropy (nats)",
    "loss_total": "change of loss, in size (nats)",
    "loss_direct": "of it not through the norm (nats)",
    "mediated": "share through the norm",
    "kl": "divergence (nats)",
    "argmax_changed": "share of predictions changed",
}
# Points beside each other rather than on top of each other, always alike.
JITTER, SEED = 0.28, 0


def effect_strips(
    result: ConfidenceComparison, effect: Effect = "entropy_change"
) -> go.Figure:
    """What ablating candidates does beside random neurons of their norm, one by one.

    Args:
        result: The comparison.
        effect: Which effect.

    Raises:
        ResultError: If no neuron was ablated.
    """
    if not result.effects:
        raise ResultError(f"{result!r} has no ablated neuron.", remedy="Draw another.")
    figure = go.Figure()
    draw = np.random.default_rng(SEED)
    groups = ablated_groups(result)
    for place, group in enumerate(groups):
        values = np.array([getattr(row, effect) for row in group.rows], np.float32)
        spread = draw.uniform(-JITTER, JITTER, len(values))
        name, colour = CHOSEN_NAMES[group.chosen]
        figure.add_trace(
            go.Scatter(
                x=(place + spread).astype(np.float32),
                y=values,
                mode="markers",
                name=name,
                legendgroup=group.chosen,
                showlegend=group.chosen not in {one.chosen for one in groups[:place]},
                marker=group.marker,
                customdata=np.array([[row.neuron] for row in group.rows]),
                hovertemplate=f"{group.role}, neuron %{{customdata[0]}}<br>%{{y:.4g}}"
                "<extra></extra>",
            )
        )
        middle = float(np.nanmedian(values)) if np.isfinite(values).any() else np.nan
        figure.add_shape(
            type="line",
            x0=place - 0.36,
            x1=place + 0.36,
            y0=middle,
            y1=middle,
            line={"color": colour, "width": 3},
        )
    figure.add_hline(y=0, line={"color": NEUTRAL, "width": 1, "dash": "dash"})
    figure.update_xaxes(
        tickvals=list(range(len(groups))),
        ticktext=[group.role for group in groups],
        range=[-0.6, len(groups) - 0.4],
        showgrid=False,
    )
    return styled(
        figure,
        title="Each ablated neuron beside random ones of its norm",
        y=EFFECTS[effect],
        height=380,
    )


def frequency_scatter(result: ConfidenceComparison) -> go.Figure:
    """How much of each ablated neuron's effect is along token frequency.

    Args:
        result: The comparison.

    Raises:
        ResultError: If no neuron was ablated.
    """
    if not result.effects:
        raise ResultError(f"{result!r} has no ablated neuron.", remedy="Draw another.")
    figure = go.Figure()
    for group in ablated_groups(result):
        cosine = [row.frequency_cosine for row in group.rows]
        share = [row.frequency_mediated for row in group.rows]
        figure.add_trace(
            go.Scatter(
                x=np.array(cosine, np.float32),
                y=np.array(share, np.float32),
                mode="markers",
                name=group.name,
                marker=group.marker,
                customdata=np.array([[row.neuron] for row in group.rows]),
                hovertemplate=f"{group.role}, neuron %{{customdata[0]}}"
                "<br>cosine %{x:.3f}<br>along frequency %{y:.3f}<extra></extra>",
            )
        )
    figure.add_vline(x=0, line={"color": NEUTRAL, "width": 1, "dash": "dash"})
    figure.add_hline(y=0, line={"color": NEUTRAL, "width": 1, "dash": "dash"})
    return styled(
        figure,
        title="Which neurons push towards the unigram distribution",
        x="cosine of what it adds to the logits with token frequency",
        y="share of the effect on the loss along it",
        height=420,
    ).update_layout(legend={"y": -0.2, "yanchor": "top"}, margin={"t": 48})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shared:
    """Which candidates two models share under one choice of what counts as one.

    Attributes:
        rows: Every neuron that is a candidate in a model, with its ranks in both; NaN
            where its norm is not large.
        shared: How many are candidates in both.
        overlap: Shared candidates over all.
        expected: What random sets of that size among all neurons would share of all.
    """

    rows: pd.DataFrame
    shared: int
    overlap: float
    expected: float


def shared_neurons(
    result: ConfidenceComparison, *, percentile: float, n_candidates: int
) -> Shared:
    """The candidates of both models if others norms or numbers counted.

    Args:
        result: The comparison.
        percentile: Norms above this percentile count as large.
        n_candidates: How many of smallest LogitVar are candidates.

    Raises:
        ConfigError: If the percentile is not within 0 to 100.
    """
    ranked = [
        by_variance(result.norm[i], result.logit_var[i], percentile=percentile)
        for i in range(2)
    ]
    best = [set(order[:n_candidates].tolist()) for order in ranked]
    both, all_of_them = best[0] & best[1], sorted(best[0] | best[1])
    places = [{int(n): i for i, n in enumerate(order, start=1)} for order in ranked]
    rank = [[place.get(n, np.nan) for n in all_of_them] for place in places]
    rows = pd.DataFrame(
        {
            "neuron": np.array(all_of_them, dtype=np.int64),
            "shared": [n in both for n in all_of_them],
            "rank_base": np.array(rank[0], dtype=np.float64),
            "rank_post": np.array(rank[1], dtype=np.float64),
            "rank_change": np.subtract(rank[1], rank[0]),
            "null_fraction_base": result.null_fraction[0, all_of_them],
            "null_fraction_post": result.null_fraction[1, all_of_them],
        }
    ).sort_values("rank_base", kind="stable", ignore_index=True)
    n = max(1, result.norm.shape[1])
    k, m = len(best[0]), len(best[1])
    expected = k * m / n
    return Shared(
        rows=rows,
        shared=len(both),
        overlap=len(both) / max(1, len(all_of_them)),
        expected=expected / max(1.0, k + m - expected),
    )


def rank_slopes(shared: Shared) -> go.Figure:
    """The ranks of candidates in base and in post, as lines from one to the other.

    Args:
        shared: See `shared_neurons`.
    """
    figure = go.Figure()
    for condition, name, colour in (
        ("not shared", "candidate in one model", NEUTRAL),
        ("shared", "candidate in both", TRUE_COLOUR),
    ):
        rows = shared.rows.query(condition)
        ranks = rows[["rank_base", "rank_post"]].to_numpy()
        gap = np.full((len(rows), 1), np.nan)
        figure.add_trace(
            go.Scatter(
                x=np.tile(np.array([0.0, 1.0, np.nan], np.float32), len(rows)),
                y=np.concatenate([ranks, gap], axis=1).ravel().astype(np.float32),
                mode="lines+markers",
                name=name,
                line={"color": colour, "width": 1.5},
                customdata=np.repeat(rows["neuron"].to_numpy(), 3)[:, None],
                hovertemplate="neuron %{customdata[0]}<br>rank %{y}<extra></extra>",
            )
        )
    figure.update_xaxes(
        tickvals=[0, 1], ticktext=list(ROLES), range=[-0.15, 1.15], showgrid=False
    )
    ticks = [n * 10**k for k in range(5) for n in (1, 2, 5)]
    figure.update_yaxes(type="log", autorange="reversed", tickvals=ticks)
    return styled(
        figure, title="Ranks of candidates in both models", y="rank", height=380
    )


def entropy_bars(result: ConfidenceComparison, neuron: int) -> go.Figure:
    """What ablating one neuron does to the entropy, with and without the norm.

    Args:
        result: The comparison.
        neuron: A neuron that was ablated in a model.

    Raises:
        ResultError: If it was not ablated.
    """
    rows = {row.model: row for row in reversed(result.effects) if row.neuron == neuron}
    if not rows:
        raise ResultError(
            f"Neuron {neuron} of {result!r} was not ablated.",
            expected="Candidates, their controls and frequency neurons were.",
        )
    roles = [role for role in ROLES if role in rows]
    figure = go.Figure()
    total = Estimates.of([rows[role] for role in roles], "entropy_change")
    direct = np.array([rows[role].entropy_direct for role in roles], np.float32)
    figure.add_trace(
        go.Bar(
            y=roles,
            x=total.value,
            orientation="h",
            name="total",
            marker={"color": FALSE_COLOUR},
            error_x=total.whiskers(),
            hovertemplate="%{y}, total %{x:+.4g} nats<extra></extra>",
        )
    )
    figure.add_trace(
        go.Bar(
            y=roles,
            x=direct,
            orientation="h",
            name="direct: the norm's scale kept",
            marker={"color": NEUTRAL},
            hovertemplate="%{y}, direct %{x:+.4g} nats<extra></extra>",
        )
    )
    figure.add_vline(x=0, line={"color": NEUTRAL, "width": 1})
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(exponentformat="power", nticks=6)
    return styled(
        figure,
        title=f"Entropy without neuron {neuron}",
        x="change of the mean entropy (nats)",
        height=240,
    )
