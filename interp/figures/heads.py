"""Figures of `HeadScores`. Each is a pure function of the result."""

import numpy as np
import plotly.graph_objects as go

from interp.figures.style import (
    MODEL_COLOURS,
    NEUTRAL,
    TRUE_COLOUR,
    band,
    faded,
    plain,
    styled,
)
from interp.results.heads import HeadScores


# Positions shown before the second copy of a block and after its start.
WINDOW = 24
LOW_COLOUR, HIGH_COLOUR = MODEL_COLOURS["post"], MODEL_COLOURS["base"]


def head_map(result: HeadScores, metric: str) -> go.Figure:
    """One score of every head as a map of layers and heads, pinned at even attention.

    Args:
        result: The scores.
        metric: Which of them.

    Raises:
        ConfigError: If it was not computed.
    """
    values, number = result.value(metric), result.metrics.index(metric)
    even = float(np.nanmean(result.uniform[number]))
    layers, heads = np.indices(values.shape)
    lowest = min(0.0, float(np.nanmin(values)))
    figure = go.Figure(
        go.Heatmap(
            z=values,
            customdata=np.stack(
                [layers, heads, result.low[number], result.high[number]], axis=-1
            ),
            colorscale=_scale(lowest, even),
            zmin=lowest,
            zmax=1.0,
            colorbar={"title": {"text": "share of<br>attention"}, "thickness": 14},
            hovertemplate="L%{y}H%{x}<br>%{z:.3f} "
            "[%{customdata[2]:.3f}, %{customdata[3]:.3f}]<extra></extra>",
            xgap=1,
            ygap=1,
        )
    )
    name = plain(metric.replace("_", " "))
    title = f"{name[:1].upper()}{name[1:]} by head (even attention: {even:.2f})"
    return by_head(figure, values.shape, title=title)


def by_head(figure: go.Figure, shape: tuple[int, ...], *, title: str) -> go.Figure:
    """The figure with the axes of a map of layers and heads, layer 0 at the top.

    Args:
        figure: A map.
        shape: How many layers and heads it has.
        title: The title.
    """
    n_layers, n_heads = shape
    figure.update_xaxes(dtick=max(1, n_heads // 16), showgrid=False)
    figure.update_yaxes(
        dtick=max(1, n_layers // 16), showgrid=False, autorange="reversed"
    )
    return styled(
        figure,
        title=title,
        x="head",
        y="layer",
        height=max(260, 120 + 22 * n_layers),
    )


def _scale(lowest: float, even: float) -> list[tuple[float, str]]:
    """From below even attention over transparent at it to all attention.

    Equal distances from even attention get equal strength on both sides.
    """
    strongest = 0.8
    below = strongest * (even - lowest) / (1 - even)
    return [
        (0.0, faded(LOW_COLOUR, below)),
        ((even - lowest) / (1 - lowest), faded(NEUTRAL, 0.0)),
        (1.0, faded(HIGH_COLOUR, strongest)),
    ]


def copy_curve(result: HeadScores) -> go.Figure:
    """Loss around the second copy of each block, with the middle 95 % of sequences.

    Position 0 is the first token of the second copy; whoever remembers the first copy
    can tell every token after it.

    Args:
        result: Scores of sequences that repeat.
    """
    at, loss = _aligned(result)
    with np.errstate(invalid="ignore"):
        low, high = np.nanquantile(loss, [0.025, 0.975], axis=0).astype(np.float32)
        mean = np.nanmean(loss, axis=0).astype(np.float32)
    figure = go.Figure(band(at, low, high, colour=TRUE_COLOUR, name="sequences"))
    figure.add_trace(
        go.Scatter(
            x=at,
            y=mean,
            mode="lines+markers",
            name="mean over sequences",
            line={"color": TRUE_COLOUR, "width": 2.5},
            marker={"size": 5},
            hovertemplate="position %{x}<br>%{y:.3f} nats<extra></extra>",
        )
    )
    figure.add_vline(x=0, line={"color": NEUTRAL, "width": 1, "dash": "dash"})
    figure.add_annotation(
        x=0, y=1, yref="paper", text="second copy", showarrow=False, xanchor="left"
    )
    return styled(
        figure,
        title="Loss before and in the second copy of a block of random tokens",
        x="position relative to the second copy (tokens)",
        y="loss (nats)",
        height=320,
    )


def _aligned(result: HeadScores) -> tuple[np.ndarray, np.ndarray]:
    """Positions around the second copy, and each sequence's loss there."""
    chosen = np.flatnonzero(result.periods)
    longest = int(result.periods.max())
    at = np.arange(-min(WINDOW, longest - 1), min(WINDOW, longest))
    table = np.full((chosen.size, at.size), np.nan, dtype=np.float32)
    for row, sequence in enumerate(chosen):
        # The number in place i of the losses is about token i + 1.
        start = int(result.has_bos) + int(result.periods[sequence]) - 1
        places = start + at
        first = int(result.has_bos)
        real = (places >= first) & (places < result.loss.shape[1])
        table[row, real] = result.loss[sequence, places[real]]
    usable = np.isfinite(table).any(axis=0)
    return at[usable], table[:, usable]
