"""Two figures of one kind: on a common scale, and what the second adds to the first.

Works on what is drawn, so that every kind of result can be compared. Nothing is made
up: places that only one of the two has are left out, and so are bands and error bars,
which do not subtract.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from interp.errors import IncompatibleError
from interp.figures.report import Panel
from interp.figures.scale import Content, common_scale, content_of, values_of
from interp.figures.style import DIVERGING, NEUTRAL


# Traces of which fewer points stand at the same places are not the same curve.
LEAST_SHARED = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PanelPair:
    """One figure of two results on a common scale, and their difference.

    Attributes:
        first: Of the first result.
        second: Of the second.
        difference: Second minus first, or None if it cannot be drawn.
        reason: Then why.
    """

    first: Panel
    second: Panel
    difference: Panel | None
    reason: str = ""


def common_panels(
    first: Sequence[Panel], second: Sequence[Panel]
) -> list[tuple[Panel, Panel]]:
    """The figures that two results of a kind have both, in the order of the first.

    Args:
        first: The figures of one result.
        second: Those of the other.
    """
    others: dict[tuple[str, int], Panel] = dict(_named(second))
    return [(panel, others[key]) for key, panel in _named(first) if key in others]


def panel_pair(first: Panel, second: Panel) -> PanelPair:
    """Two figures of one kind on a common scale, and their difference.

    Args:
        first: A figure.
        second: The same one of another result.
    """
    left, right = common_scale(first.figure, second.figure)
    drawn, reason = None, ""
    try:
        figure = difference_figure(first.figure, second.figure)
        drawn = Panel(figure=figure, alt=f"Second minus first of: {first.alt}")
    except IncompatibleError as error:
        reason = str(error)
    return PanelPair(
        first=replace(first, figure=left),
        second=replace(second, figure=right),
        difference=drawn,
        reason=reason,
    )


def difference_figure(first: go.Figure, second: go.Figure) -> go.Figure:
    """What the second figure shows minus what the first shows, at common places.

    Curves and bars are paired by their names, up to the model that a name tells of;
    maps by their panel.

    Args:
        first: A figure.
        second: One of the same kind.

    Raises:
        IncompatibleError: If they have no places in common.

    Example:
        >>> a, b = (go.Figure(go.Bar(x=["p", "q"], y=y)) for y in ([1, 2], [4, 1]))
        >>> [float(y) for y in difference_figure(a, b).data[0].y]
        [3.0, -1.0]
    """
    contents = [content_of(figure) for figure in (first, second)]
    others = dict(_keyed(contents[1]))
    traces, missing = [], 0
    for key, trace in _keyed(contents[0]):
        drawn = None
        if key in others:
            layouts = (contents[0]["layout"], contents[1]["layout"])
            drawn = _subtracted(trace, others[key], layouts)
        missing += drawn is None
        traces += [] if drawn is None else [drawn]
    if not traces:
        raise IncompatibleError(
            "The two figures have nothing at the same places, so that no difference can"
            " be drawn.",
            expected="Curves, bars or cells with the same names or numbers; points of a"
            " scatter are no curve.",
        )
    _pin_colours(traces)
    layout = {k: v for k, v in contents[0]["layout"].items() if k != "shapes"}
    # Names beside levels of the first figure stand at its values.
    notes = [note for note in layout.get("annotations") or () if _is_fixed(note)]
    figure = go.Figure(traces, {**layout, "annotations": notes})
    some = f" ({len(traces)} of {len(traces) + missing} parts)" if missing else ""
    figure.update_layout(title_text=f"Second minus first{some}")
    for name in layout:
        if name[:5] in ("xaxis", "yaxis"):
            _free(figure.layout[name], _along_values(traces, name))
    return figure


def shown_values(figure: go.Figure) -> list[Float[np.ndarray, "..."]]:
    """What the curves, bars and cells of a difference say, by trace.

    Args:
        figure: A figure of `difference_figure`.
    """
    found = []
    for trace in content_of(figure)["data"]:
        along = "x" if trace.get("orientation") == "h" else "y"
        name = "z" if trace["type"] == "heatmap" else along
        found.append(np.nan_to_num(np.asarray(trace[name], dtype=np.float64)))
    return found


def _named(panels: Sequence[Panel]) -> list[tuple[tuple[str, int], Panel]]:
    """Panels by the function that drew them, or else by title, and a number."""
    counts: dict[str, int] = {}
    found = []
    for panel in panels:
        title = panel.figure.layout.to_plotly_json().get("title", {})
        name = panel.name or str(title.get("text", ""))
        counts[name] = counts.get(name, -1) + 1
        found.append(((name, counts[name]), panel))
    return found


def _keyed(content: Content) -> list[tuple[tuple[Any, ...], Content]]:
    """The traces that have values, by what they are of."""
    counts: dict[tuple[Any, ...], int] = {}
    found = []
    for trace in content["data"]:
        if trace.get("fill") or trace.get("hoverinfo") == "skip":
            continue
        # 'base · owner-a' and 'base · owner-b' are both of the base model.
        name = str(trace.get("name") or "").split(" · ")[0]
        panel = (trace.get("xaxis") or "x", trace.get("yaxis") or "y")
        key = (trace["type"], *panel, name)
        counts[key] = counts.get(key, -1) + 1
        found.append(((*key, counts[key]), trace))
    return found


def _subtracted(
    first: Content, second: Content, layouts: tuple[Content, Content]
) -> Content | None:
    """The first trace with the second's values minus its own, or None."""
    if first["type"] == "heatmap":
        return _subtracted_map(first, second, layouts)
    if first["type"] not in ("scatter", "scattergl", "bar"):
        return None
    place, value = ("y", "x") if first.get("orientation") == "h" else ("x", "y")
    # Points are not a curve: where they stand is a finding.
    if first["type"] != "bar" and "lines" not in str(first.get("mode", "lines")):
        return None
    tables = [
        dict(zip(_labels(one, place, layout), values_of(one, value), strict=False))
        for one, layout in zip((first, second), layouts, strict=True)
    ]
    shared = [label for label in tables[0] if label in tables[1]]
    if len(shared) < max(1, LEAST_SHARED * min(len(table) for table in tables)):
        return None
    where = dict(zip(_labels(first, place, layouts[0]), first[place], strict=False))
    drawn = {
        name: first[name]
        for name in ("type", "name", "mode", "line", "marker", "xaxis", "yaxis",
                     "orientation", "showlegend", "legendgroup")
        if name in first
    }  # fmt: skip
    marker = drawn.get("marker")
    if isinstance(marker, Mapping):
        # Sizes and patterns for each point tell of the first result alone.
        drawn["marker"] = {k: v for k, v in marker.items() if k in ("color", "line")}
    drawn[place] = [where[label] for label in shared]
    drawn[value] = np.array(
        [tables[1][label] - tables[0][label] for label in shared], dtype=np.float32
    )
    said = f"%{{{place}}}<br>second minus first %{{{value}:+.3f}}"
    return drawn | {"hovertemplate": said}


