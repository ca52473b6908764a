import math
import time
from typing import Any

import jaxtyping
import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, rankdata
from sklearn.metrics import roc_auc_score

from interp import statistics
from interp.errors import DataError, EmptyClassError, ShapeError
from interp.statistics import resampling


def _readout(seed: int = 0, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.4
    # Rounded, so that many scores are tied within and across the classes.
    return np.round(rng.normal(size=(3, 2, n)) + labels, 1), labels


def test_auroc_equals_scikit_learn_with_ties_over_leading_axes():
    scores, labels = _readout()
    ours = statistics.auroc(scores, labels)
    assert ours.shape == (3, 2)
    for index in np.ndindex(3, 2):
        assert ours[index] == pytest.approx(roc_auc_score(labels, scores[index]))


def test_auroc_of_a_constant_is_half_and_of_nan_is_nan():
    labels = np.array([True, False, True])
    assert statistics.auroc(np.zeros(3), labels) == 0.5
    assert np.isnan(statistics.auroc(np.array([0.0, np.nan, 1.0]), labels))


@pytest.mark.parametrize("max_pairs", [0, 10**6])
def test_resampled_auroc_equals_scikit_learn_with_sample_weights(
    max_pairs: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(resampling, "MAX_PAIRS", max_pairs)
    scores, labels = _readout(1)
    groups = np.arange(60) // 3
    weights = np.concatenate([*resampling.weight_blocks(groups, 60, 8, 5)])
    draws = resampling.bootstrap_aurocs(scores, labels, groups, 8, 5)
    assert draws.shape == (3, 2, 8)
    for resample in range(8):
        expected = roc_auc_score(labels, scores[1, 1], sample_weight=weights[resample])
        assert draws[1, 1, resample] == pytest.approx(expected)


def test_groups_are_drawn_whole():
    weights = np.concatenate([*resampling.weight_blocks(list("aabbbc"), 6, 50, 0)])
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 2] == weights[:, 4]).all()
    group_counts = weights[:, [0, 2, 5]].sum(axis=1)
    assert (group_counts == 3).all()
    assert len(np.unique(weights, axis=0)) > 1


def test_blocks_do_not_change_the_interval(monkeypatch: pytest.MonkeyPatch):
    scores, labels = _readout(2)
    whole = statistics.auroc_interval(scores, labels, resamples=40, seed=3)
    monkeypatch.setattr(resampling, "ITEMS_PER_BLOCK", 60 * 7)
    blocked = statistics.auroc_interval(scores, labels, resamples=40, seed=3)
    np.testing.assert_array_equal(whole.low, blocked.low)
    np.testing.assert_array_equal(whole.high, blocked.high)


def test_cluster_interval_is_wider_than_a_naive_one_for_repeated_rows():
    scores, labels = _readout(3)
    repeated, copies = np.repeat(scores[0, 0], 5), np.repeat(labels, 5)
    naive = statistics.auroc_interval(repeated, copies)
    clustered = statistics.auroc_interval(
        repeated, copies, groups=np.repeat(np.arange(60), 5)
    )
    single = statistics.auroc_interval(scores[0, 0], labels)
    width = clustered.high - clustered.low
    assert width > 1.7 * (naive.high - naive.low)
    assert width == pytest.approx(float(single.high - single.low), rel=0.15)


def test_auroc_interval_covers_the_truth_about_as_often_as_it_says():
    # Two normals one standard deviation apart: AUROC = Phi(1 / sqrt 2).
    truth, covered, rounds = 0.7602, 0, 200
    labels = np.arange(80) < 40
    for seed in range(rounds):
        scores = np.random.default_rng(seed).normal(size=80) + labels
        interval = statistics.auroc_interval(scores, labels, resamples=200, seed=seed)
        covered += bool(interval.low <= truth <= interval.high)
    assert 0.88 <= covered / rounds <= 0.99


def test_mean_interval_matches_the_normal_approximation():
    values = np.random.default_rng(0).normal(size=(2, 400))
    interval = statistics.mean_interval(values, resamples=3000)
    half = 1.96 * values.std(axis=1) / 20
    np.testing.assert_allclose(interval.estimate, values.mean(axis=1))
    np.testing.assert_allclose(interval.high - interval.estimate, half, rtol=0.12)
    np.testing.assert_allclose(interval.estimate - interval.low, half, rtol=0.12)


def test_mean_interval_accepts_truth_values():
    interval = statistics.mean_interval(np.array([True, False, True, True]))
    assert interval.estimate == 0.75


