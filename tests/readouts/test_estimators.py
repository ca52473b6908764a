"""The estimators keep scikit-learn's contract and the solver's optimum."""

import importlib
import sys

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from interp.errors import ConfigError
from probes import estimators


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [
        estimators.LogisticProbeClassifier(),
        estimators.MeanDifferenceClassifier(),
        estimators.DiscriminantClassifier(),
        estimators.RidgeProbeClassifier(),
    ]
)
def test_the_estimators_pass_scikit_learns_checks(estimator, check):
    check(estimator)


def test_the_classifier_is_logistic_regression():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(80, 6))
    names = np.where(rows[:, 0] + rng.normal(size=80) > 0, "yes", "no")
    weight = rng.random(80)
    ours = estimators.LogisticProbeClassifier(C=0.3).fit(rows, names, weight)
    theirs = LogisticRegression(C=0.3, tol=1e-10).fit(rows, names, weight)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-4)
    np.testing.assert_allclose(
        ours.predict_proba(rows), theirs.predict_proba(rows), atol=1e-4
    )
    assert (ours.predict(rows) == theirs.predict(rows)).all()


def test_a_penalty_can_be_searched_inside_a_pipeline():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(90, 5))
    labels = rows[:, 0] > 0
    steps = make_pipeline(StandardScaler(), estimators.LogisticProbeClassifier())
    grid = {"logisticprobeclassifier__C": [0.01, 1.0]}
    search = GridSearchCV(steps, grid, cv=3).fit(rows, labels)
    assert search.best_score_ > 0.9


def test_without_scikit_learn_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    monkeypatch.delitem(sys.modules, "probes.estimators")
    with pytest.raises(ConfigError, match="pip install scikit-learn"):
        importlib.import_module("probes.estimators")
