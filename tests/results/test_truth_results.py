"""Truthfulness results of today and of older versions are read and summed up."""

import dataclasses
import hashlib
import json
import math

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sample_results import truthfulness

from interp.errors import ResultError
from interp.results import TruthfulnessComparison, load
from interp.results.truth_rows import ROLES


NEW_FIELDS = ("doses", "probes", "carried", "dataset_transfer", "cosines")
NEW_ARRAYS = ("shown", "probe_scores", "components", "layer_cosines")
NEW_OF_EFFECTS = ("norm_share", "cosine", "orthogonal")


@pytest.fixture
def older(tmp_path):
    """A folder as schema 1 wrote it."""
    folder = truthfulness().save(tmp_path / "old")
    path = folder / "result.json"
    held = json.loads(path.read_text())
    held["schema"] = 1
    for name in NEW_FIELDS:
        del held["values"][name]
    for row in held["values"]["interventions"]:
        for name in NEW_OF_EFFECTS:
            del row[name]
    arrays = folder / "arrays.safetensors"
    kept = {k: v for k, v in load_file(arrays).items() if k not in NEW_ARRAYS}
    save_file(kept, arrays)
    held["files"][arrays.name] = hashlib.sha256(arrays.read_bytes()).hexdigest()
    path.write_text(json.dumps(held))
    return folder


def test_a_result_comes_back_as_it_was_saved(tmp_path):
    result = truthfulness()
    found = load(result.save(tmp_path / "r"))
    assert isinstance(found, TruthfulnessComparison)
    for name in (*NEW_FIELDS[:4], "interventions", "notes"):
        assert getattr(found, name) == getattr(result, name), name
    # NaN is not equal to itself.
    assert [row.shared_high for row in found.cosines] == [
        row.shared_high for row in result.cosines
    ]
    assert math.isnan(found.cosines[0].shrinkage)


def test_single_scores_come_back_and_the_most_wrong_stand_first(tmp_path):
    result = truthfulness()
    found = load(result.save(tmp_path / "r"))
    assert isinstance(found, TruthfulnessComparison)
    for name in NEW_ARRAYS:
        np.testing.assert_array_equal(getattr(found, name), getattr(result, name))
    at = 13
    row = result.probes[at]
    frame = found.scores_dataframe(row.model, row.probe, row.layer)
    assert len(frame) == len(result.shown)
    expected = {
        result.statements[i]: (bool(result.labels[i]), float(score))
        for i, score in zip(result.shown, result.probe_scores[at], strict=True)
    }
    for one in frame.itertuples():
        assert result.statements[one.number] == one.statement
        assert expected[one.statement] == (one.label, one.score)
        assert (one.wrongness > 0) == ((one.score > 0) != one.label)
    assert frame["wrongness"].is_monotonic_decreasing


def test_results_that_keep_no_single_scores_say_so_by_being_empty(tmp_path):
    whole = truthfulness()
    kept = {
        f.name: getattr(whole, f.name)
        for f in dataclasses.fields(whole)
        if f.name not in NEW_ARRAYS
    }
    result = load(TruthfulnessComparison(**kept).save(tmp_path / "r"))
    assert isinstance(result, TruthfulnessComparison)
    row = result.probes[0]
    assert result.scores_dataframe(row.model, row.probe, row.layer).empty


def test_a_result_of_schema_1_is_still_read(older):
    found = load(older)
    assert isinstance(found, TruthfulnessComparison)
    assert all(getattr(found, name) == () for name in NEW_FIELDS)
    assert found.shown.size == found.probe_scores.size == found.components.size == 0
    assert len(found.interventions) == len(truthfulness().interventions)
    assert "what shuffled labels give" in found.headline()
    np.testing.assert_array_equal(found.auroc, truthfulness().auroc)


def test_a_result_of_a_newer_schema_is_refused_in_one_line(tmp_path):
    folder = truthfulness().save(tmp_path / "new")
    path = folder / "result.json"
    path.write_text(path.read_text().replace('"schema": 2', '"schema": 3'))
    with pytest.raises(ResultError, match="has schema 3"):
        load(folder)


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("probes_dataframe", {"model", "probe", "layer", "auroc", "permutation_p"}),
        ("carried_dataframe", {"direction", "activations", "layer", "difference"}),
        ("datasets_dataframe", {"model", "train", "test", "layer", "auroc_low"}),
        ("cosines_dataframe", {"layer", "metric", "cosine", "independent_p"}),
        ("doses_dataframe", {"target", "condition", "norm_share", "nie_gap_low"}),
        ("interventions_dataframe", {"target", "condition", "orthogonal", "cosine"}),
    ],
)
def test_every_table_has_one_row_per_observation(table, columns):
    frame = getattr(truthfulness(), table)()
    assert columns <= set(frame.columns)
    keys = ["model", "direction", "target", "activations", "probe", "metric", "layer"]
    keys += ["train", "test", "condition", "orthogonal", "draw", "coefficient"]
    assert not frame.duplicated([key for key in keys if key in frame]).any()


def test_the_strongest_control_is_no_truth_direction():
    result = truthfulness()
    for role in ROLES:
        found = result.strongest_control(role)
        assert found is not None
        # The direction of another data set moves more, and is no control of meaning.
        assert (found.target, found.condition) == (role, "covariance")


def test_a_control_along_truth_counts_without_its_part_along_it():
    result = truthfulness()
    alike = next(
        row
        for row in result.interventions
        if row.target == "post" and row.condition == "shuffled" and not row.orthogonal
    )
    rows = [row for row in result.interventions if row is not alike]
    strong = dataclasses.replace(alike, nie_gap=0.9, nie_gap_high=1.0)
    object.__setattr__(result, "interventions", (*rows, strong))
    found = result.strongest_control("post")
    assert found is not None
    assert found.nie_gap < 0.2
    rows = [row for row in rows if not row.orthogonal]
    object.__setattr__(result, "interventions", (*rows, strong))
    assert result.strongest_control("post") is strong
