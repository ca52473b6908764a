"""Timelines as values and on disk."""

import numpy as np
import pytest
from timeline_samples import CURVES, timeline

from interp import results
from interp.errors import ConfigError, ResultError
from interp.results import HeadTimeline
from probes.studies.summary import brief_table, numbers, sentences


def test_a_timeline_comes_back_from_disk_as_it_was(tmp_path):
    given = timeline()
    found = results.load(given.save(tmp_path / "r"))
    assert isinstance(found, HeadTimeline)
    for name in ("heads", "stderr", "samples", "mean", "steps", "tokens", "n_above"):
        np.testing.assert_array_equal(getattr(found, name), getattr(given, name))
    # NaN is not equal to itself, so rows are compared as text.
    assert repr(found.phases) == repr(given.phases)
    assert (found.lags, found.swaps, found.failed) == (
        given.lags,
        given.swaps,
        given.failed,
    )
    assert found.headline() == given.headline()


def test_the_rows_hold_every_head_and_every_curve_with_its_error():
    given = timeline()
    rows = given.to_dataframe()
    assert len(rows) == 2 * 7 * 4 + 2 * 7
    one = rows.query("metric == 'prefix_matching' and step == 600 and layer == 1")
    assert one["value"].tolist() == given.heads[0, 6, 1].tolist()
    loss = rows.query("metric == 'loss' and step == 300")
    assert loss["layer"].tolist() == [-1]
    samples = given.samples[0, 3]
    wanted = np.std(samples, ddof=1) / np.sqrt(3)
    assert float(loss["stderr"].iloc[0]) == pytest.approx(wanted, rel=1e-5)


def test_a_timeline_says_what_changes_when_and_what_failed():
    given = timeline()
    assert "changes at step 350 [345, 355], between the checkpoints 300 and 400" in (
        given.headline()
    )
    assert given.phase(CURVES[0]).verdict == "no transition"
    assert given.top("prefix_matching")[0] == "L1H1"
    said = " ".join(sentences(given))
    assert "step700" in said
    assert "1 of 1 lags" in said
    found = numbers(given)
    assert found["failed"] == {"step700": "<b>cut</b>"}
    table = brief_table(given)
    assert table["verdict"].tolist() == ["no transition", "transition"]
    assert table["step"].tolist() == ["", "350 [345, 355]"]


def test_an_unknown_name_is_met_with_the_closest_one():
    with pytest.raises(ConfigError, match="Did you mean 'prefix_matching'"):
        timeline().value("prefix_maching")
    with pytest.raises(ConfigError, match="Did you mean 'loss'"):
        timeline().curve("los")


def test_a_damaged_timeline_is_named(tmp_path):
    folder = timeline().save(tmp_path / "r")
    (folder / "arrays.safetensors").write_bytes(b"nothing")
    with pytest.raises(ResultError, match=r"arrays\.safetensors"):
        results.load(folder)
