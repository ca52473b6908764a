"""Figures of timelines, asserted on their data."""

from typing import Any

import numpy as np
from timeline_samples import CURVES, STEPS, timeline

from interp import figures
from interp.figures.sections import report_section
from interp.provenance import Provenance


def test_the_map_shows_each_head_at_each_checkpoint_from_chance_on():
    given = timeline()
    figure: Any = figures.timeline_map(given, "prefix_matching")
    (trace,) = figure.data
    np.testing.assert_array_equal(trace.z, given.heads[0].reshape(7, 4).T)
    assert trace.zmin == np.float32(0.08)
    assert trace.text[3][0] == "L1H1"
    assert trace.customdata[0, :, 0].tolist() == STEPS.tolist()
    assert "chance: 0.08" in figure.layout.title.text


def test_scores_that_can_be_negative_are_pinned_at_zero():
    figure: Any = figures.timeline_map(timeline(), "copying")
    (trace,) = figure.data
    assert trace.zmin == -trace.zmax


def test_of_many_heads_the_highest_are_shown_and_the_title_says_so():
    given = timeline(n_layers=10, n_heads=10)
    figure: Any = figures.timeline_map(given, "prefix_matching")
    assert figure.data[0].z.shape == (64, 7)
    assert figure.data[0].text[-1][0] == "L9H9"
    assert "64 of 100 heads" in figure.layout.title.text


def test_curves_are_marked_where_they_change_and_only_there():
    given = timeline()
    figure: Any = figures.timeline_curves(given)
    lines = [trace for trace in figure.data if trace.mode == "lines+markers"]
    # The one that changes comes first.
    np.testing.assert_array_equal(lines[0].y, given.curve(CURVES[1]))
    np.testing.assert_array_equal(lines[1].y, given.curve(CURVES[0]))
    bands = [shape for shape in figure.layout.shapes if shape.type == "rect"]
    assert {(band.x0, band.x1) for band in bands} == {(300.0, 400.0), (345.0, 355.0)}
    marks = [shape for shape in figure.layout.shapes if shape.type == "line"]
    assert {mark.x0 for mark in marks} == {350.0}
    assert {shape.yref for shape in figure.layout.shapes} == {"y domain"}


def test_the_scatter_shows_all_heads_and_the_way_of_the_highest():
    given = timeline()
    figure: Any = figures.timeline_scatter(given)
    last = figure.data[-1]
    np.testing.assert_array_equal(last.x, given.heads[0, -1].ravel())
    np.testing.assert_array_equal(last.y, given.heads[1, -1].ravel())
    way = figure.data[0]
    np.testing.assert_array_equal(way.x, given.heads[0, :, 1, 1])


def test_the_report_shows_all_of_it_and_escapes_reasons():
    section = report_section(timeline())
    assert [panel.name for panel in section.panels] == [
        "timeline_curves",
        "timeline_map",
        "timeline_map",
        "timeline_scatter",
        "attention_steps",
    ]
    page = figures.report_html("x", [section], Provenance(study="track"))
    assert "<b>cut</b>" not in page
    assert "&lt;b&gt;cut&lt;/b&gt;" in page
    assert "prefix_matching (highest head) at step 350" in page


def test_a_film_shows_every_checkpoint_as_the_scatter_does():
    result = timeline(n_heads=3)
    film: Any = figures.timeline_film(result, checkpoint=0)
    assert [frame.name for frame in film.frames] == [str(step) for step in result.steps]
    for place, frame in enumerate(film.frames):
        expected: Any = figures.timeline_scatter(result, checkpoint=place)
        for drawn, own in zip(frame.data, expected.data, strict=True):
            np.testing.assert_array_equal(drawn.x, own.x)
            np.testing.assert_array_equal(drawn.y, own.y)
    labels = [button.label for button in film.layout.updatemenus[0].buttons]
    assert labels == ["Play", "Pause"]
