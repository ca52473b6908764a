"""Two figures beside each other: one scale, and differences of what is common."""

from dataclasses import replace
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from knowledge_samples import knowledge
from sample_results import refusal, truthfulness
from timeline_samples import timeline

from interp.errors import IncompatibleError
from interp.figures import Panel, layer_curve, report_section
from interp.figures.brief import brief, sparkline
from interp.figures.cosine_matrix import cosine_matrix
from interp.figures.difference import common_panels, difference_figure, panel_pair
from interp.figures.scale import common_scale


MAKERS = (truthfulness, refusal, knowledge, timeline)


def lines(values, *, x=(0, 1, 2), name="base · a", **more) -> go.Figure:
    return go.Figure(go.Scatter(x=list(x), y=values, name=name, **more))


def heat(z, **more) -> go.Figure:
    return go.Figure(go.Heatmap(z=np.array(z, dtype=np.float32), **more))


def values(figure: go.Figure) -> list[float]:
    return [round(float(one), 4) for one in traces(figure)[0].y]


def traces(figure: Any) -> list[Any]:
    # Plotly's own stubs do not know what is in it.
    return list(figure.data)


def layout(figure: go.Figure) -> dict[str, Any]:
    return figure.to_plotly_json()["layout"]


def test_a_difference_is_second_minus_first_at_common_places():
    found = difference_figure(lines([1, 2, 3]), lines([5, 5, 9], x=(1, 2, 3)))
    assert list(traces(found)[0].x) == [1, 2]
    assert values(found) == [3, 2]


def test_curves_are_paired_by_role_whatever_the_model_is_called():
    first = lines([1, 1, 1]).add_scatter(x=[0, 1, 2], y=[2, 2, 2], name="post · a")
    second = go.Figure(
        [
            go.Scatter(x=[0, 1, 2], y=[7, 7, 7], name="post · c"),
            go.Scatter(x=[0, 1, 2], y=[4, 4, 4], name="base · b"),
        ]
    )
    found = difference_figure(first, second)
    assert [float(trace.y[0]) for trace in traces(found)] == [3, 5]


def test_maps_are_paired_by_what_their_ticks_say():
    first = heat([[1, 2], [3, 4]])
    second = heat([[5, 6], [7, 8]])
    first.update_xaxes(tickvals=[0, 1], ticktext=["subject", "last"])
    second.update_xaxes(tickvals=[0, 1], ticktext=["last", "subject"])
    found = traces(difference_figure(first, second))[0]
    # Columns of the second stand in another order.
    assert found.z.tolist() == [[5, 3], [5, 3]]
    assert (found.zmin, found.zmid, found.zmax) == (-5, 0, 5)


def test_bars_along_the_other_axis_are_subtracted_too():
    first, second = (
        go.Figure(go.Bar(y=["p", "q"], x=x, orientation="h")) for x in ([1, 2], [4, 1])
    )
    found = traces(difference_figure(first, second))[0]
    assert [float(x) for x in found.x] == [3, -1]
    assert found.orientation == "h"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (lines([1, 2, 3]), lines([1, 2, 3], x=(7, 8, 9))),
        (lines([1, 2, 3]), lines([1, 2, 3], name="other")),
        (lines([1, 2, 3], mode="markers"), lines([1, 2, 3], mode="markers")),
        (heat([[1, 2]], x=["a", "b"]), heat([[1, 2]], x=["c", "d"])),
        (lines([1, 2, 3]), heat([[1]])),
    ],
)
def test_what_has_no_common_places_is_refused(first, second):
    with pytest.raises(IncompatibleError, match="nothing at the same places"):
        difference_figure(first, second)


def test_bands_and_error_bars_are_left_out_of_differences():
    first = lines([1, 2, 3], error_y={"array": [1, 1, 1]})
    first.add_scatter(x=[0, 1], y=[0, 1], fill="toself", hoverinfo="skip")
    found = difference_figure(first, lines([1, 2, 3]))
    assert len(traces(found)) == 1
    assert traces(found)[0].error_y.array is None
    assert values(found) == [0, 0, 0]


def test_both_axes_reach_what_either_figure_shows():
    first, second = lines([0, 1, 2]), lines([4, 6, 5], error_y={"array": [2, 2, 2]})
    left, right = common_scale(first, second)
    low, high = layout(left)["yaxis"]["range"]
    assert layout(right)["yaxis"]["range"] == [low, high]
    assert low <= 0
    assert high >= 8
    assert "yaxis" not in layout(first)


