"""Figures of one head of `HeadScores` and of `HeadAblations`, sequence by sequence.

Each is a pure function of the result and of what is looked at.
"""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float32

from interp.errors import ResultError
from interp.figures.style import NEUTRAL, TRUE_COLOUR, plain, styled
from interp.results.head_ablation import HeadAblations
from interp.results.heads import HeadScores


JITTER, SEED = 0.3, 0
ROW_HEIGHT = 44


def score_strips(result: HeadScores, layer: int, head: int) -> go.Figure:
    """Every score of one head, a point for each sequence, beside even attention.

    Args:
        result: The scores.
        layer: The head's layer.
        head: Its number.

    Raises:
        ResultError: If there is no such head.
    """
    _check(result.mean.shape[1:], layer, head)
    even = np.nanmean(result.uniform, axis=1)
    figure = _strips(result.metrics, result.samples[:, layer, head])
    figure.add_trace(
        go.Scatter(
            x=even.astype(np.float32),
            y=np.arange(len(result.metrics)),
            mode="markers",
            name="even attention",
            marker={"color": NEUTRAL, "symbol": "line-ns-open", "size": 18},
            hovertemplate="even attention %{x:.3f}<extra></extra>",
        )
    )
    figure.update_xaxes(range=[min(0.0, float(np.nanmin(result.samples))), 1.02])
    return styled(
        figure,
        title=f"All scores of L{layer}H{head}",
        x="score (share of attention)",
        height=130 + ROW_HEIGHT * len(result.metrics),
    )


def ablation_strips(result: HeadAblations, layer: int, head: int) -> go.Figure:
    """What ablating one head does in every sequence, by what is put in its place.

    Args:
        result: The ablations.
        layer: The head's layer.
        head: Its number.

    Raises:
        ResultError: If there is no such head.
    """
    _check(result.loss.shape[1:], layer, head)
    figure = _strips(result.kinds, result.loss_samples[:, layer, head])
    figure.add_vline(x=0, line={"color": NEUTRAL, "width": 1, "dash": "dash"})
    return styled(
        figure,
        title=f"Loss without L{layer}H{head}, sequence by sequence",
        x="change of loss (nats)",
        height=130 + ROW_HEIGHT * len(result.kinds),
    )


def _strips(
    names: Sequence[str], samples: Float32[np.ndarray, "name sequence"]
) -> go.Figure:
    figure = go.Figure()
    draw = np.random.default_rng(SEED)
    for place, values in enumerate(samples):
        sequences = np.flatnonzero(np.isfinite(values))
        spread = draw.uniform(-JITTER, JITTER, len(sequences))
        figure.add_trace(
            go.Scatter(
                x=values[sequences],
                y=(place + spread).astype(np.float32),
                mode="markers",
                name="a sequence",
                marker={"color": TRUE_COLOUR, "size": 6, "opacity": 0.6},
                customdata=sequences[:, None],
                hovertemplate="sequence %{customdata[0]}<br>%{x:.3f}<extra></extra>",
                showlegend=place == 0,
            )
        )
    figure.update_yaxes(
        tickvals=list(range(len(names))),
        ticktext=[plain(name.replace("_", " ")) for name in names],
        range=[len(names) - 0.4, -0.6],
        showgrid=False,
    )
    return figure


def _check(shape: tuple[int, ...], layer: int, head: int) -> None:
    if not (0 <= layer < shape[0] and 0 <= head < shape[1]):
        raise ResultError(
            f"There is no head L{layer}H{head}.",
            expected=f"There are {shape[0]} layers of {shape[1]} heads.",
        )
