"""Figures of patching maps show the arrays they are given, pinned at zero."""

from dataclasses import replace
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from knowledge_samples import knowledge, patched

from interp import figures
from interp.errors import ResultError
from interp.figures import report_section
from interp.figures.style import MODEL_COLOURS
from interp.results import KnowledgeComparison, load


FIGURES = [
    figures.knowledge_maps,
    figures.staircase_curves,
    figures.likeness_bars,
    figures.inside_bars,
]


@pytest.fixture(scope="module")
def result():
    return knowledge()


def traces(figure: go.Figure) -> list[Any]:
    # Plotly's own stubs do not know the attributes of its traces.
    return list(figure.data)


def test_maps_stand_side_by_side_with_their_difference_below(result):
    base, post, gap = traces(figures.knowledge_maps(result))
    for run, trace in enumerate((base, post)):
        np.testing.assert_array_equal(trace.z, result.restoration[run, 0])
        assert (trace.zmin, trace.zmid, trace.zmax) == (-1, 0, 1)
    np.testing.assert_array_equal(gap.z, result.difference[0])
    # The scale of the difference shows at least what would matter.
    assert gap.zmax == -gap.zmin >= result.likeness[0].equivalence[0].delta
    assert gap.colorscale[1][1].endswith("0.0)"), "zero must be transparent"
    np.testing.assert_array_equal(
        base.customdata[:, :, 2], result.restoration_low[0, 0]
    )


def test_columns_are_named_by_their_token_where_all_pairs_have_one(result):
    labels = figures.knowledge_maps(result).layout.xaxis.ticktext
    assert labels == ("before 0", "subject last", "' is'", "object last", "':', last")


def test_the_staircase_draws_three_steps_in_each_model(result):
    curves = [
        t for t in traces(figures.staircase_curves(result)) if t.mode == "lines+markers"
    ]
    assert len(curves) == 6
    columns = [result.columns.index(n) for n in ("subject last", "object last", "last")]
    for curve, (run, column) in zip(
        curves, [(r, c) for r in range(2) for c in columns], strict=True
    ):
        np.testing.assert_array_equal(curve.y, result.restoration[run, 0, :, column])


@pytest.mark.parametrize("scale", ["restoration", "bins"])
def test_bars_of_likeness_stand_beside_floors_and_nulls(result, scale):
    r, gap = traces(figures.likeness_bars(result, scale=scale))
    found = result.likeness_of(scale=scale)
    assert r.y[0] == "base against post"
    assert r.x[0] == pytest.approx(found.find("pearson").value)
    halves = found.find("largest difference, knowledge", "halves of a")
    where = gap.y.index("halves of base")
    assert gap.x[where] == pytest.approx(halves.value)
    assert gap.error_x.array[where] == pytest.approx(
        halves.high - halves.value, abs=1e-6
    )


def test_shares_are_coloured_by_the_model_that_runs(result):
    loose, strict = traces(figures.inside_bars(result))
    assert loose.y == ("base", "post", "base into post", "post into base")
    colours = [MODEL_COLOURS[m] for m in ("base", "post", "post", "base")]
    assert list(loose.marker.color) == colours
    assert (loose.x >= strict.x).all()


@pytest.mark.parametrize("make", FIGURES)
def test_figures_are_pure_and_without_background_or_markup(result, make):
    marked = replace(result, models=("a/<a href='x'>y</a>", "b/<b>z</b>"))
    first = make(marked)
    assert first.to_json() == make(marked).to_json()
    assert "<a href" not in first.to_json()
    assert first.layout.paper_bgcolor is None
    assert first.layout.plot_bgcolor is None
    assert first.layout.title.text
    with pytest.raises(ResultError, match="no component 3"):
        make(result, unit=3)


def test_a_scale_that_was_not_compared_is_named(result):
    with pytest.raises(ResultError, match="no comparison on the scale 'ld'"):
        figures.likeness_bars(result, scale="ld")


def test_a_result_comes_back_from_disk_and_says_when_models_do_not_answer(
    result, tmp_path
):
    folder = result.save(tmp_path / "result")
    again = load(folder)
    assert again.headline() == result.headline()
    assert isinstance(again, KnowledgeComparison)
    assert again.likeness == result.likeness
    assert "the maps of the two models correlate" in result.headline()
    wrong = replace(result, clean_ld=-result.clean_ld)
    assert wrong.headline().startswith("The maps say little about facts")
    section = report_section(result)
    assert len(section.panels) == 6
    assert {hidden.title for hidden in section.hidden} >= {"The pairs"}


def test_one_map_is_drawn_as_a_share_of_the_gap():
    result = patched(seed=0)
    (heatmap,) = traces(figures.patch_heatmap(result))
    gap = (result.clean_ld - result.corrupted_ld).astype(float)
    for column, role in enumerate(("before[0]", "subject[0]")):
        moved = [
            result.ld[0, i, :, row.index(role)] - result.corrupted_ld[i]
            for i, row in enumerate(result.roles)
        ]
        np.testing.assert_allclose(
            heatmap.z[:, column], np.sum(moved, axis=0) / gap.sum(), rtol=1e-4
        )
    with pytest.raises(ResultError, match="no component 5"):
        figures.patch_heatmap(result, unit=5)
    assert len(report_section(result).panels) == 1
