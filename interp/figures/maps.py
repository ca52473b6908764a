"""Heat maps whose colours say on which side of a value a cell is."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from interp.figures.style import DIVERGING


def pinned_map(
    z: Float[np.ndarray, "row column"],
    *,
    x: Sequence[Any] | np.ndarray | None = None,
    y: Sequence[Any] | np.ndarray | None = None,
    middle: float = 0.0,
    reach: float = 1.0,
    gap: int = 1,
    bar: str | None = None,
) -> go.Heatmap:
    """A map that is transparent at one value, blue above it and orange below.

    Args:
        z: The values; NaN leaves a cell empty.
        x: Where the columns lie; counted from 0 by default.
        y: Where the rows lie; counted from 0 by default.
        middle: The value without colour.
        reach: How far from it colours are full.
        gap: Pixels between cells.
        bar: The title of the bar of colours, or nothing; with None there is no bar.

    Example:
        >>> trace = pinned_map(np.full((1, 2), 0.5), middle=0.5, reach=0.5)
        >>> trace.zmin, trace.zmid, trace.zmax, trace.showscale
        (0.0, 0.5, 1.0, False)
    """
    bars: dict[str, Any] = {"showscale": False}
    if bar is not None:
        title = {"title": {"text": bar}} if bar else {}
        bars = {"colorbar": {**title, "thickness": 12}}
    return go.Heatmap(
        z=z,
        x=x,
        y=y,
        zmin=middle - reach,
        zmid=middle,
        zmax=middle + reach,
        colorscale=[list(stop) for stop in DIVERGING],
        xgap=gap,
        ygap=gap,
        **bars,
    )


def write_cells(
    figure: go.Figure,
    texts: Sequence[Sequence[str]],
    *,
    x: Sequence[Any] | np.ndarray,
    y: Sequence[Any] | np.ndarray,
    row: int | None = None,
    col: int | None = None,
) -> None:
    """A text into each cell of a map, in the page's own colour.

    As annotations: plotly chooses the colour of a heat map's own texts as if no cell
    were transparent.

    Args:
        figure: Gets the texts.
        texts: What each cell says, by row.
        x: Where the columns lie.
        y: Where the rows lie.
        row: The panel's row, where there are several.
        col: The panel's column.

    Example:
        >>> figure = go.Figure()
        >>> write_cells(figure, [["a", "b"]], x=[0, 1], y=[0])
        >>> [note.text for note in figure.layout.annotations]
        ['a', 'b']
    """
    for at, line in zip(y, texts, strict=True):
        for place, text in zip(x, line, strict=True):
            figure.add_annotation(
                x=place, y=at, text=text, showarrow=False, row=row, col=col
            )
