"""Two figures on a common scale, so that they can be compared by eye."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float64


Content = dict[str, Any]
ROOM = 0.04


def content_of(figure: go.Figure) -> Content:
    """The traces and the layout of a figure as plain values, arrays as they are."""
    parts: Any = figure
    return {
        "data": [trace.to_plotly_json() for trace in parts.data],
        "layout": parts.layout.to_plotly_json(),
    }


def common_scale(first: go.Figure, second: go.Figure) -> tuple[go.Figure, go.Figure]:
    """Copies of two figures whose axes and colours mean the same.

    Args:
        first: A figure.
        second: One of the same kind.
    """
    figures = go.Figure(first), go.Figure(second)
    contents = [content_of(figure) for figure in figures]
    for name in sorted(_axes(contents[0]) & _axes(contents[1])):
        ends = [_ends(content, name) for content in contents]
        if None not in ends:
            low, high = min(e[0] for e in ends if e), max(e[1] for e in ends if e)
            for figure, content in zip(figures, contents, strict=True):
                turned = _is_turned(content["layout"].get(name, {}))
                ordered = [high, low] if turned else [low, high]
                figure.layout[name].update(range=ordered, autorange=None)
    for one, other in zip(*(_maps(content) for content in contents), strict=False):
        low = min(_colour_end(trace, "zmin") for _, trace in (one, other))
        high = max(_colour_end(trace, "zmax") for _, trace in (one, other))
        for figure, (at, _) in zip(figures, (one, other), strict=True):
            figure.data[at].update(zmin=low, zmax=high, zauto=False)
    return figures


def values_of(trace: Content, axis: str) -> Float64[np.ndarray, " place"]:
    """The numbers of a trace along an axis; NaN where there is none."""
    values = [np.nan if one is None else one for one in trace[axis]]
    return np.asarray(values, dtype=np.float64)


def _axes(content: Content) -> set[str]:
    """The axes that a figure's traces lie on, as its layout calls them."""
    return {
        f"{letter}axis{(trace.get(f'{letter}axis') or letter)[1:]}"
        for trace in content["data"]
        for letter in "xy"
    }


def _ends(content: Content, name: str) -> tuple[float, float] | None:
    """The ends of an axis as it is drawn; None if it has no numbers of its own."""
    axis = content["layout"].get(name, {})
    given = axis.get("range")
    if given is not None:
        return min(given), max(given)
    letter, at = name[0], name[0] + name[5:]
    found: list[float] = []
    for trace in content["data"]:
        if trace["type"] == "heatmap" and (trace.get(f"{letter}axis") or letter) == at:
            return None
        if (trace.get(f"{letter}axis") or letter) == at:
            values = trace.get(letter)
            if values is None or any(isinstance(one, str) for one in values):
                return None
            found += _reached(trace, letter)
    held = np.array([one for one in found if np.isfinite(one)])
    if axis.get("type") == "log":
        held = np.log10(held[held > 0])
    if not held.size:
        return None
    low, high = float(held.min()), float(held.max())
    room = ROOM * ((high - low) or 1.0)
    return low - room, high + room


def _reached(trace: Content, letter: str) -> list[float]:
    """The values of a trace along an axis, with the ends of its error bars."""
    values = values_of(trace, letter)
    along = "x" if trace.get("orientation") == "h" else "y"
    reached = [values]
    bars = trace.get(f"error_{letter}") or {}
    if bars.get("array") is not None:
        up = np.asarray(bars["array"], dtype=np.float64)
        down = bars.get("arrayminus")
        down = up if down is None else np.asarray(down, dtype=np.float64)
        reached += [values + up, values - down]
    if trace["type"] == "bar" and letter == along:
        reached.append(np.zeros(1))
    return np.concatenate(reached).tolist()


def _maps(content: Content) -> list[tuple[int, Content]]:
    return [
        (at, trace)
        for at, trace in enumerate(content["data"])
        if trace["type"] == "heatmap"
    ]


def _colour_end(trace: Content, name: str) -> float:
    given = trace.get(name)
    if given is not None:
        return float(given)
    z = np.asarray(trace["z"], dtype=np.float64)
    held = z[np.isfinite(z)]
    if not held.size:
        return 0.0
    return float(held.min() if name == "zmin" else held.max())


def _is_turned(axis: Mapping[str, Any]) -> bool:
    given = axis.get("range")
    turned = given is not None and given[0] > given[1]
    return turned or axis.get("autorange") == "reversed"
