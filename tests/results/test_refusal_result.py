"""Refusal results on disk: the new fields, and folders of the schema before them."""

import json

import pytest
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
)
NEW_OF_CANDIDATES = ("norm", "relative_norm", "rank", "share")


@pytest.fixture
def folder(tmp_path):
    return refusal().save(tmp_path / "result")


def test_everything_comes_back(folder):
    result, again = refusal(), results.load(folder)
    assert isinstance(again, RefusalComparison)
    # NaN is equal to nothing, so tables are compared.
    for table in ("candidates", "doses", "cosines", "side_effects", "punctuation"):
        name = f"{table}_dataframe"
        first, second = getattr(result, name)(), getattr(again, name)()
        assert first.equals(second)
    for name in NEW[4:]:
        assert getattr(again, name) == getattr(result, name)


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
    path.write_text(json.dumps(held))
    again = results.load(folder)
    assert isinstance(again, RefusalComparison)
    assert again.headline() == refusal().headline()
    assert again.doses == again.cosines == again.side_effects == ()
    assert again.candidates[0].rank is None
    assert again.conditions[0].refused_metric is None


def test_each_way_of_judging_has_its_count_and_wilson_interval():
    row = conditions_of(refusal().completions)[0]
    for mode in ("substring", "prefix", "metric"):
        share = row.share(mode)
        assert (share.successes, share.n) == (6, 40)
        assert (share.low, share.high) == (row.low, row.high)
