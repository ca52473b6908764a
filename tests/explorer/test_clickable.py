"""Markers on the cells of maps: one per cell, with its facts, and the choice shown."""

import re
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from sample_results import refusal, truthfulness

from interp import figures
from interp_explorer.widgets.clickable import unique
from interp_explorer.widgets.overlay import (
    COLUMN,
    MOST_SVG_CELLS,
    ROW,
    ordered,
    with_overlay,
    with_rings,
)


MAPS = {
    "probe_map": lambda: figures.probe_map(truthfulness()),
    "transfer_matrix": lambda: figures.transfer_matrix(truthfulness()),
    "dataset_matrix": lambda: figures.dataset_matrix(truthfulness()),
    "direction_cosines": lambda: figures.direction_cosines(truthfulness()),
    "refusal_candidates": lambda: figures.refusal_candidates(refusal()),
    "refusal_transfer": lambda: figures.refusal_transfer(refusal()),
}
FIELD = re.compile(r"%\{(x|y|z|text|customdata)(?:\[(\d+)\])?[^}]*\}")


def _traces(figure: go.Figure, kind: Any) -> list[Any]:
    return [trace for trace in figure.data if isinstance(trace, kind)]


def _facts(template: str, point: dict[str, Any]) -> list[Any]:
    """The values that a hover template shows of a point, in order."""
    shown = []
    for name, at in FIELD.findall(template):
        value = point[name]
        if name == "customdata":
            value = np.atleast_1d(np.asarray(value, object))[int(at or 0)]
        shown.append(value)
    return shown


@pytest.mark.parametrize("name", MAPS)
def test_every_cell_has_one_marker_that_tells_what_the_cell_told(name):
    before, after = MAPS[name](), MAPS[name]()
    shape = np.shape(_traces(before, go.Heatmap)[0].z)
    with_overlay(after, shape=shape, chosen=(0, 0), colour="#000000")
    maps, marks = _traces(before, go.Heatmap), _traces(after, go.Scatter)
    assert len(maps) == len(marks)
    for map_, mark in zip(maps, marks, strict=True):
        assert (map_.xaxis, map_.yaxis) == (mark.xaxis, mark.yaxis)
        assert len(mark.x) == np.isfinite(np.asarray(map_.z, float)).sum()
        for x, y, facts in zip(mark.x, mark.y, mark.customdata, strict=True):
            i, j = facts[ROW], facts[COLUMN]
            cell = {"x": map_.x[j], "y": map_.y[i], "z": map_.z[i][j]}
            if map_.customdata is not None:
                cell["customdata"] = np.asarray(map_.customdata, object)[i, j]
            point = {"x": x, "y": y, "customdata": facts}
            assert _facts(mark.hovertemplate, point) == _facts(map_.hovertemplate, cell)


def test_the_choice_is_outlined_in_all_maps_of_its_shape_and_only_there():
    figure = MAPS["refusal_candidates"]()
    framed = len(figure.layout.shapes)
    with_overlay(figure, shape=(2, 8), chosen=(1, 5), colour="#123456")
    outlines = figure.layout.shapes[framed:]
    assert [shape.xref for shape in outlines] == ["x", "x2", "x3"]
    for shape in outlines:
        assert (shape.x0, shape.x1, shape.y0, shape.y1) == (4.5, 5.5, 0.5, 1.5)
    other = MAPS["refusal_candidates"]()
    with_overlay(other, shape=(8, 2), chosen=(0, 0), colour="#123456")
    assert len(_traces(other, go.Heatmap)) == 3
    assert not _traces(other, go.Scatter)


def test_axes_are_pinned_around_the_cells_and_keep_their_orientation():
    figure = MAPS["dataset_matrix"]()
    with_overlay(figure, shape=(4, 3), chosen=(0, 0), colour="#000000")
    low, high = figure.layout.xaxis.range
    assert -0.6 < low < -0.5
    assert 2.5 < high < 2.6
    top, bottom = figure.layout.yaxis.range
    assert top > 3.5 > -0.5 > bottom


def test_places_between_uneven_columns_lie_half_way():
    figure = go.Figure(go.Heatmap(z=np.ones((1, 3)), x=[0, 1, 4], y=[0]))
    with_overlay(figure, shape=(1, 3), chosen=(0, 1), colour="#000000")
    assert (figure.layout.shapes[0].x0, figure.layout.shapes[0].x1) == (0.5, 2.5)


def test_large_maps_are_drawn_by_the_graphics_card():
    side = int(MOST_SVG_CELLS**0.5) + 1
    figure = go.Figure(go.Heatmap(z=np.ones((side, side), np.float32)))
    with_overlay(figure, shape=(side, side), chosen=(0, 0), colour="#000000")
    (mark,) = _traces(figure, go.Scattergl)
    assert len(mark.x) == side**2


def test_rings_lie_around_every_point_of_the_name():
    figure = figures.candidate_curves(refusal())
    with_rings(
        figure,
        name="1 4",
        name_of=lambda values: f"{values[0]} {values[1]}",
        colour="#000000",
    )
    rings = [t for t in _traces(figure, go.Scatter) if t.marker.symbol == "circle-open"]
    found = [(ring.yaxis, x) for ring in rings for x in ring.x]
    # Token -1 is the second position; the three panels each have the point once.
    assert found == [("y", 4), ("y2", 4), ("y3", 4)]


def test_equal_names_are_told_apart_and_customdata_come_in_order():
    assert unique(["a", "a (2)", "a"]) == ["a", "a (2)", "a (3)"]
    assert ordered({str(i): i for i in range(12)}) == list(range(12))
