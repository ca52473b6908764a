import json
from typing import Any

import numpy as np
import pytest

from interp.errors import ConfigError
from interp.figures import report_section
from interp.formation.experiments import induction_lm_tiny
from interp.formation.findings import (
    Group,
    Preset,
    abruptness,
    crossing_times,
    earlier,
    median_interval,
)
from interp.formation.label_experiments import few_shot_clamp, reddy_preset
from interp.formation.presets import run_preset
from interp.results import FormationRun, load
from probes.cli.run import run


PRESET = Preset(name="made up", metric="loss", level=0.5, plateau=1.0)


def drop_at(*times, width=1.0):
    """A group whose runs fall from 1 to 0 at these times."""
    steps = np.arange(0, 201)
    curves = 1 / (1 + np.exp((steps - np.array(times)[:, None]) / width))
    return Group(
        condition=f"at {times[0]}",
        seeds=tuple(range(len(times))),
        steps=steps,
        curves={"loss": curves.astype(np.float32)},
    )


def test_a_planted_transition_is_found_where_it_is():
    group = drop_at(50, 60, 999)
    times = crossing_times(group.steps, group.curves["loss"], 0.5)
    assert times[:2] == pytest.approx([50, 60], abs=0.01)
    assert times[2] == np.inf


def test_earlier_is_judged_seed_by_seed():
    # The groups overlap, the differences do not.
    first, second = drop_at(20, 60, 100, 140), drop_at(50, 90, 130, 170)
    found = earlier(first, second, PRESET)
    assert found.held
    assert (found.low, found.value, found.high) == pytest.approx((30,) * 3, abs=0.1)
    assert not earlier(second, first, PRESET).held
    assert not earlier(first, first, PRESET).held


def test_never_counts_as_later_than_the_last_step():
    found = earlier(drop_at(50, 50), drop_at(999, 999), PRESET)
    assert found.value == pytest.approx(150, abs=0.1)


def test_a_step_is_abrupt_and_a_slope_is_not():
    steep, slow = drop_at(100, width=1.0), drop_at(100, width=30.0)
    assert abruptness(steep, PRESET)[0] == pytest.approx(
        2 * np.log(4) / 101.4, abs=0.01
    )
    assert abruptness(slow, PRESET)[0] > 0.5


def test_a_median_of_mostly_never_is_never():
    assert median_interval(np.array([3.0, np.inf, np.inf]))[0] == np.inf


@pytest.fixture(scope="module")
def toy():
    return run_preset("toy")


def test_what_the_toy_models_stand_for_holds(toy):
    assert all(finding.held for finding in toy.findings)
    assert toy.times[0].step > 3 * toy.times[1].step > 3 * toy.times[2].step


def test_a_result_comes_back_from_its_folder(toy, tmp_path):
    toy.save(tmp_path / "r")
    back = load(tmp_path / "r")
    assert isinstance(back, FormationRun)
    assert np.array_equal(back.curves, toy.curves, equal_nan=True)
    assert back.findings_dataframe().equals(toy.findings_dataframe())
    assert back.headline() == toy.headline()


def test_the_report_shows_each_metric_and_every_finding(toy):
    section = report_section(toy)
    # The metrics, and the first one by seed.
    assert len(section.panels) == len(toy.metrics) + 1
    figure: Any = section.panels[0].figure
    names = {trace.name for trace in figure.data}
    assert names == set(toy.conditions)
    assert len(section.hidden[0].rows) == len(toy.findings)


def test_a_metric_that_was_not_measured_is_named(toy):
    with pytest.raises(ConfigError, match="Did you mean 'loss'"):
        toy.curve("los")


def test_two_layers_form_induction_heads_and_one_layer_does_not():
    found = induction_lm_tiny(size="small")
    two, one = found.times[0], found.times[2]
    assert (two.crossed, one.crossed) == (two.runs, 0)
    prefix = found.curve("prefix_matching", "none")[:, -1]
    assert prefix.min() > 2 * found.curve("prefix_matching", "one layer")[:, 0].max()
    held = found.curve("loss (released)", "previous token held")[:, -1]
    assert held.min() > 1 > found.curve("loss", "previous token held")[:, -1].max()


def test_only_copying_left_is_learned_earlier_than_all():
    found = few_shot_clamp(size="small")
    assert found.findings[0].held
    assert found.times[1].crossed == found.times[1].runs


def test_the_curves_of_reddys_preset_are_of_all_three_tests():
    found = reddy_preset(size="small")
    assert {"IC", "IC2", "IW", "CLA", "ILA1", "TILA2", "TLA2"} <= {*found.metrics}
    # Labels of the context have a share of 4 in 16 at the start.
    assert found.curve("context_mass")[:, 0].mean() == pytest.approx(0.25, abs=0.1)


def test_the_command_writes_result_and_report(tmp_path, capsys):
    arguments = ["train", "induction", "--preset", "toy", "--out", str(tmp_path)]
    assert run([*arguments, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["ok"]
    assert all(row["held"] for row in said["findings"])
    assert "Formation" in (tmp_path / "report.html").read_text()
    back = load(tmp_path)
    assert isinstance(back, FormationRun)
    assert back.name == "toy"
