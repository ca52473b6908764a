"""Probes as scikit-learn estimators, for pipelines and model selection.

They call the same solvers as the functions of this package and add nothing but
scikit-learn's manners. Needs scikit-learn; nothing else here does.
"""

from typing import no_type_check

import numpy as np
import torch

from interp.errors import ConfigError
from probes.linear import LinearProbe
from probes.logistic import fit_logistic
from probes.means import fit_lda, fit_mean_difference, fit_ridge


try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import (
        _check_sample_weight,
        check_is_fitted,
        validate_data,
    )
except ImportError as error:
    raise ConfigError(
        "probes.estimators needs scikit-learn, which is not installed.",
        expected="The functions fit_logistic, fit_lda, ... do without it.",
        remedy="Run: pip install scikit-learn",
    ) from error


# scikit-learn hands lists, frames and nonsense to these methods and wants its own
# checks to answer, so the type checker of the tests leaves them alone.

# Estimators are compared to more digits than a study needs.
TOLERANCE = 1e-15


class _ProbeClassifier(ClassifierMixin, BaseEstimator):
    """A linear probe as a classifier of two classes.

    Attributes:
        classes_: The two classes; the second is the positive one.
        coef_: The weights, one row.
        intercept_: The intercept, one value.
    """

    @no_type_check
    def fit(
        self, X: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None
    ) -> "_ProbeClassifier":
        """Fit the probe.

        Args:
            X: One row per example.
            y: Two classes.
            sample_weight: What each example counts.
        """
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32])
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if self.classes_.size != 2:
            if self.classes_.size < 2:
                raise ValueError(
                    f"{type(self).__name__} needs two classes; the data have one class."
                )
            raise ValueError(
                "Only binary classification is supported. The type of the target is "
                f"multiclass, with {self.classes_.size} classes."
            )
        weight = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
        used = weight > 0
        if np.unique(codes[used]).size < 2:
            raise ValueError("Examples of one class only have a positive weight.")
        probe = self._fit_probe(
            torch.from_numpy(np.ascontiguousarray(X[used], dtype=np.float64)),
            torch.from_numpy(codes[used] == 1),
            torch.from_numpy(np.asarray(weight[used], dtype=np.float64))[None],
        )
        self.coef_ = probe.weights.numpy()
        self.intercept_ = probe.intercept.numpy()
        return self

    @no_type_check
    def decision_function(self, X: np.ndarray) -> np.ndarray:
        """The logit of the positive class for each example."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return X @ self.coef_[0] + self.intercept_[0]

    @no_type_check
    def predict(self, X: np.ndarray) -> np.ndarray:
        """The more likely class of each example."""
        positive = self.decision_function(X) > 0
        return self.classes_[positive.astype(int)]

    @no_type_check
    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """The probability of each class for each example."""
        logits = torch.from_numpy(np.asarray(self.decision_function(X)))
        return torch.sigmoid(torch.stack((-logits, logits), 1)).numpy()

    def _fit_probe(
        self, rows: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor
    ) -> LinearProbe:
        raise NotImplementedError

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags


class LogisticProbeClassifier(_ProbeClassifier):
    """L2-penalised logistic regression at its optimum; see `fit_logistic`.

    Args:
        C: Inverse strength of the penalty.
        tol: The duality gap to reach, as a share of the objective.
    """

    @no_type_check
    def __init__(self, C: float = 1.0, tol: float = TOLERANCE) -> None:
        self.C = C
        self.tol = tol

    def _fit_probe(
        self, rows: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor
    ) -> LinearProbe:
        return fit_logistic(rows, labels, weights=weights, c=self.C, tolerance=self.tol)


class MeanDifferenceClassifier(_ProbeClassifier):
    """The difference of the class means; see `fit_mean_difference`."""

    def _fit_probe(
        self, rows: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor
    ) -> LinearProbe:
        return fit_mean_difference(rows, labels, weights=weights)


class DiscriminantClassifier(_ProbeClassifier):
    """Fisher's linear discriminant; see `fit_lda`."""

    def _fit_probe(
        self, rows: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor
    ) -> LinearProbe:
        return fit_lda(rows, labels, weights=weights)


class RidgeProbeClassifier(_ProbeClassifier):
    """Ridge regression on the labels; see `fit_ridge`.

    Args:
        alpha: Strength of the penalty.
    """

    @no_type_check
    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def _fit_probe(
        self, rows: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor
    ) -> LinearProbe:
        return fit_ridge(rows, labels, weights=weights, alpha=self.alpha)
