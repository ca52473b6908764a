"""Figures of sweeps, asserted on their data."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sweep_samples import CHEAP, NONE, planted

import probes
from interp import figures
from interp.figures.sections import report_section
from interp.results.sweep import Baseline, ProbeSweep


def traces(figure: Any) -> list[Any]:
    return list(figure.data)


def layout(figure: Any) -> Any:
    # Plotly's own stubs do not know what is in it.
    return figure.layout


@pytest.fixture(scope="module")
def sweep() -> ProbeSweep:
    rows, labels = planted(120)
    texts = [f"{'yes' if label else 'no'} {i}" for i, label in enumerate(labels)]
    found = probes.sweep(rows, labels, controls=replace(CHEAP, texts=texts))
    return replace(found, baselines=(*found.baselines, baseline("<b>close</b>", 0.99)))


def baseline(name: str, value: float) -> Baseline:
    return Baseline(name=name, auroc=value, auroc_lo=value, auroc_hi=value)


@pytest.fixture(scope="module")
def several() -> ProbeSweep:
    rows, labels = planted(80, layers=2)
    places = np.stack([rows, rows[:, ::-1], rows, rows, rows], axis=2)
    return probes.sweep(places, labels, controls=NONE)


def test_the_curve_draws_auroc_by_layer_with_its_band(sweep):
    figure = figures.probe_curve(sweep)
    band, curve = traces(figure)[:2]
    np.testing.assert_array_equal(curve.y, sweep.auroc)
    np.testing.assert_array_equal(curve.x, [0, 1, 2])
    np.testing.assert_array_equal(band.y[:3], sweep.auroc_hi)
    np.testing.assert_array_equal(curve.customdata[:, 1], sweep.auroc_lo)
    assert np.argmax(curve.marker.size) == 1
    random = next(one for one in traces(figure) if "random" in one.name)
    np.testing.assert_array_equal(random.y, sweep.random_auroc)


def test_every_baseline_is_a_level_with_a_name_of_its_own_place(sweep):
    figure = figures.probe_curve(sweep)
    drawn = sorted(shape.y0 for shape in layout(figure).shapes)
    wanted = sorted([0.5, *(float(one.auroc) for one in sweep.baselines)])
    assert drawn == pytest.approx(wanted)
    names = [note.text for note in layout(figure).annotations]
    assert any(name.startswith("&lt;b>close") for name in names)
    low, high = layout(figure).yaxis.range
    places = sorted(note.y for note in layout(figure).annotations)
    assert min(np.diff(places)) >= 0.05 * (high - low)


def test_more_than_four_curves_say_how_many_are_shown(several):
    figure = figures.probe_curve(several)
    assert "4 of 5 curves" in layout(figure).title.text
    assert sum(one.mode == "lines+markers" for one in traces(figure)) == 4


def test_the_map_holds_every_site_and_position(several):
    figure = figures.probe_heatmap(several)
    cells = traces(figure)[0]
    for at, (layer, position) in enumerate(
        zip(several.layers, several.positions, strict=True)
    ):
        assert cells.z[layer][int(position)] == several.auroc[at]
        facts = cells.customdata[layer][int(position)]
        assert facts[1] == several.auroc_lo[at]
        assert facts[4] == at
    assert (cells.zmin, cells.zmid, cells.zmax) == (0, 0.5, 1)
    assert len(layout(figure).shapes) == len({*several.chosen.tolist()})


def test_a_sweep_without_layers_still_has_figures():
    rows, labels = planted(60)
    found = probes.sweep(rows[:, 1], labels, controls=NONE)
    assert next(shape.y0 for shape in layout(figures.probe_curve(found)).shapes) == 0.5
    assert traces(figures.probe_heatmap(found))[0].z[0][0] == found.auroc[0]


def test_a_report_shows_what_there_is_to_see(sweep, several):
    rows, labels = planted(60)
    single = probes.sweep(rows[:, 1], labels, controls=NONE)
    assert [len(report_section(one).panels) for one in (sweep, several, single)] == [
        1, 2, 0,
    ]  # fmt: skip
