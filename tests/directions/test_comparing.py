import numpy as np
import pytest
import torch
from scipy import stats

from interp.directions import Direction, compare_directions, cosine
from interp.errors import ConfigError, DataError, ShapeError


RNG = np.random.default_rng(0)
SPREAD = np.array([30.0, 5.0, 2.0, 1.0, 1.0, 0.5])
ROWS = RNG.normal(size=(600, 6)) * SPREAD + 7
A, B = RNG.normal(size=(2, 6))


def test_the_plain_cosine_is_that_of_the_vectors():
    found = compare_directions(Direction.from_vector(A), B, ROWS, draws=10)
    assert found.estimate == pytest.approx(cosine(A, B), abs=1e-6)
    assert np.isnan(found.shrinkage)
    assert not found.whitened


def test_the_whitened_cosine_is_that_of_the_whitened_vectors():
    found = compare_directions(A, B, ROWS, whitening=0.0, draws=10)
    root = np.linalg.cholesky(np.linalg.inv(np.cov(ROWS.T)))
    assert found.estimate == pytest.approx(cosine(A @ root, B @ root), abs=1e-6)


def test_the_covariance_is_within_the_classes_if_there_are_classes():
    labels = np.arange(600) % 2
    apart = ROWS + 50 * labels[:, None] * np.eye(6)[5]
    found, expected = (
        compare_directions(A, B, rows, labels=labels, whitening=0.0, draws=10)
        for rows in (apart, ROWS)
    )
    assert found.estimate == pytest.approx(expected.estimate, abs=1e-9)
    without = compare_directions(A, B, apart, whitening=0.0, draws=10)
    assert abs(without.estimate - found.estimate) > 0.05


def test_random_vectors_of_the_activations_are_more_alike_than_isotropic_ones():
    plain = compare_directions(A, B, ROWS, draws=1500)
    white = compare_directions(A, B, ROWS, whitening="ledoit-wolf", draws=1500)
    assert plain.covariance.high > 0.99 > plain.isotropic.high
    assert abs(white.covariance.high - white.isotropic.high) < 0.05
    draws = RNG.normal(size=(2, 1500, 6)) * SPREAD
    cosines = [cosine(u, v) for u, v in zip(*draws, strict=True)]
    share = np.mean(np.array(cosines) >= plain.estimate)
    assert float(plain.covariance.p) == pytest.approx(share, abs=0.05)


def test_the_p_of_directions_from_the_activations_is_uniform():
    p = []
    for seed in range(100):
        u, v = RNG.normal(size=(2, 600)) @ (ROWS - 7)
        found = compare_directions(u, v, ROWS, draws=99, seed=seed)
        p.append(float(found.covariance.p))
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_tensors_and_arrays_are_alike():
    found = compare_directions(A, B, torch.from_numpy(ROWS).float(), whitening=0.1)
    expected = compare_directions(A, B, ROWS, whitening=0.1)
    assert found.estimate == pytest.approx(expected.estimate, abs=1e-5)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: compare_directions(A[:5], B[:5], ROWS), ShapeError, "5 dimensions"),
        (lambda: compare_directions(A, B, ROWS * np.inf), DataError, "600 of 600"),
        (lambda: compare_directions(A, A * 0, ROWS), DataError, "length 0"),
        (
            lambda: compare_directions(A, B, ROWS[:4], whitening=0.0),
            DataError,
            "4 examples in 6 dimensions is singular",
        ),
        (
            lambda: compare_directions(A, B, ROWS, whitening=2.0),
            ConfigError,
            r"2\.0 was asked for\. 0 to 1",
        ),
        (lambda: compare_directions(A, B, ROWS, draws=0), ConfigError, "1 or more"),
    ],
)
def test_what_cannot_be_compared_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()
