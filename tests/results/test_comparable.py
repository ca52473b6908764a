"""Which results may be compared: models may differ, how they were made may not."""

from dataclasses import replace

import pytest
from sample_results import provenance

from interp.provenance import DatasetRecord
from interp.results.comparable import Difference, circumstances, differences


def changed(**fields):
    return replace(provenance(), **fields)


def with_model(**fields):
    base, post = provenance().models
    return changed(models=(replace(base, **fields), post))


def test_another_model_time_or_version_is_no_reason():
    other = with_model(name="owner/other", weights_hash="ff", device="cuda")
    other = replace(other, created="2027-01-01T00:00:00+00:00", git_commit="0")
    assert differences(provenance(), other) == ()
    told = {one.field for one in circumstances(provenance(), other)}
    assert told == {"code", "model 1", "weights of model 1", "device of model 1"}


@pytest.mark.parametrize(
    ("other", "field", "values"),
    [
        (changed(seed=3), "seed", ("0", "3")),
        (changed(study="refusal"), "study", ("truthfulness", "refusal")),
        (with_model(dtype="bfloat16"), "models[0].dtype", ("float32", "bfloat16")),
        (
            with_model(tokenizer_hash=""),
            "models[0].tokenizer_hash",
            ("bb" * 8, "(unknown)"),
        ),
        (changed(models=provenance().models[:1]), "models", ("2 models", "1 models")),
    ],
)
def test_a_field_that_differs_is_named_with_both_values(other, field, values):
    assert differences(provenance(), other) == (
        Difference(field=field, first=values[0], second=values[1]),
    )


def test_other_data_is_told_by_what_it_held_and_not_by_its_name():
    data = provenance().datasets[0]
    renamed = changed(datasets=(replace(data, name="towns.csv"),))
    assert differences(provenance(), renamed) == ()
    (found,) = differences(
        provenance(),
        changed(datasets=(DatasetRecord(name="x.csv", fingerprint="dd", rows=7),)),
    )
    assert "cities.csv (300 rows" in found.first
    assert found.second == "x.csv (7 rows, dd)"


def test_a_hash_of_settings_is_taken_apart_where_they_are_known():
    other = changed(spec_hash="ba9876543210")
    (found,) = differences(provenance(), other)
    assert found.field == "settings (hash)"
    same = {"base": "a", "resamples": 1000, "probes": ["x"], "deep": {"n": 1}}
    # The hash also holds the weights, so that it differs between models anyway.
    settings = (same, same | {"base": "b", "batch_size": 3})
    assert differences(provenance(), other, settings=settings) == ()
    settings = (same, same | {"resamples": 10, "deep": {"n": 2}, "limit": 5})
    found = differences(provenance(), other, settings=settings)
    assert [str(one) for one in found] == [
        "settings.deep.n: 1 against 2",
        "settings.limit: (not written) against 5",
        "settings.resamples: 1000 against 10",
    ]
