"""Timelines as values and on disk."""

import hashlib
import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
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


def test_patterns_come_back_from_disk_and_older_results_have_none(tmp_path):
    given = timeline()
    folder = given.save(tmp_path / "r")
    found = HeadTimeline.load(folder)
    np.testing.assert_array_equal(found.patterns, given.patterns)
    for place in range(7):
        expected = given.patterns[1, place].astype(np.float32)
        np.testing.assert_array_equal(found.pattern("L1H1", checkpoint=place), expected)
    assert found.pattern("L0H1") is None
    # As it was written before there were patterns.
    description = json.loads((folder / "result.json").read_text())
    for name in [name for name in description["values"] if "pattern" in name]:
        del description["values"][name]
    arrays = load_file(folder / "arrays.safetensors")
    save_file(
        {name: array for name, array in arrays.items() if "pattern" not in name},
        folder / "arrays.safetensors",
    )
    held = (folder / "arrays.safetensors").read_bytes()
    description["files"]["arrays.safetensors"] = hashlib.sha256(held).hexdigest()
    (folder / "result.json").write_text(json.dumps(description))
    older = HeadTimeline.load(folder)
    assert older.pattern_heads == ()
    assert older.pattern("L1H1") is None
    np.testing.assert_array_equal(older.heads, given.heads)


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
