"""Readouts against scikit-learn, closed forms and loops."""

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import roc_auc_score

from probes.studies.truthfulness import readout


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    labels = np.arange(60) % 3 == 0
    rows = torch.randn(60, 2, 5, generator=generator)
    rows[torch.from_numpy(labels), :, 0] += 1.5
    return rows, labels


def test_the_direction_is_the_difference_of_means(data):
    rows, labels = data
    fitted = readout.fit(rows, labels)
    for layer in range(2):
        part = rows[:, layer].numpy()
        expected = part[labels].mean(0) - part[~labels].mean(0)
        np.testing.assert_allclose(fitted.direction[layer], expected, atol=1e-6)
        np.testing.assert_allclose(fitted.centre[layer], part.mean(0), atol=1e-6)


def test_projections_and_thresholds_are_those_of_isotropic_discriminant_analysis(data):
    rows, labels = data
    fitted = readout.fit(rows, labels)
    scores = readout.project(rows, fitted.direction, fitted.centre)
    cut = readout.threshold(scores, labels)
    # With equal priors and a spherical covariance LDA is the difference of means.
    sphere = LinearDiscriminantAnalysis(
        solver="lsqr",
        priors=[0.5, 0.5],
        covariance_estimator=_Sphere(),
    )
    for layer in range(2):
        sphere.fit(rows[:, layer].numpy(), labels)
        expected = sphere.predict(rows[:, layer].numpy())
        np.testing.assert_array_equal(scores[layer] > cut[layer], expected)


class _Sphere:
    def fit(self, x):
        self.covariance_ = np.eye(x.shape[1])
        return self


def test_the_best_layer_is_that_of_the_best_auroc_then_of_the_widest_gap():
    labels = np.array([False, False, True, True])
    scores = np.array([[0.0, 2, 1, 3], [0, 1, 2, 3], [0, 0.1, 5, 5.1]])
    values = [roc_auc_score(labels, row) for row in scores]
    assert values[1] == values[2] > values[0]
    assert readout.best_layer(scores, labels) == 2


def test_null_cosines_equal_a_loop_over_shuffled_labels(data):
    rows, labels = data
    other = rows + 0.3 * torch.randn(
        rows.shape, generator=torch.Generator().manual_seed(1)
    )
    found = readout.cosine_null(rows, other, labels, permutations=70, seed=5)
    shuffled = np.random.default_rng(5).permuted(np.tile(labels, (70, 1)), axis=1)
    cosines = np.stack(
        [
            readout.cosines(
                readout.fit(rows, one).direction, readout.fit(other, one).direction
            )
            for one in shuffled
        ]
    )
    low, high = np.quantile(cosines, [0.025, 0.975], axis=0)
    np.testing.assert_allclose(found.low, low, atol=1e-5)
    np.testing.assert_allclose(found.high, high, atol=1e-5)
    assert ((found.p > 0) & (found.p <= 1)).all()


def test_independent_models_have_null_cosines_around_zero():
    generator = torch.Generator().manual_seed(2)
    labels = np.arange(40) % 2 == 0
    a, b = (torch.randn(40, 1, 64, generator=generator) for _ in range(2))
    found = readout.cosine_null(a, b, labels, permutations=200, seed=0)
    assert found.low[0] < 0 < found.high[0]
    assert found.high[0] < 0.4
