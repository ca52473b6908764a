"""Figures of `HeadAblations`. Each is a pure function of the result."""

import numpy as np
import plotly.graph_objects as go

from interp.figures.heads import by_head
from interp.figures.intervals import Estimates
from interp.figures.maps import pinned_map
from interp.figures.style import (
    FALSE_COLOUR,
    MODEL_COLOURS,
    NEUTRAL,
    TRUE_COLOUR,
    plain,
    styled,
)
from interp.results.head_ablation import HeadAblations


# In the order of the kinds: what removes all of a head, then what spares a route.
COLOURS = (
    MODEL_COLOURS["base"],
    TRUE_COLOUR,
    NEUTRAL,
    MODEL_COLOURS["post"],
    FALSE_COLOUR,
)
KINDS = ("zero", "mean", "resample", "pattern_preserving", "value_preserving")


def ablation_map(result: HeadAblations, kind: str) -> go.Figure:
    """What ablating each head does to the loss, as a map of layers and heads.

    Args:
        result: The ablations.
        kind: Which kind of ablation.

    Raises:
        ConfigError: If it was not done.
    """
    values, number = result.value(kind), result.number(kind)
    layers, heads = np.indices(values.shape)
    largest = max(float(np.nanmax(np.abs(values))), 1e-6)
    trace = pinned_map(values, reach=largest, bar="change of<br>loss (nats)").update(
        customdata=np.stack(
            [layers, heads, result.loss_low[number], result.loss_high[number]],
            axis=-1,
        ),
        colorbar={"thickness": 14},
        hovertemplate="L%{y}H%{x}<br>%{z:+.3f} nats "
        "[%{customdata[2]:+.3f}, %{customdata[3]:+.3f}]<extra></extra>",
    )
    figure = go.Figure(trace)
    title = f"Loss without each head ({_words(kind)} ablation)"
    return by_head(figure, values.shape, title=title)


def ablation_routes(result: HeadAblations, *, k: int = 8) -> go.Figure:
    """The heads that matter most, ablated in each way, with intervals.

    Where patterns are preserved and the loss stays, a head works through what later
    heads attend to; where values are preserved and it stays, through what they move.

    Args:
        result: The ablations; heads are ranked by the first kind.
        k: How many heads.
    """
    places = [
        tuple(int(part) for part in name[1:].split("H"))
        for name in result.top(result.kinds[0], k=k)
    ]
    places = [place for place in places if np.isfinite(result.loss[0][place])]
    names = [f"L{layer}H{head}" for layer, head in places]
    figure = go.Figure()
    step = 0.8 / len(result.kinds)
    for number, kind in enumerate(result.kinds):
        tables = (result.loss, result.loss_low, result.loss_high)
        found = Estimates.stacked(
            [[table[number][place] for table in tables] for place in places]
        )
        offset = (number - (len(result.kinds) - 1) / 2) * step
        figure.add_trace(
            go.Scatter(
                x=(np.arange(len(places)) + offset).astype(np.float32),
                y=found.value,
                mode="markers",
                name=_words(kind),
                marker={"color": _colour(kind), "size": 9},
                # In the colour of the markers.
                error_y=found.whiskers() | {"color": None, "width": 3},
                customdata=np.array(places),
                hovertemplate="L%{customdata[0]}H%{customdata[1]} "
                f"{_words(kind)}<br>%{{y:+.3f}} nats<extra></extra>",
            )
        )
    figure.add_hline(y=0, line={"color": NEUTRAL, "width": 1, "dash": "dash"})
    figure.update_xaxes(
        tickvals=list(range(len(places))), ticktext=names, showgrid=False
    )
    return styled(
        figure,
        title="Loss without a head, by what is put in its place",
        x="head, ablated alone",
        y="change of loss (nats)",
    )


def _colour(kind: str) -> str:
    # A result may come from a newer version, or from somewhere else.
    return COLOURS[KINDS.index(kind)] if kind in KINDS else NEUTRAL


def _words(kind: str) -> str:
    return plain(kind.replace("_", "-"))