def test_maps_share_their_colours():
    left, right = common_scale(heat([[0, 1]]), heat([[3, 9]]))
    assert (traces(left)[0].zmin, traces(left)[0].zmax) == (0, 9)
    assert (traces(right)[0].zmin, traces(right)[0].zmax) == (0, 9)


@pytest.mark.parametrize("make", MAKERS)
def test_a_result_differs_from_itself_by_nothing(make):
    panels = report_section(make()).panels
    pairs = [panel_pair(*both) for both in common_panels(panels, panels)]
    assert len(pairs) == len(panels)
    drawn = [pair.difference for pair in pairs if pair.difference is not None]
    assert len(drawn) >= len(pairs) // 2
    for panel in drawn:
        for trace in traces(panel.figure):
            along = "x" if getattr(trace, "orientation", None) == "h" else "y"
            shown = trace.z if isinstance(trace, go.Heatmap) else trace[along]
            held = np.asarray(shown, dtype=float)
            assert np.nanmax(np.abs(held), initial=0) == 0
        assert layout(panel.figure)["title"]["text"].startswith("Second minus first")
    reasons = [pair.reason for pair in pairs if pair.difference is None]
    assert all(reasons)


def test_the_difference_of_a_result_is_that_of_its_numbers():
    first, second = truthfulness(), truthfulness(seed=1)
    figure = difference_figure(layer_curve(first), layer_curve(second))
    own = [one for one in traces(figure) if not one.name.startswith("random")]
    assert len(own) == 2
    for i, trace in enumerate(own):
        expected = second.auroc[i, i] - first.auroc[i, i]
        np.testing.assert_allclose(trace.y, expected, atol=1e-6)


def test_figures_that_only_one_result_has_are_left_out():
    panel = Panel(figure=lines([1, 2, 3]).update_layout(title_text="a"), alt="")
    other = replace(panel, figure=lines([1, 2, 3]).update_layout(title_text="b"))
    assert common_panels([panel], [other, panel]) == [(panel, panel)]
    assert common_panels([panel], [other]) == []


def test_cosines_do_not_depend_on_lengths_and_names_stay_apart():
    vectors = np.array([[1.0, 0, 0], [0, 5, 0], [2, 2, 0]])
    figure = cosine_matrix(["a", "a", "<b>"], vectors)
    expected = [[1, 0, 0.5**0.5], [0, 1, 0.5**0.5], [0.5**0.5, 0.5**0.5, 1]]
    np.testing.assert_allclose(traces(figure)[0].z, expected, atol=1e-6)
    assert list(traces(figure)[0].x) == [0, 1, 2]
    assert "<b>" not in str(figure.to_json()).replace("&lt;b>", "")
    assert len(layout(figure)["annotations"]) == 9
    many = cosine_matrix([str(i) for i in range(20)], np.eye(20))
    assert "annotations" not in layout(many)


@pytest.mark.parametrize("make", MAKERS)
def test_a_result_at_a_glance_has_a_number_and_a_line(make):
    found = brief(make())
    assert found.number
    assert found.values.ndim == 1
    assert np.isfinite(found.values).any()


def test_the_number_at_a_glance_is_that_of_the_result():
    result = truthfulness()
    layer = result.best_index("post")
    assert brief(result).number == f"{result.auroc[1, 1, layer]:.2f}"
    assert brief(refusal()).number == "95% → 5%"
    assert "no usable" in brief(replace(refusal(), conditions=())).name


@pytest.mark.parametrize(
    ("drawn", "pieces"),
    [
        ([0.0, 1.0, 2.0], 1),
        ([0.0, 1.0, np.nan, 2.0, 3.0], 2),
        ([5.0, 5.0], 1),
        ([1.0], 1),
        ([np.nan], 0),
        ([], 0),
    ],
)
def test_a_line_has_gaps_where_there_is_no_value(drawn, pieces):
    drawing = sparkline(np.array(drawn), alt="rise")
    assert drawing.count("<polyline") == pieces
    assert "nan" not in drawing
    assert 'aria-label="rise"' in drawing


def test_long_lines_stay_small():
    assert len(sparkline(np.random.default_rng(0).normal(size=10_000), alt="")) < 2500


def test_every_panel_of_a_difference_says_what_was_subtracted():
    (curves, *_) = report_section(timeline()).panels
    found = difference_figure(curves.figure, curves.figure)
    own = [axis["title"]["text"] for axis in axes(curves.figure)]
    assert len(set(own)) > 1
    assert [axis["title"]["text"] for axis in axes(found)] == [f"Δ {o}" for o in own]


def axes(figure: go.Figure) -> list[dict[str, Any]]:
    content = layout(figure)
    return [content[name] for name in sorted(content) if name.startswith("yaxis")]
