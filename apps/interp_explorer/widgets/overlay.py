"""Markers that make the cells of heat maps clickable, and show what is chosen.

Knows nothing of Streamlit: figures in, figures out.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from interp.figures.style import NEUTRAL


# Traces and axes are `Any`: plotly's own stubs do not know their attributes.
# Above this many cells SVG markers take longer to draw than readers wait.
MOST_SVG_CELLS = 2_000
# Where the facts of a cell stand in the customdata of its marker.
ROW, COLUMN, VALUE, TEXT, OWN = range(5)
OUTLINE = 3
ROOM = 0.03


def with_overlay(
    figure: go.Figure, *, shape: tuple[int, int], chosen: tuple[int, int], colour: str
) -> go.Figure:
    """The figure with a marker on every cell of its heat maps of a shape.

    The ranges of their axes are pinned, or the markers would widen them. A heat map on
    a logarithmic axis is not understood.

    Args:
        figure: Is changed.
        shape: Rows and columns.
        chosen: The cell that is outlined.
        colour: Of the outline.
    """
    traces: list[Any] = [*figure.data]
    maps: list[Any] = [
        trace
        for trace in traces
        if trace.type == "heatmap" and np.shape(trace.z) == shape
    ]
    use_gl = len(maps) * shape[0] * shape[1] > MOST_SVG_CELLS
    for trace in maps:
        columns = _Places.of(trace.x, shape[1])
        rows = _Places.of(trace.y, shape[0])
        figure.add_trace(_overlay(trace, rows, columns, use_gl=use_gl))
        trace.update(hoverinfo="skip", hovertemplate=None)
        figure.layout[_axis(trace.xaxis, "x")].update(columns.pinned())
        axis: Any = figure.layout[_axis(trace.yaxis, "y")]
        axis.update(rows.pinned(is_reversed=_is_reversed(axis)))
        (x0, x1), (y0, y1) = columns.edges(chosen[1]), rows.edges(chosen[0])
        figure.add_shape(
            type="rect",
            x0=x0, x1=x1, y0=y0, y1=y1,
            xref=trace.xaxis or "x", yref=trace.yaxis or "y",
            line={"color": colour, "width": OUTLINE},
        )  # fmt: skip
    # A click anywhere in a cell counts: the nearest centre is that of the cell itself.
    return figure.update_layout(hovermode="closest", hoverdistance=-1)


def with_rings(
    figure: go.Figure,
    *,
    name: str,
    name_of: Callable[[Sequence[Any]], str],
    colour: str,
) -> go.Figure:
    """The figure with a ring around every point of a name.

    Args:
        figure: Is changed.
        name: The name.
        name_of: The name of a point by its `customdata`.
        colour: Of the rings.
    """
    traces: list[Any] = [*figure.data]
    for trace in traces:
        if trace.type not in ("scatter", "scattergl") or trace.customdata is None:
            continue
        if "markers" not in (trace.mode or ""):
            continue
        at = [
            i for i, own in enumerate(trace.customdata) if name_of(as_list(own)) == name
        ]
        opacity = trace.marker.opacity
        trace.update(
            unselected_marker_opacity=opacity if isinstance(opacity, float) else 1
        )
        ring = type(trace)(
            x=[trace.x[i] for i in at],
            y=[trace.y[i] for i in at],
            xaxis=trace.xaxis,
            yaxis=trace.yaxis,
            mode="markers",
            marker={
                "symbol": "circle-open",
                "size": 21,
                "color": colour,
                "line": {"width": OUTLINE - 0.5},
            },
            hoverinfo="skip",
            showlegend=False,
        )
        figure.add_trace(ring)
    return figure.update_layout(hovermode="closest")


def ordered(customdata: Any) -> list[Any]:
    """What the browser sends back of a point's customdata, in order."""
    if isinstance(customdata, dict):
        return [customdata[at] for at in sorted(customdata, key=int)]
    return as_list(customdata)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Places:
    """Where the rows or columns of a heat map lie along their axis.

    Attributes:
        given: As the trace has it.
        centres: As numbers; of categories their order.
    """

    given: list[Any]
    centres: np.ndarray

    @classmethod
    def of(cls, values: Any, count: int) -> "_Places":
        given = list(range(count)) if values is None else list(values)
        try:
            centres = np.array([float(value) for value in given])
        except (TypeError, ValueError):
            centres = np.arange(count, dtype=float)
        return cls(given=given, centres=centres)

    def edges(self, at: int) -> tuple[float, float]:
        steps = np.diff(self.centres)
        if not len(steps):
            return float(self.centres[at]) - 0.5, float(self.centres[at]) + 0.5
        before, after = steps[max(at - 1, 0)] / 2, steps[min(at, len(steps) - 1)] / 2
        return float(self.centres[at] - before), float(self.centres[at] + after)

    def pinned(self, *, is_reversed: bool = False) -> dict[str, Any]:
        first, last = self.edges(0), self.edges(len(self.centres) - 1)
        # Room for half an outline.
        low = first[0] - ROOM * (first[1] - first[0])
        high = last[1] + ROOM * (last[1] - last[0])
        ends = [low, high]
        return {"range": ends[::-1] if is_reversed else ends, "autorange": False}


def _overlay(
    trace: Any, rows: _Places, columns: _Places, *, use_gl: bool
) -> go.Scatter | go.Scattergl:
    z = np.asarray(trace.z, dtype=float)
    at = [(i, j) for i, j in np.ndindex(*z.shape) if np.isfinite(z[i, j])]
    own = None if trace.customdata is None else np.asarray(trace.customdata, object)
    texts = None if trace.text is None else np.asarray(trace.text, object)
    facts = [
        [
            i,
            j,
            float(z[i, j]),
            "" if texts is None else texts[i, j],
            *([] if own is None else as_list(own[i, j])),
        ]
        for i, j in at
    ]
    kind = go.Scattergl if use_gl else go.Scatter
    invisible = {"marker": {"opacity": 0}}
    return kind(
        x=[columns.given[j] for _, j in at],
        y=[rows.given[i] for i, _ in at],
        xaxis=trace.xaxis,
        yaxis=trace.yaxis,
        mode="markers",
        marker={"symbol": "square", "size": 14, "opacity": 0, "color": NEUTRAL},
        selected=invisible,
        unselected=invisible,
        customdata=facts,
        hovertemplate=_hover(trace.hovertemplate),
        name=trace.name or "",
        showlegend=False,
    )


def _hover(template: str | None) -> str:
    """The hover text of a heat map, for the markers on it."""
    template = template or "%{z}<extra></extra>"
    moved = re.sub(
        r"%\{customdata(?:\[(\d+)\])?",
        lambda found: f"%{{customdata[{OWN + int(found[1] or 0)}]",
        template,
    )
    moved = re.sub(r"%\{z\b", f"%{{customdata[{VALUE}]", moved)
    return re.sub(r"%\{text\b", f"%{{customdata[{TEXT}]", moved)


def _is_reversed(axis: Any) -> bool:
    ends = axis.range
    return axis.autorange == "reversed" or (ends is not None and ends[0] > ends[1])


def _axis(name: str | None, letter: str) -> str:
    return f"{letter}axis{(name or letter)[1:]}"


def as_list(values: Any) -> list[Any]:
    """A row of customdata as Python values; one value is a row of one."""
    if isinstance(values, np.ndarray | list | tuple):
        return [
            item.item() if isinstance(item, np.generic) else item for item in values
        ]
    return [values]