def _subtracted_map(
    first: Content, second: Content, layouts: tuple[Content, Content]
) -> Content | None:
    rows, columns = (
        [_labels(one, axis, layout) for one, layout in zip((first, second), layouts,
                                                          strict=True)]
        for axis in ("y", "x")
    )  # fmt: skip
    kept = [
        [(at, both[1].index(label)) for at, label in enumerate(both[0])
         if label in both[1]]
        for both in (rows, columns)
    ]  # fmt: skip
    if not all(kept):
        return None
    z = [np.asarray(one["z"], dtype=np.float64) for one in (first, second)]
    picked = [
        z[side][np.ix_([r[side] for r in kept[0]], [c[side] for c in kept[1]])]
        for side in (0, 1)
    ]
    drawn = {
        name: first[name]
        for name in ("type", "name", "xaxis", "yaxis", "xgap", "ygap")
        if name in first
    }
    bar = dict(first.get("colorbar") or {})
    bar["title"] = {"text": "second −<br>first"}
    return drawn | {
        "z": (picked[1] - picked[0]).astype(np.float32),
        "y": _taken(first, "y", [r[0] for r in kept[0]], len(rows[0])),
        "x": _taken(first, "x", [c[0] for c in kept[1]], len(columns[0])),
        "colorbar": bar,
        "showscale": first.get("showscale", True),
        "colorscale": [list(stop) for stop in DIVERGING],
        "hovertemplate": "%{y}, %{x}<br>second minus first %{z:+.3f}<extra></extra>",
    }


def _taken(trace: Content, axis: str, kept: list[int], count: int) -> list[Any]:
    given = trace.get(axis)
    values = list(range(count)) if given is None else list(given)
    return [values[at] for at in kept]


def _labels(trace: Content, axis: str, layout: Content) -> list[Any]:
    """What stands at each place: the text of its tick where every place has one."""
    values = trace.get(axis)
    if values is None:
        values = range(np.shape(trace["z"])[0 if axis == "y" else 1])
    places = [one.item() if isinstance(one, np.generic) else one for one in values]
    ticks = layout.get(f"{axis}axis{(trace.get(f'{axis}axis') or axis)[1:]}", {})
    at, said = ticks.get("tickvals"), ticks.get("ticktext")
    texts = {} if at is None or said is None else dict(zip(at, said, strict=False))
    if texts and all(place in texts for place in places):
        named = [str(texts[place]) for place in places]
        if len(set(named)) == len(named):
            return named
    return [round(one, 6) if isinstance(one, float) else one for one in places]


def _pin_colours(traces: list[Content]) -> None:
    """Maps share one scale around zero."""
    maps = [trace for trace in traces if trace["type"] == "heatmap"]
    for trace in maps:
        # A panel with a scale of its own keeps one.
        same = maps if sum(one["showscale"] for one in maps) == 1 else [trace]
        largest = max(
            (float(np.nanmax(np.abs(one["z"]))) for one in same
             if np.isfinite(one["z"]).any()),
            default=0.0,
        )  # fmt: skip
        end = largest or 1.0
        trace.update(zmin=-end, zmid=0, zmax=end)


def _along_values(traces: list[Content], name: str) -> bool:
    """Whether an axis shows differences, and not places."""
    letter, at = name[0], name[0] + name[5:]
    drawn = [trace for trace in traces if (trace.get(f"{letter}axis") or letter) == at]
    return any(
        trace["type"] != "heatmap"
        and letter == ("x" if trace.get("orientation") == "h" else "y")
        for trace in drawn
    )


def _free(axis: Any, is_value: bool) -> None:
    """An axis of differences gets its own range, with zero in sight."""
    if not is_value:
        return
    axis.update(
        range=None,
        autorange=None,
        type="linear",
        tickvals=None,
        ticktext=None,
        dtick=None,
        tickformat=None,
        rangemode="tozero",
        zeroline=True,
        zerolinecolor=NEUTRAL,
    )
    # The heading says what is subtracted, the axis of each panel of what.
    if axis.title.text:
        axis.title.text = f"Δ {axis.title.text}"


def _is_fixed(note: Mapping[str, Any]) -> bool:
    """Whether an annotation is a title of a panel, and not beside a value."""
    refs = (str(note.get("xref") or "x"), str(note.get("yref") or "y"))
    return all(ref == "paper" or ref.endswith("domain") for ref in refs)
