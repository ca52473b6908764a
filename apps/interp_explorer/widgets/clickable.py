"""Figures whose cells or points can be chosen: by a click, by keyboard, by a link.

The choice itself lives in selection boxes, which the address names; a click writes into
them. The browser reports no clicks on the cells of a heat map, so that an invisible
marker lies on each, which also carries the cell's hover text.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from interp_explorer.state import choose
from interp_explorer.widgets.chart import PLOT_CONFIG, ink, note_drawn, shown
from interp_explorer.widgets.made import Made
from interp_explorer.widgets.overlay import (
    COLUMN,
    ROW,
    ordered,
    with_overlay,
    with_rings,
)


Way = Literal["points", "box", "lasso"]
Mode = Way | tuple[Way, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What readers choose along one axis of a map, or among points.

    Attributes:
        key: The parameter in the address; begins with the page's letter.
        label: What is chosen, in our own words.
        names: The options, which may be anybody's texts.
        default: Which of them a link without the parameter means.
        help_text: What the choice means.
        slider: Whether it is drawn as a slider: for what has an order, such as steps.
    """

    key: str
    label: str
    names: tuple[str, ...]
    default: int = 0
    help_text: str = ""
    slider: bool = False


def choose_cell(
    figure: go.Figure | Made, *, rows: Choice, columns: Choice, alt: str
) -> tuple[int, int]:
    """The chosen row and column of a figure's heat maps, which it draws clickable.

    All heat maps with so many rows and columns are clickable and outline the choice. In
    a figure without heat maps, points whose `customdata` begins with the places of
    their row and column are the cells.

    Args:
        figure: One heat map or several; stays as it is. See `note_drawn`.
        rows: The names of the rows of `z`, in its order.
        columns: The names of the columns of `z`, in its order.
        alt: What the figure shows, for readers who cannot see it.
    """
    left, right = st.columns(2)
    with left:
        row = _choose(rows)
    with right:
        column = _choose(columns)
    key = f"{rows.key}_{columns.key}_click"

    def pick() -> None:
        for point in st.session_state[key].selection.points:
            found = point.get("customdata")
            if found is not None and "curve_number" in point:
                at = [int(ordered(found)[i]) for i in (ROW, COLUMN)]
                st.session_state[rows.key] = unique(rows.names)[at[0]]
                st.session_state[columns.key] = unique(columns.names)[at[1]]

    drawn = shown(note_drawn(figure, alt))
    if any(isinstance(trace, go.Heatmap) for trace in drawn.data):
        shape = (len(rows.names), len(columns.names))
        with_overlay(drawn, shape=shape, chosen=(row, column), colour=ink())
    else:
        name = _place([row, column])
        with_rings(drawn, name=name, name_of=_place, colour=ink())
    _chart(drawn, alt=alt, key=key, pick=pick)
    return row, column


def choose_point(
    figure: go.Figure | Made,
    *,
    points: Choice,
    alt: str,
    name_of: Callable[[Sequence[Any]], str] | None = None,
    several: Callable[[list[str]], None] | None = None,
) -> int:
    """The chosen point of a figure with markers, which it draws clickable.

    Points of several traces with one name are one choice, and all are ringed.

    Args:
        figure: Traces with markers and `customdata`; stays as it is. See `note_drawn`.
        points: The names of the points.
        alt: What the figure shows, for readers who cannot see it.
        name_of: The name of a point by its `customdata`; the first value by default.
        several: Gets the names of the points that a lasso or box encloses, which then
            choose nothing; and none of them when the reader lifts it.
    """
    name_of = name_of or first_value
    chosen = _choose(points)
    key = f"{points.key}_click"
    names = unique(points.names)

    def pick() -> None:
        selection = st.session_state[key].selection
        found = [point.get("customdata") for point in selection.points]
        held = [name_of(ordered(one)) for one in found if one is not None]
        held = [name for name in held if name in names]
        enclosed = bool(selection.get("lasso") or selection.get("box"))
        if several is not None:
            several(held if enclosed else [])
        if held and not enclosed:
            st.session_state[points.key] = held[-1]

    drawn = shown(note_drawn(figure, alt))
    drawn = with_rings(drawn, name=names[chosen], name_of=name_of, colour=ink())
    mode = "points" if several is None else ("points", "lasso", "box")
    _chart(drawn, alt=alt, key=key, pick=pick, mode=mode)
    return chosen


def first_value(values: Sequence[Any]) -> str:
    """The first value as a text; whole numbers have no decimal point.

    Example:
        >>> first_value([3.0, 0.5]), first_value(["L1H2"])
        ('3', 'L1H2')
    """
    first = values[0]
    return f"{first:g}" if isinstance(first, int | float | np.number) else str(first)


def unique(names: Sequence[str]) -> list[str]:
    """The names, numbered where they would be the same.

    Example:
        >>> unique(["the", "cat", "the"])
        ['the', 'cat', 'the (2)']
    """
    found: dict[str, None] = {}
    for name in names:
        number, new = 1, name
        while new in found:
            number += 1
            new = f"{name} ({number})"
        found[new] = None
    return list(found)


def _place(values: Sequence[Any]) -> str:
    return f"{int(values[ROW])} {int(values[COLUMN])}"


def _choose(choice: Choice) -> int:
    names = unique(choice.names)
    name = choose(
        choice.label,
        names,
        key=choice.key,
        default=names[choice.default],
        help_text=choice.help_text,
        slider=choice.slider,
    )
    return names.index(name) if name in names else choice.default


def _chart(
    figure: go.Figure,
    *,
    alt: str,
    key: str,
    pick: Callable[[], None],
    mode: Mode = "points",
) -> None:
    st.plotly_chart(
        figure,
        theme="streamlit",
        config=PLOT_CONFIG,
        alt=alt,
        key=key,
        on_select=pick,
        selection_mode=mode,
    )
