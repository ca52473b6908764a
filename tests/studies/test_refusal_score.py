"""Refusal tokens and scores on distributions made by hand."""

import numpy as np
import pytest

from probes.studies.refusal.score import (
    chance_of,
    divergence,
    refusal_score,
    refusal_tokens,
)


def test_the_score_is_the_log_odds_and_saturates():
    chance = np.array([0.0, 0.1, 0.5, 0.9, 1.0])
    expected = np.log(chance + 1e-8) - np.log(1 - chance + 1e-8)
    np.testing.assert_allclose(refusal_score(chance), expected)
    assert abs(refusal_score(chance)).max() == pytest.approx(18.42, abs=0.01)
    assert np.isfinite(refusal_score(np.array([1.0000001]))).all()


def test_tokens_of_refusals_are_found_and_common_ones_are_not():
    harmful = np.array([[0.5, 0.3, 0.15, 0.05]] * 3)
    harmless = np.array([[0.0, 0.0, 0.15, 0.85]] * 3)
    assert refusal_tokens(harmful, harmless) == (0, 1)


def test_rare_rises_are_left_out_once_the_rest_is_explained():
    harmful = np.array([[0.95, 0.04, 0.01]])
    harmless = np.array([[0.0, 0.0, 1.0]])
    assert refusal_tokens(harmful, harmless) == (0,)


def test_models_that_begin_alike_have_no_refusal_tokens():
    rng = np.random.default_rng(0)
    same = rng.dirichlet(np.ones(20), size=50)
    assert refusal_tokens(same, same) == ()


def test_chances_are_summed():
    chances = np.array([[0.1, 0.2, 0.7], [0.3, 0.3, 0.4]])
    np.testing.assert_allclose(chance_of(chances, [0, 2]), [0.8, 0.7])
    np.testing.assert_allclose(chance_of(chances, []), [0.0, 0.0])


def test_divergence_is_that_of_kullback_and_leibler():
    p, q = np.array([[0.7, 0.3]]), np.array([[0.4, 0.6]])
    expected = 0.7 * np.log(0.7 / 0.4) + 0.3 * np.log(0.3 / 0.6)
    assert divergence(p, q)[0] == pytest.approx(expected, abs=1e-5)
    assert divergence(p, q)[0] != pytest.approx(divergence(q, p)[0], abs=1e-3)
