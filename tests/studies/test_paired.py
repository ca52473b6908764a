"""Paired numbers of two results: of the same examples, or refused."""

from dataclasses import replace

import numpy as np
import pytest
from knowledge_samples import knowledge, patched
from map_samples import formation
from sample_results import refusal, truthfulness
from sweep_samples import NONE, planted
from timeline_samples import timeline

import probes
from interp.errors import IncompatibleError
from interp.statistics import auroc
from probes.studies.paired import imports_torch, paired_numbers


HOW = {"resamples": 100, "seed": 0}


def test_truth_is_compared_on_the_same_statements():
    first, second = truthfulness(), truthfulness(seed=1)
    rows = paired_numbers(first, second, **HOW).rows
    assert len(rows) == 2
    for i in range(2):
        both = [
            float(auroc(one.scores[i, i].astype(float), one.labels))
            for one in (first, second)
        ]
        row = rows.to_dict("records")[i]
        assert [row["first"], row["second"]] == pytest.approx(both)
        assert row["second - first"] == pytest.approx(both[1] - both[0])
        low, at, high = (float(row[n]) for n in ("low", "second - first", "high"))
        assert low <= at <= high


@pytest.mark.parametrize("make", [truthfulness, refusal, knowledge, patched])
def test_a_result_does_not_differ_from_itself(make):
    rows = paired_numbers(make(), make(), **HOW).rows
    assert len(rows) > 1
    for name in ("second - first", "low", "high"):
        assert np.abs(rows[name].to_numpy()).max() == pytest.approx(0, abs=1e-9)


def test_other_examples_are_not_paired():
    first = truthfulness()
    other = replace(first, statements=(*first.statements[1:], "Another."))
    with pytest.raises(IncompatibleError, match="same test statements"):
        paired_numbers(first, other)
    maps = knowledge()
    with pytest.raises(IncompatibleError, match="same pairs"):
        paired_numbers(maps, replace(maps, true=("x",) * len(maps.true)))


def test_a_shift_of_refusals_is_found_where_it_was_made():
    first = refusal()
    changed = tuple(
        replace(row, refused=True)
        if (row.model, row.instructions, row.intervention)
        == ("base", "harmful", "none")
        else row
        for row in first.completions
    )
    rows = paired_numbers(first, replace(first, completions=changed), **HOW).rows
    (row,) = [row for row in rows.to_dict("records") if row["second - first"] != 0]
    assert (row["first"], row["second"]) == (6 / 40, 1.0)
    assert row["low"] > 0.6


def test_restoration_is_that_of_the_result():
    result = knowledge()
    second = replace(result, pair_ld=result.pair_ld + np.float32(0.5))
    rows = paired_numbers(result, second, **HOW).rows
    gap = (result.clean_ld - result.corrupted_ld).mean(1)
    base = rows[rows["number"].str.contains("base model")]
    np.testing.assert_allclose(base["second - first"], 0.5 / gap[0], rtol=1e-4)
    cells = result.pair_ld[result.runs.index("base"), 0].mean(0)
    false = result.corrupted_ld[0].mean()
    expected = ((cells - false) / gap[0]).ravel()
    for value in base["first"]:
        assert np.nanmin(np.abs(expected - value)) < 1e-4


def test_sweeps_are_compared_by_the_test_of_the_library():
    rows, labels = planted(n=120)
    noisy = rows + np.random.default_rng(1).normal(size=rows.shape).astype(np.float32)
    first, second = (
        probes.sweep(one, labels, controls=NONE, folds=3) for one in (noisy, rows)
    )
    found = paired_numbers(first, second, **HOW).rows
    assert str(found["number"].iloc[0]).startswith("AUROC at ")
    expected = probes.compare_sweeps(
        second, first, resamples=100, permutations=100, seed=0
    )
    largest = np.abs(expected.difference.estimate).max()
    moved = np.abs(found["second - first"].to_numpy())
    assert moved.max() == pytest.approx(largest)
    assert {"p", "p corrected"}.issubset(found.columns)


def test_data_sets_against_each_other_are_compared_cell_by_cell():
    rng, truth = np.random.default_rng(0), np.arange(60) % 2 == 0
    sets = {name: rng.normal(size=(60, 2, 4)) for name in "abc"}
    strong = {name: rows + 2 * truth[:, None, None] for name, rows in sets.items()}
    labels = {"a": truth, "b": truth, "c": truth}
    first, second = (
        probes.transfer_matrix(rows, labels, resamples=50) for rows in (sets, strong)
    )
    found = paired_numbers(first, second, resamples=200)
    rows = found.rows.set_index("number")
    assert list(rows.index[:3]) == [
        f"AUROC on {name}, trained on all others" for name in "abc"
    ]
    assert len(rows) == 12
    at = int(np.argmax(first.left_out.mean(0) + second.left_out.mean(0)))
    assert first.sites[at] in found.method
    own = rows.to_dict("index")["AUROC on b, trained on c"]
    assert own["first"] == pytest.approx(float(first.auroc[2, 1, at]), abs=1e-6)
    assert own["second"] == pytest.approx(float(second.auroc[2, 1, at]), abs=1e-6)
    assert own["low"] < own["second - first"] < own["high"]
    # What was made easy is easier in every cell, and not by chance.
    assert np.mean(rows["low"].to_numpy() > 0) > 0.9
    with pytest.raises(IncompatibleError, match="same labels"):
        paired_numbers(first, replace(second, labels=~second.labels))
    with pytest.raises(IncompatibleError, match="no site and position in common"):
        paired_numbers(first, replace(second, sites=("x", "y")))


def test_results_of_two_sorts_have_no_common_numbers():
    with pytest.raises(IncompatibleError, match="no common numbers"):
        paired_numbers(truthfulness(), refusal())


def test_only_maps_and_training_take_the_time_of_torch():
    for slow in (knowledge(), timeline(), formation()):
        assert imports_torch(slow)
    assert not imports_torch(truthfulness())
