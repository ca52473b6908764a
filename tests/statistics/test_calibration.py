"""Calibration errors against noise: intervals, what it adds, whether there is any."""

import numpy as np
import pytest
from scipy.stats import binom, norm

from interp.errors import ShapeError
from interp.statistics import calibration_error, consistency_band
from interp.statistics.calibration import _nearest


def predictions(seed: int, *, off: float, n_texts: int = 600, length: int = 1):
    """Confidences that are `off` too high; outcomes of a text hang together."""
    rng = np.random.default_rng(seed)
    texts = np.repeat(np.arange(n_texts), length)
    top = rng.beta(3, 2, size=texts.size)
    alike = 0.0 if length == 1 else 0.3
    luck = np.sqrt(alike) * rng.normal(size=n_texts)[texts]
    luck += np.sqrt(1 - alike) * rng.normal(size=texts.size)
    return top, norm.cdf(luck) < np.clip(top - off, 0, 1), texts


@pytest.mark.parametrize("off", [0.0, 0.03, 0.1])
@pytest.mark.parametrize(("n_texts", "length"), [(600, 1), (20, 30)])
def test_intervals_hold_the_error_also_where_there_is_none(
    off: float, n_texts: int, length: int
):
    held, small, draws = 0, 0, 40
    for seed in range(draws):
        top, right, texts = predictions(seed, off=off, n_texts=n_texts, length=length)
        groups = texts if length > 1 else None
        found = calibration_error(top, right, groups=groups, resamples=100, seed=seed)
        assert 0 <= found.low <= found.debiased <= found.high <= 1
        assert found.debiased <= found.estimate + 1e-12
        held += found.low <= off <= found.high
        small += found.p <= 0.05
    # 3 standard errors of 95 % are 10 points; the basic bootstrap held none in 45 %.
    assert held / draws >= 0.85
    if off == 0:
        assert small / draws <= 0.15
    elif off == 0.1 and length == 1:
        assert small / draws >= 0.9


def test_noise_is_taken_off_the_estimate():
    found = [
        calibration_error(*predictions(seed, off=0.0)[:2], resamples=100)
        for seed in range(20)
    ]
    assert np.mean([one.estimate for one in found]) > 0.04
    assert np.mean([one.debiased for one in found]) < 0.02
    # What calibrated predictions stay below holds most of them.
    assert np.mean([one.estimate <= one.consistent for one in found]) >= 0.8


def test_moved_gaps_have_the_size_asked_for_and_are_nearest():
    gaps, variance = np.array([0.05, -0.02, 0.01]), np.array([1e-4, 4e-4, 1e-4])
    rng = np.random.default_rng(0)

    def distance(moved: np.ndarray) -> np.ndarray:
        return (np.square(moved - gaps) / variance).sum(-1)

    sizes = np.array([0.0, 0.03, 0.08, 0.2])
    for size, found in zip(sizes, _nearest(gaps, variance, sizes), strict=True):
        assert np.abs(found).sum() == pytest.approx(size, abs=1e-9)
        others = rng.normal(size=(2000, 3))
        others *= size / np.abs(others).sum(1, keepdims=True)
        assert distance(found) <= distance(others).min() + 1e-9


def test_the_band_of_a_bin_is_that_of_a_binomial():
    n, confidence = np.array([200, 30, 0]), np.array([0.7, 0.95, np.nan])
    low, high = consistency_band(n, confidence, draws=4000)
    for end, tail in ((low, 0.025), (high, 0.975)):
        expected = binom.ppf(tail, n[:2], confidence[:2]) / n[:2]
        np.testing.assert_allclose(end[:2], expected, atol=1.01 / n[:2].min())
    assert np.isnan([low[2], high[2]]).all()


def test_one_text_has_no_interval_and_nothing_no_error():
    top, right, _ = predictions(0, off=0.0, n_texts=30)
    found = calibration_error(top, right, groups=np.zeros(30, dtype=int), resamples=20)
    assert found.estimate > 0
    assert np.isnan([found.low, found.high, found.debiased]).all()
    with pytest.raises(ShapeError, match="0 confidences"):
        calibration_error(np.zeros(0), np.zeros(0) > 0)
