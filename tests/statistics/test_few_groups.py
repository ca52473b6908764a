"""Intervals over few groups hold the truth as often as they say."""

import numpy as np
import pytest
from scipy.stats import norm, t, ttest_1samp

from interp import statistics
from interp.errors import ShapeError
from interp.statistics.small_samples import widening


def one_label_groups(n_groups: int, seed: int) -> tuple[np.ndarray, ...]:
    """Groups of five alike members with one label: scores, labels, groups."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_groups), 5)
    labels = (rng.permutation(n_groups) % 2 == 0)[groups]
    scores = labels + rng.normal(size=groups.size) + rng.normal(size=n_groups)[groups]
    return scores, labels, groups


def test_eight_groups_of_one_label_hold_their_auroc():
    truth, held, draws = norm.cdf(1 / 2), 0, 200
    for seed in range(draws):
        scores, labels, groups = one_label_groups(8, seed)
        found = statistics.auroc_interval(scores, labels, groups=groups, resamples=200)
        assert 0 <= found.low <= found.estimate <= found.high <= 1
        held += bool(found.low <= truth <= found.high)
    # Percentiles hold it in some 85 %; 3 standard errors of 95 % are 4.6 points.
    assert held / draws >= 0.91


def test_an_accuracy_near_one_is_held_by_twelve_groups():
    held, draws = 0, 200
    groups = np.repeat(np.arange(12), 5)
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        right = rng.random(60) < rng.beta(1.8, 0.2, size=12)[groups]
        found = statistics.mean_interval(right, groups=groups, resamples=200)
        held += bool(found.low <= 0.9 <= found.high)
    # Percentiles hold it in some 86 %.
    assert held / draws >= 0.91


def test_groups_that_are_all_right_have_the_wilson_interval_of_as_many_trials():
    right = np.ones((2, 40), dtype=bool)
    right[1] = False
    found = statistics.mean_interval(right, groups=np.repeat(np.arange(8), 5))
    square = float(t.ppf(0.975, 7)) ** 2
    np.testing.assert_allclose(found.low, [8 / (8 + square), 0])
    np.testing.assert_allclose(found.high, [1, square / (8 + square)])


def test_classes_that_do_not_overlap_leave_an_auroc_open_below():
    few, more = (
        statistics.auroc_interval(np.arange(float(n)), np.arange(n) >= n // 2)
        for n in (8, 80)
    )
    assert few.estimate == few.high == 1
    assert 0 < few.low < more.low < 1
    copied = np.repeat(np.arange(8.0), 10)
    grouped = statistics.auroc_interval(copied, copied > 3, groups=copied)
    assert grouped.low == pytest.approx(float(few.low))


def test_widening_is_that_of_students_t():
    for groups in (2, 8, 50):
        factor = np.sqrt(groups / (groups - 1)) * t.ppf(0.975, groups - 1)
        assert float(widening(groups)) == pytest.approx(factor / norm.ppf(0.975))
    draws = np.random.default_rng(0).normal(size=(2, 501))
    found = statistics.widened(
        np.zeros(2), draws, groups=np.array([8.0, 50.0]), within=(-1.0, np.inf)
    )
    low, middle, high = np.quantile(draws, [0.025, 0.5, 0.975], axis=1)
    factor = widening(np.array([8.0, 50.0]))
    np.testing.assert_allclose(found.high, middle + factor * (high - middle))
    assert (found.low == -1).all(), "what cannot be is no bound"
    assert (middle + factor * (low - middle) < -1).all()


def test_one_group_says_nothing_about_how_groups_differ():
    same = ["a"] * 6
    mean = statistics.mean_interval(np.arange(6.0), groups=same)
    assert mean.estimate == 2.5
    assert np.isnan([mean.low, mean.high]).all()
    area = statistics.auroc_interval(np.arange(6.0), np.arange(6) % 2 > 0, groups=same)
    assert (area.low, area.high) == (0, 1)


def test_a_group_that_holds_most_examples_counts_for_most():
    even = statistics.effective_groups(np.repeat(np.arange(9), 4), 36)
    assert even == pytest.approx(9)
    assert statistics.effective_groups([0] * 97 + [1, 2, 3], 100) < 1.1
    assert statistics.effective_groups(None, 7) == 7


def test_splits_without_overlap_have_the_t_test_of_scipy():
    differences = np.random.default_rng(1).normal(0.3, 1.0, size=(4, 9))
    found, p = statistics.corrected_resampled_t(differences, test_share=0.0)
    theirs = ttest_1samp(differences, 0.0, axis=1)
    bounds = theirs.confidence_interval(0.95)
    np.testing.assert_allclose(p, theirs.pvalue)
    np.testing.assert_allclose(found.low, bounds.low)
    np.testing.assert_allclose(found.high, bounds.high)


def test_splits_that_share_training_examples_have_a_floor_of_variance():
    differences = np.random.default_rng(2).normal(0.3, 1.0, size=5)
    apart, _ = statistics.corrected_resampled_t(differences, test_share=0.0)
    shared, _ = statistics.corrected_resampled_t(differences, test_share=1 / 4)
    ratio = (shared.high - shared.low) / (apart.high - apart.low)
    assert ratio == pytest.approx(np.sqrt((1 / 5 + 1 / 4) * 5))


def test_splits_without_noise_are_no_proof():
    found, p = statistics.corrected_resampled_t(
        np.array([[0.0, 0.0], [1.0, 1.0]]), test_share=1.0
    )
    assert p[0] == 1
    assert (found.low[0], found.high[0]) == (0, 0)
    assert np.isnan([p[1], found.low[1], found.high[1]]).all()
    with pytest.raises(ShapeError, match="1 splits"):
        statistics.corrected_resampled_t(np.zeros(1), test_share=1.0)
