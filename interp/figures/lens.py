"""Figures of a logit lens, of logit contributions, and of two texts side by side."""

from typing import assert_never

import numpy as np
import plotly.graph_objects as go

from interp.errors import ResultError
from interp.figures.style import (
    FALSE_COLOUR,
    MODEL_COLOURS,
    NEUTRAL,
    TRUE_COLOUR,
    faded,
    plain,
    styled,
)
from interp.figures.tokens import shown
from interp.results.lens import LensQuantity, LensReading, LogitContributions
from interp.results.streams import SideBySide


# More cells than this with texts make a browser slow: rows are left out.
MAX_CELLS = 20_000
# So many characters stand side by side in a row of cells; fewer than a few in each
# tell nothing.
ROW_CHARACTERS, LEAST_CHARACTERS, MOST_CHARACTERS = 150, 5, 9
MAX_LABELS, MAX_HEIGHT = 120, 1000
# Strong where a layer is certain or says what the model says. Never so strong that the
# page's own text colour could not be read on it, on light and on dark.
STRONGEST = 0.6
CLOSE = ((0.0, faded(TRUE_COLOUR, 0.0)), (1.0, faded(TRUE_COLOUR, STRONGEST)))
AROUND_ZERO = (
    (0.0, faded(MODEL_COLOURS["post"], STRONGEST)),
    (0.5, faded(NEUTRAL, 0.0)),
    (1.0, faded(MODEL_COLOURS["base"], STRONGEST)),
)
_UNITS: dict[LensQuantity, str] = {
    "entropy": "entropy<br>(nats)",
    "rank": "rank",
    "log_probability": "log-prob.<br>(nats)",
    "kl": "KL (nats)",
    "target": "log-prob.<br>(nats)",
    "difference": "difference<br>(logits)",
}


