"""Intervals over a few runs."""

import numpy as np
import pytest
from scipy.stats import binom, t

from interp import statistics
from interp.errors import ShapeError


def test_a_mean_over_seeds_has_scipys_t_interval():
    runs = np.random.default_rng(0).normal(size=(3, 4))
    found = statistics.mean_over_seeds(runs)
    error = runs.std(axis=1, ddof=1) / 2
    low, high = t.interval(0.95, 3, loc=runs.mean(axis=1), scale=error)
    np.testing.assert_allclose(found.low, low)
    np.testing.assert_allclose(found.high, high)


def test_three_normal_runs_hold_their_mean_and_are_wider_than_their_range():
    runs = np.random.default_rng(1).normal(size=(4000, 3))
    found = statistics.mean_over_seeds(runs)
    held = ((found.low <= 0) & (found.high >= 0)).mean()
    assert held == pytest.approx(0.95, abs=0.012)
    # What drawing the runs anew gives at most.
    assert ((runs.min(1) <= 0) & (runs.max(1) >= 0)).mean() < 0.77


@pytest.mark.parametrize("n", [6, 8, 9, 20])
def test_a_median_lies_between_two_values_that_hold_it_often_enough(n: int):
    found = statistics.median_over_seeds(np.arange(float(n)))
    k = int(found.low)
    assert found.high == n - 1 - k
    # As many values as are left out, and not one more.
    assert 2 * binom.cdf(k, n, 0.5) <= 0.05 < 2 * binom.cdf(k + 1, n, 0.5) or k == 0
    assert 2 * binom.cdf(k, n, 0.5) <= 0.05


def test_few_runs_have_no_two_values_that_hold_their_median():
    runs = np.array([1.0, 2.0, 4.0, 9.0])
    found, mean = statistics.median_over_seeds(runs), statistics.mean_over_seeds(runs)
    assert (found.estimate, found.low, found.high) == (2, mean.low, mean.high)
    assert found.low < 1
    assert found.high > 9


def test_runs_that_never_change_leave_bounds_open():
    few = statistics.median_over_seeds(np.array([3.0, 4.0, np.inf]))
    assert (few.estimate, few.low, few.high) == (4, -np.inf, np.inf)
    many = statistics.median_over_seeds(np.array([1.0, 2, 3, 4, 5, np.inf, np.inf]))
    assert (many.estimate, many.low, many.high) == (4, 1, np.inf)
    alone = statistics.median_over_seeds(np.array([3.0]))
    assert (alone.low, alone.high) == (-np.inf, np.inf)
    assert np.isnan(statistics.mean_over_seeds(np.array([3.0])).low)
    with pytest.raises(ShapeError, match="no run"):
        statistics.median_over_seeds(np.zeros(0))