def test_paired_difference_is_zero_for_equal_readouts_and_narrow_for_similar_ones():
    scores, labels = _readout(4)
    first = scores[0, 0]
    same = statistics.auroc_difference(first, first, labels)
    assert (same.estimate, same.low, same.high) == (0, 0, 0)
    nearly = first + np.random.default_rng(0).normal(size=60) * 0.05
    paired = statistics.auroc_difference(first, nearly, labels)
    single = statistics.auroc_interval(first, labels)
    assert paired.high - paired.low < 0.4 * (single.high - single.low)
    expected = roc_auc_score(labels, first) - roc_auc_score(labels, nearly)
    assert paired.estimate == pytest.approx(expected)


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (10, 10), (3, 17), (250, 1000)])
def test_wilson_equals_scipy(successes: int, n: int):
    ours = statistics.wilson(successes, n)
    theirs = binomtest(successes, n).proportion_ci(method="wilson")
    assert ours.rate == successes / n
    assert ours.low == pytest.approx(theirs.low, abs=1e-12)
    assert ours.high == pytest.approx(theirs.high, abs=1e-12)


def test_wilson_of_nothing_says_nothing():
    empty = statistics.wilson(0, 0)
    assert np.isnan(empty.rate)
    assert (empty.low, empty.high) == (0, 1)
    with pytest.raises(ShapeError, match="5 of 3"):
        statistics.wilson(5, 3)


@pytest.mark.parametrize(
    "groups",
    [
        ["nan", "None", "a"],
        [1.5, -1.0, 0.0],
        np.array([True, False, True]),
        [("Rome", 1), ("Rome", 2), ("Rome", 1)],
        [("Rome",), ("Rome", 2), "Oslo"],
        np.array(["2020", "2021", "2020"], dtype="datetime64[Y]"),
    ],
    ids=str,
)
def test_groups_are_numbered_by_what_they_are_called(groups: Any):
    found = statistics.group_codes(groups, 3)
    same = [[str(one) == str(other) for one in groups] for other in groups]
    assert (found[:, None] == found).tolist() == same


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        (["a", None, "b", None], "2 of 4 .* example 1 is None"),
        (["a", "b", math.nan, "b"], "1 of 4 .* example 2 is nan"),
        (np.array([1.0, np.nan, 2.0, 1.0]), "example 1 is nan"),
        (np.array(["a", "a", "b", None], dtype=object), "example 3 is None"),
        (np.array(["2020", "NaT"] * 2, dtype="datetime64[D]"), "2 of 4 .* is NaT"),
        (list(pd.array(["a", "b", None, "b"], dtype="string")), "example 2 is <NA>"),
    ],
    ids=str,
)
def test_examples_without_a_group_are_no_group(groups: Any, said: str):
    with pytest.raises(DataError, match=said) as caught:
        statistics.mean_interval(np.zeros(4), groups=groups)
    assert "\n" not in str(caught.value)


def test_a_seed_repeats_and_another_differs():
    scores, labels = _readout(5)
    first, again, other = (
        statistics.auroc_interval(scores, labels, resamples=50, seed=seed).low
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.fixture
def as_for_users():
    """Without the run-time checks of the test suite, which would speak first."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("as_for_users")
def test_wrong_shapes_and_one_class_are_named():
    with pytest.raises(ShapeError, match=r"\(3,\).*\(2,\)"):
        statistics.auroc(np.zeros(3), np.array([True, False]))
    with pytest.raises(ShapeError, match="int64"):
        statistics.auroc(np.zeros(2), np.array([1, 0]))
    with pytest.raises(EmptyClassError, match="None of the 2 examples is negative"):
        statistics.auroc(np.zeros(2), np.array([True, True]))
    with pytest.raises(ShapeError, match="2 groups for 3"):
        statistics.mean_interval(np.zeros(3), groups=["a", "b"])
    with pytest.raises(ShapeError, match="no value"):
        statistics.mean_interval(np.zeros(0))


def test_intervals_of_many_layers_are_fast():
    rng = np.random.default_rng(0)
    labels = rng.random(400) < 0.5
    scores = rng.normal(size=(4, 12, 400))
    start = time.perf_counter()
    statistics.auroc_interval(scores, labels, resamples=1000)
    # 48 readouts x 1000 resamples; scikit-learn would need about a minute.
    assert time.perf_counter() - start < 20


def test_ranks_equal_scipy_with_ties_and_without_numbers():
    values = np.array([-np.inf, -1.0, -0.0, 0.0, 1.0, 1.5, np.inf, np.nan])
    rng = np.random.default_rng(0)
    for n in range(1, 40):
        # Few rows hold a NaN, which makes the whole row one.
        chances = np.array([1.0] * 7 + [0.2])
        scores = rng.choice(values, (3, 2, n), p=chances / chances.sum())
        np.testing.assert_array_equal(
            statistics.average_ranks(scores), rankdata(scores, axis=-1)
        )
