"""A fitted probe as a value that can be kept: `interp.directions.Probe`.

probe = probes.fit_probe(acts, labels, site="resid_post.7")
probe.save("truth.safetensors")
again = probes.load("truth.safetensors")
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.data.statements import fingerprint
from interp.directions.probe import PROBE_RULE, Probe
from interp.errors import DataError, ShapeError, UnknownSiteError
from interp.provenance import ModelRecord
from interp.sites import parse
from probes.linear import Fit, LinearProbe
from probes.logistic import fit_logistic
from probes.loops import name_of
from probes.reading import (
    Captured,
    LabelValues,
    Reading,
    Rows,
    readings,
    truth_values,
)


@runtime_checkable
class Coefficients(Protocol):
    """What a fitted linear classifier of scikit-learn has."""

    @property
    def coef_(self) -> Any: ...

    @property
    def intercept_(self) -> Any: ...


def fit_probe(
    activations: Rows,
    labels: LabelValues,
    *,
    site: str | None = None,
    position: str | None = None,
    fit: Fit = fit_logistic,
    rule: str = PROBE_RULE,
) -> Probe:
    """One probe, fitted on all examples that are given, as a value that can be saved.

    How well it does on other examples is for `sweep` to say.

    Args:
        activations: As for `sweep`.
        labels: Which examples are positive.
        site: Which of the sites; needed if there are several.
        position: Which of the positions; needed if there are several.
        fit: One of the `fit_...` functions, or any function of that form.
        rule: In words what a positive logit says.

    Raises:
        UnknownSiteError: If there is no such site or position, or several.
        ShapeError: If lengths disagree.
        DataError: If a value is not finite.
        EmptyClassError: If a class has no example.

    Example:
        >>> rows = np.array([[-1.0], [-2.0], [1.0], [2.0]])
        >>> probe = fit_probe(rows, [0, 0, 1, 1])
        >>> probe.kind, probe.n_positive, probe.says_positive(rows).tolist()
        ('fit_logistic', 2, [False, False, True, True])
    """
    given = _one(readings(activations), site, position)
    truth = truth_values(labels, len(given.rows))
    found = fit(given.rows, torch.from_numpy(truth))
    captured = isinstance(activations, Captured)
    return probe_of(
        found,
        site=given.site if captured else "",
        position=given.position,
        kind=name_of(fit),
        rule=rule,
        rows=given.rows,
        labels=labels,
        model=getattr(activations, "provenance", None) if captured else None,
    )


def probe_of(
    readout: LinearProbe | Coefficients,
    *,
    site: str = "",
    position: str = "",
    kind: str = "",
    rule: str = PROBE_RULE,
    fit: Sequence[int] = (),
    rows: Float[Tensor, "example d_model"] | np.ndarray | None = None,
    labels: LabelValues | None = None,
    scaler: object = None,
    model: ModelRecord | None = None,
) -> Probe:
    """One fit of a probe, or a fitted classifier of scikit-learn, as a value.

    Args:
        readout: What was fitted.
        site: Where its examples were read.
        position: At which token.
        kind: What it is called; by default its class.
        rule: In words what a positive logit says.
        fit: Which of several fits: an index for each axis before `d_model`.
        rows: The examples that it was fitted to, from which the mean logit of each
            class and the fingerprint are taken.
        labels: Which of them are positive.
        scaler: What standardised the rows before the fit: anything with `mean_` and
            `scale_`, as scikit-learn's `StandardScaler`. It becomes part of the probe,
            which reads activations as they are.
        model: The model, if it is known.

    Raises:
        ShapeError: If several fits are left, or lengths disagree.
        DataError: If a value is not finite.

    Example:
        >>> both = LinearProbe.closed(torch.eye(2), torch.tensor([0.5, -0.5]))
        >>> probe_of(both, fit=(1,), site="resid_post.0").intercept
        -0.5
    """
    weights, intercept, converged = _parts(readout, tuple(fit))
    if scaler is not None:
        weights, intercept = _unscaled(weights, intercept, scaler)
    probe = Probe(
        weights=weights,
        intercept=float(intercept),
        converged=converged,
        kind=kind or type(readout).__name__,
        rule=rule,
        site=site,
        position=position,
        **_training(weights, intercept, rows, labels),
    )
    return probe if model is None else probe.of_model(model)


def _one(given: Sequence[Reading], site: str | None, position: str | None) -> Reading:
    wanted = None if site is None else parse(site).short
    found = [
        one
        for one in given
        if wanted in (None, one.site) and position in (None, one.position)
    ]
    if len(found) == 1:
        return found[0]
    kinds = dict.fromkeys(f"{one.site} at {one.position!r}" for one in given)
    asked = (
        f"{site or 'any site'} at {'any position' if position is None else position!r}"
    )
    raise UnknownSiteError(
        f"{len(found)} of the activations are of {asked}.",
        expected=f"One of: {', '.join(list(kinds)[:8])}{', ...' * (len(kinds) > 8)}.",
        remedy="A probe reads one site at one position: name them with site= and"
        " position=.",
    )


def _parts(
    readout: LinearProbe | Coefficients, fit: tuple[int, ...]
) -> tuple[np.ndarray, np.floating, bool]:
    """Weights, intercept, and whether the fit reached its optimum."""
    if isinstance(readout, LinearProbe):
        many = readout.weights.detach().cpu().numpy()
        offsets = readout.intercept.detach().cpu().numpy()
        reached = readout.converged.cpu().numpy()
    else:
        many, offsets = np.asarray(readout.coef_), np.asarray(readout.intercept_)
        # One row and one intercept is scikit-learn's way of saying two classes.
        if not fit and many.ndim == 2 and len(many) == 1:
            many = many[0]
        offsets = np.broadcast_to(offsets.squeeze(), many.shape[:-1])
        reached = np.ones(offsets.shape, dtype=bool)
    if len(fit) != many.ndim - 1:
        raise ShapeError(
            f"A fit with weights of shape {list(many.shape)} was given, and the place"
            f" {list(fit)} in it.",
            expected="One place for each axis before d_model.",
            remedy=f"Choose one fit: fit=({'0, ' * (many.ndim - 1)}).",
        )
    return many[fit], offsets[fit], bool(reached[fit])


def _unscaled(
    weights: np.ndarray, intercept: np.floating, scaler: object
) -> tuple[np.ndarray, np.floating]:
    """A probe of standardised rows as one of the rows themselves, in float64."""
    nothing = np.zeros(len(weights)), np.ones(len(weights))
    mean, scale = (
        default if getattr(scaler, name, None) is None else getattr(scaler, name)
        for name, default in zip(("mean_", "scale_"), nothing, strict=True)
    )
    if np.shape(mean) != weights.shape or np.shape(scale) != weights.shape:
        raise ShapeError(
            f"The scaler has {np.size(mean)} dimensions, the probe {len(weights)}.",
            expected="The scaler that the probe's examples went through.",
        )
    exact = weights.astype(np.float64) / np.asarray(scale, dtype=np.float64)
    return exact, np.float64(intercept - exact @ np.asarray(mean, dtype=np.float64))


def _training(
    weights: np.ndarray,
    intercept: np.floating,
    rows: Tensor | np.ndarray | None,
    labels: LabelValues | None,
) -> dict[str, Any]:
    """What the training examples tell about the probe."""
    if rows is None or labels is None:
        return {}
    held = np.asarray(rows.detach().cpu() if isinstance(rows, Tensor) else rows)
    truth = truth_values(labels, len(held))
    if held.shape[1:] != weights.shape:
        raise DataError(
            f"Training rows of shape {list(held.shape)} were given for a probe of"
            f" {len(weights)} dimensions.",
            expected="[example, d_model].",
        )
    logits = held.astype(np.float64) @ weights.astype(np.float64) + float(intercept)
    content = sha256(np.ascontiguousarray(held).tobytes()).hexdigest()
    return {
        **class_means(logits, truth),
        "fingerprint": fingerprint(content, truth.tolist()),
    }


def class_means(
    logits: Float[np.ndarray, " example"], labels: Bool[np.ndarray, " example"]
) -> dict[str, Any]:
    """The fields of a `Probe` that tell of its classes.

    Args:
        logits: Of the training examples.
        labels: Which of them are positive.

    Example:
        >>> class_means(np.array([-1.0, 3.0]), np.array([False, True]))["positive_mean"]
        3.0
    """
    return {
        "negative_mean": float(logits[~labels].mean()),
        "positive_mean": float(logits[labels].mean()),
        "n_negative": int((~labels).sum()),
        "n_positive": int(labels.sum()),
    }
