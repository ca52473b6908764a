"""Refusal results on disk: the new fields, and folders of the schema before them."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save
from sample_results import refusal

from interp import results
from interp.results import conditions_of
from interp.results.refusal import RefusalComparison


NEW = (
    "doses",
    "cosines",
    "side_effects",
    "punctuation",
    "rule",
    "selection",
    "chosen_scores",
    "limits",
    "resamples",
    "none_share",
    "projections",
    "words",
)
NEW_ARRAYS = ("answer_words", "answer_projections", "answer_lengths")
NEW_OF_CANDIDATES = ("norm", "relative_norm", "rank", "share")


@pytest.fixture
def folder(tmp_path):
    return refusal().save(tmp_path / "result")


def test_everything_comes_back(folder):
    result, again = refusal(), results.load(folder)
    assert isinstance(again, RefusalComparison)
    # NaN is equal to nothing, so tables are compared.
    for table in ("candidates", "projections", *NEW[:4]):
        name = f"{table}_dataframe"
        first, second = getattr(result, name)(), getattr(again, name)()
        assert first.equals(second)
    for name in NEW[4:]:
        assert getattr(again, name) == getattr(result, name)
    for at in (0, len(result.completions) - 1):
        first, second = result.read_answer(at), again.read_answer(at)
        assert first is not None
        assert second is not None
        assert second.tokens == first.tokens == (" I", " can", " not")
        np.testing.assert_array_equal(second.projections, first.projections)
    last = again.read_answer(len(result.completions) - 1)
    assert last is not None
    assert last.projections[-1] == 1


def test_a_result_of_the_first_schema_still_opens(folder):
    path = folder / "result.json"
    held = json.loads(path.read_text())
    assert held["schema"] == 2
    held["schema"] = 1
    for name in NEW:
        del held["values"][name]
    for row in held["values"]["candidates"]:
        for name in NEW_OF_CANDIDATES:
            del row[name]
    for row in held["values"]["conditions"]:
        del row["refused_metric"]
    arrays = folder / "arrays.safetensors"
    old = {
        name: one for name, one in load_file(arrays).items() if name not in NEW_ARRAYS
    }
    arrays.write_bytes(save(old))
    held["files"][arrays.name] = hashlib.sha256(arrays.read_bytes()).hexdigest()
    path.write_text(json.dumps(held))
    again = results.load(folder)
    assert isinstance(again, RefusalComparison)
    assert again.read_answer(0) is None
    assert again.headline() == refusal().headline()
    assert again.doses == again.cosines == again.side_effects == ()
    assert again.candidates[0].rank is None
    assert again.conditions[0].refused_metric is None


@pytest.mark.parametrize(
    "change",
    [
        {"answer_lengths": np.array([3], np.int32)},
        {"answer_lengths": np.full(len(refusal().completions), -1, np.int32)},
        {"words": (" I",)},
        {"answer_words": np.full(3 * len(refusal().completions), -1, np.int32)},
    ],
)
def test_tokens_of_answers_that_do_not_fit_are_not_shown(change):
    assert replace(refusal(), **change).read_answer(0) is None


def test_each_way_of_judging_has_its_count_and_wilson_interval():
    row = conditions_of(refusal().completions)[0]
    for mode in ("substring", "prefix", "metric"):
        share = row.share(mode)
        assert (share.successes, share.n) == (6, 40)
        assert (share.low, share.high) == (row.low, row.high)
