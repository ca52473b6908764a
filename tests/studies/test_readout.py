"""Readouts against scikit-learn, closed forms and loops."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from interp.data import Splits
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


def test_the_cut_is_the_boundary_of_a_logistic_regression_on_the_score(data):
    rows, labels = data
    fitted = readout.fit(rows, labels)
    scores = readout.project(rows, fitted.direction, fitted.centre)
    found = readout.cut(scores, labels)
    for layer in range(2):
        # The penalty is on the standardised score.
        score = scores[layer][:, None].astype(np.float64)
        standard = StandardScaler().fit(score)
        model = LogisticRegression(solver="newton-cholesky", tol=1e-10)
        model.fit(standard.transform(score), labels)
        edge = -np.ravel(model.intercept_)[0] / np.ravel(model.coef_)[0]
        expected = score.mean() + edge * score.std()
        assert np.asarray(found)[layer] == pytest.approx(expected, abs=1e-5)


def test_the_cut_of_unequal_classes_is_not_the_middle_between_their_means(data):
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 10 == 0
    scores = rng.normal(size=200) + 2 * labels
    middle = (scores[labels].mean() + scores[~labels].mean()) / 2
    assert float(readout.cut(scores, labels)) > middle + 0.3


def test_a_reversed_score_stays_reversed():
    labels = np.arange(40) % 2 == 0
    scores = np.where(labels, -1.0, 1.0) + np.linspace(0, 0.1, 40)
    edge = float(readout.cut(scores, labels))
    assert ((scores > edge) == labels).mean() == 0


def test_each_data_set_of_each_split_is_moved_to_its_own_mean():
    rows = torch.randn(24, 2, 3, generator=torch.Generator().manual_seed(0))
    sources = ["a", "b"] * 12
    splits = Splits(train=np.arange(12), val=np.arange(12, 18), test=np.arange(18, 24))
    moved = readout.centred(rows, splits, sources)
    for part in (splits.train, splits.val, splits.test):
        for name in "ab":
            at = [i for i in part if sources[i] == name]
            np.testing.assert_allclose(moved[at].mean(0), 0, atol=1e-6)
            expected = rows[at] - rows[at].mean(0)
            np.testing.assert_allclose(moved[at], expected, atol=1e-6)


def test_the_best_layer_is_that_of_the_best_auroc_then_of_the_widest_gap():
    labels = np.array([False, False, True, True])
    scores = np.array([[0.0, 2, 1, 3], [0, 1, 2, 3], [0, 0.1, 5, 5.1]])
    values = [roc_auc_score(labels, row) for row in scores]
    assert values[1] == values[2] > values[0]
    assert readout.best_layer(scores, labels) == 2