def lens_heatmap(reading: LensReading, *, show: LensQuantity = "entropy") -> go.Figure:
    """What every layer would predict at every token, coloured by one quantity.

    A cell holds the likeliest token; colour is strong where the layer is sure, or close
    to the model's own prediction, and diverges around 0 for a difference of logits.
    Where there are very many cells, only every few layers are shown, as the title says.

    Args:
        reading: What a logit lens has read.
        show: What the colour is.

    Raises:
        ResultError: If the reading has no target or distractor and one is asked for.
    """
    values = reading.quantity(show)
    stride = -(-values.size // MAX_CELLS)
    rows = np.arange(len(reading.layers))[::-stride][::-1]
    columns = np.arange(len(reading.positions))
    z = values[rows].astype(np.float32)
    figure = go.Figure(
        go.Heatmap(
            z=np.log10(z) if show == "rank" else z,
            x=columns.astype(np.float32),
            y=rows.astype(np.float32),
            hovertext=_hovers(reading, rows, values, show),
            customdata=np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1),
            hovertemplate="%{hovertext}<extra></extra>",
            xgap=1,
            ygap=1,
            colorbar=_colour_bar(show, z),
            **_colours(show, z),
        )
    )
    _write_cells(figure, reading, rows)
    _token_axis(figure, [reading.tokens[place] for place in reading.positions])
    height = min(max(320, 150 + 24 * len(rows)), MAX_HEIGHT)
    labelled = rows[:: -(-14 * len(rows) // height)]
    figure.update_yaxes(
        tickvals=labelled.tolist(),
        ticktext=[reading.layers[row] for row in labelled],
        range=[rows[0] - stride / 2, rows[-1] + stride / 2],
        showgrid=False,
    )
    few = f", every {stride} layers" if stride > 1 else ""
    return styled(
        figure,
        title=plain(_title(reading, show)) + few,
        y="layer",
        height=height,
    )


def contribution_bars(
    contributions: LogitContributions, *, column: int = -1
) -> go.Figure:
    """What embedding, attention and MLP of each layer add to a logit, at one token.

    Args:
        contributions: The parts.
        column: Which of the positions.

    Raises:
        ResultError: If there is no such position.
    """
    if not -len(contributions.positions) <= column < len(contributions.positions):
        raise ResultError(
            f"There is no position {column} in these contributions.",
            expected=f"There are {len(contributions.positions)}, counted from 0.",
        )
    values = contributions.values[:, column]
    layers, groups, others = _bars(contributions.names)
    edge = {"embed": -1, "edits": layers, "bias": layers + ("edits" in others)}
    bars = [
        ("attention", TRUE_COLOUR, groups["attention"]),
        ("MLP", FALSE_COLOUR, groups["MLP"]),
        ("embedding and biases", NEUTRAL,
         [(part, edge[name]) for name, part in others.items()]),
    ]  # fmt: skip
    figure = go.Figure()
    for name, colour, parts in bars:
        own = [part for part, _ in parts]
        figure.add_trace(
            go.Bar(
                x=np.array([place for _, place in parts], dtype=np.float32),
                y=values[own],
                name=name,
                marker={"color": colour},
                customdata=[contributions.names[part] for part in own],
                hovertemplate="%{customdata}<br>%{y:+.3f} logits<extra></extra>",
            )
        )
    figure.add_hline(y=0, line={"color": NEUTRAL, "width": 1})
    ticks = [layer for layer in range(layers) if layer % max(1, layers // 24) == 0]
    figure.update_xaxes(
        tickvals=[-1, *ticks, *(edge[name] for name in list(others)[1:])],
        ticktext=["embed", *map(str, ticks), *list(others)[1:]],
    )
    place = contributions.positions[column]
    total = float(contributions.total[column])
    words = contributions.vocabulary
    other = contributions.distractor
    what = _logit(words[contributions.target], None if other is None else words[other])
    return styled(
        figure,
        title=plain(f"{what} at token {place}: {total:+.2f}"),
        x="layer",
        y="added (logits)",
    )


def divergence_curve(result: SideBySide) -> go.Figure:
    """How far the steered model's prediction is from the unchanged one's, by token.

    Args:
        result: Two texts.
    """
    tokens = result.steered.tokens
    probabilities = np.stack(
        [result.steered.log_probability, result.unchanged_log_probability], axis=-1
    )
    figure = go.Figure(
        go.Scatter(
            x=np.arange(len(tokens), dtype=np.float32),
            y=result.kl,
            mode="lines+markers",
            line={"color": MODEL_COLOURS["post"], "width": 2},
            marker={"size": 6},
            name="KL",
            customdata=np.exp(probabilities),
            text=[plain(shown(token)) for token in tokens],
            hovertemplate="%{text}<br>KL %{y:.3f} nats<br>steered: %{customdata[0]:.3f}"
            "<br>unchanged: %{customdata[1]:.3f}<extra></extra>",
        )
    )
    _token_axis(figure, tokens)
    figure.update_yaxes(rangemode="tozero")
    return styled(
        figure,
        title="How far steering moves the prediction of each token",
        y="KL (nats)",
        height=300,
    )


def _title(reading: LensReading, show: LensQuantity) -> str:
    words = reading.vocabulary
    match show:
        case "target":
            assert reading.target is not None
            return f"Log-probability of '{shown(words[reading.target])}'"
        case "difference":
            assert reading.target is not None
            assert reading.distractor is not None
            return _logit(words[reading.target], words[reading.distractor])
        case "entropy":
            return "How sure each layer is of its prediction"
        case "rank":
            return "Rank of the token that comes next"
        case "log_probability":
            return "Log-probability of the token that comes next"
        case "kl":
            return "How far each layer's prediction is from the model's own"
        case _:
            assert_never(show)


def _logit(target: str, distractor: str | None) -> str:
    less = "" if distractor is None else f" minus logit of '{shown(distractor)}'"
    return f"Logit of '{shown(target)}'{less}"


def _colours(show: LensQuantity, z: np.ndarray) -> dict[str, object]:
    """The colour scale and its ends, as keywords of a heat map."""
    finite = z[np.isfinite(z)]
    most = float(np.abs(finite).max()) if finite.size else 1.0
    match show:
        case "difference":
            scale = [list(stop) for stop in AROUND_ZERO]
            return {"colorscale": scale, "zmin": -most, "zmid": 0, "zmax": most}
        case "entropy" | "kl":
            scale = [[1 - at, colour] for at, colour in reversed(CLOSE)]
            return {"colorscale": scale, "zmin": 0, "zmax": most or 1.0}
        case "log_probability" | "target":
            scale = [list(stop) for stop in CLOSE]
            return {"colorscale": scale, "zmin": -most or -1.0, "zmax": 0}
        case "rank":
            scale = [[1 - at, colour] for at, colour in reversed(CLOSE)]
            return {"colorscale": scale, "zmin": 0, "zmax": np.log10(most) or 1.0}
        case _:
            assert_never(show)


def _colour_bar(show: LensQuantity, z: np.ndarray) -> dict[str, object]:
    bar: dict[str, object] = {"title": {"text": _UNITS[show]}, "thickness": 12}
    if show == "rank":
        decades = range(int(np.log10(np.nanmax(z, initial=1.0))) + 1)
        bar |= {"tickvals": list(decades), "ticktext": [f"{10**n:,}" for n in decades]}
    return bar


def _write_cells(figure: go.Figure, reading: LensReading, rows: np.ndarray) -> None:
    """The likeliest token into each cell, where there is room.

    As a trace of its own, in the page's colour: a heat map chooses the colour of its
    texts as if nothing were transparent.
    """
    columns = len(reading.positions)
    room = min(ROW_CHARACTERS // columns, MOST_CHARACTERS)
    if room < LEAST_CHARACTERS:
        return

    def word(token: int) -> str:
        text = shown(reading.vocabulary[token])
        return plain(text if len(text) <= room else text[: room - 1] + "…")

    figure.add_trace(
        go.Scatter(
            x=np.tile(np.arange(columns, dtype=np.float32), len(rows)),
            y=np.repeat(rows.astype(np.float32), columns),
            text=[word(int(token)) for token in reading.top_ids[rows, :, 0].ravel()],
            mode="text",
            textfont={"size": 10},
            hoverinfo="skip",
            showlegend=False,
        )
    )


def _hovers(
    reading: LensReading, rows: np.ndarray, values: np.ndarray, show: LensQuantity
) -> list[list[str]]:
    unit = _UNITS[show].replace("<br>", " ")

    def hover(row: int, column: int) -> str:
        place = reading.positions[column]
        tops = "".join(
            f"<br>{np.exp(value):.3f} {plain(shown(token))}"
            for token, value in reading.top(row, column)
        )
        return (
            f"{reading.layers[row]} at {place}: {plain(shown(reading.tokens[place]))}"
            f"<br>{unit}: {values[row, column]:.3g}{tops}"
        )

    columns = range(len(reading.positions))
    return [[hover(int(row), column) for column in columns] for row in rows]


def _token_axis(figure: go.Figure, tokens: list[str] | tuple[str, ...]) -> None:
    every = -(-len(tokens) // MAX_LABELS) or 1
    places = list(range(0, len(tokens), every))
    figure.update_xaxes(
        tickvals=places,
        ticktext=[plain(shown(tokens[place])[:16]) for place in places],
        tickangle=-60,
        range=[-0.5, max(len(tokens), 1) - 0.5],
        showgrid=False,
        tickfont={"size": 10},
    )


def _bars(
    names: tuple[str, ...],
) -> tuple[int, dict[str, list[tuple[int, int]]], dict[str, int]]:
    """How many layers there are, the parts of each kind by layer, and the others."""
    groups: dict[str, list[tuple[int, int]]] = {"attention": [], "MLP": []}
    others: dict[str, int] = {}
    for number, name in enumerate(names):
        component, _, layer = name.partition(".")
        if not layer:
            others[name] = number
        else:
            kind = "attention" if component == "attn_out" else "MLP"
            groups[kind].append((number, int(layer)))
    layers = [layer for group in groups.values() for _, layer in group]
    return max(layers) + 1, groups, others
