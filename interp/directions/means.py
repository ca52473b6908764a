"""Difference of class means: the direction that most studies start from."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.activations import Activations
from interp.directions.direction import Direction, source_of
from interp.errors import (
    ConfigError,
    DataError,
    EmptyClassError,
    ShapeError,
    UnknownSiteError,
)
from interp.sites import Site, parse


Rows = Float[Tensor, "example ..."] | Float[np.ndarray, "example ..."]
# Differences below this part of the mean norm are rounding: half precision and a
# template token that is the same in every prompt give them.
DEGENERATE = 1e-6


def mean_difference(
    activations: Activations | Rows, labels: object, *, site: str | Site | None = None
) -> Direction:
    """The direction from the mean of the examples with label 0 to those with label 1.

    Its `scale` is the distance of the two means, the unit in which `interp.steer`
    counts.

    Args:
        activations: What `interp.capture` returned, one position per example; or an
            array `[example, d_model]`, or `[example, layer, d_model]` of which `site`
            names the layer.
        labels: True or 1 for the positive class, False or 0 for the other.
        site: Which site; not needed if only one was captured.

    Returns:
        The direction, with class means accumulated in float64.

    Raises:
        EmptyClassError: If a class has no example.
        DataError: If labels or activations are not usable, or the means are equal.
        ShapeError: If there are not as many labels as examples.

    Source:
        Marks & Tegmark (2023), arXiv:2310.06824.

    Example:
        >>> rows = np.array([[0.0, 1.0], [0.0, 3.0], [4.0, 1.0], [4.0, 3.0]])
        >>> direction = mean_difference(rows, [0, 0, 1, 1], site="resid_post.3")
        >>> direction.scale, direction.unit.tolist(), direction.positive_mean
        (4.0, [1.0, 0.0], 4.0)
    """
    site = parse(site) if isinstance(site, str) else site
    position, source = "", {}
    if isinstance(activations, Activations):
        site = _only_site(activations) if site is None else site
        position = activations.positions
        rows = activations[site]
        source = source_of(activations.provenance)
    else:
        rows = _layer_of(activations, site)
    at = "" if site is None else site.short
    if rows.ndim != 2:
        raise ShapeError(
            f"The activations{f' at {at!r}' if at else ''} have the shape"
            f" {list(rows.shape)}.",
            expected="[example, d_model]: one position of one site.",
            remedy="Capture with positions='last', or name a site of one layer.",
        )
    positive = checked_labels(labels, len(rows))
    low, high = _class_means(rows, positive)
    _refuse_degenerate(low, high, at)
    found = Direction.from_vector(high - low, site=at, position=position)
    unit = (high - low) / np.linalg.norm(high - low)
    return replace(
        found,
        negative_mean=float(low @ unit),
        positive_mean=float(high @ unit),
        n_negative=int((~positive).sum()),
        n_positive=int(positive.sum()),
        **source,
    )


def mean_differences(
    activations: Activations | Rows, labels: object, *, component: str = "resid_post"
) -> Float[np.ndarray, "layer d_model"]:
    """The difference of class means at every layer, not normalised.

    Args:
        activations: What `interp.capture` returned, one position per example; or an
            array `[example, layer, d_model]`.
        labels: True or 1 for the positive class, False or 0 for the other.
        component: Which of the captured components.

    Returns:
        One row per captured layer, in float64; a row may be zero.

    Raises:
        EmptyClassError: If a class has no example.
        DataError: If labels or activations are not usable.
        ShapeError: If shapes do not fit.
    """
    rows = (
        activations[component] if isinstance(activations, Activations) else activations
    )
    if rows.ndim != 3:
        raise ShapeError(
            f"The activations have the shape {list(rows.shape)}.",
            expected="[example, layer, d_model]: one position of several layers.",
            remedy="Capture with positions='last'; for one layer use mean_difference.",
        )
    low, high = _class_means(rows, checked_labels(labels, len(rows)))
    return high - low


def checked_labels(labels: object, n_examples: int) -> Bool[np.ndarray, " example"]:
    """Labels as booleans.

    Raises:
        EmptyClassError: If a class has no example.
        DataError: If a label is missing or neither 0 nor 1.
        ShapeError: If there are not as many labels as examples.
    """
    if isinstance(labels, Tensor):
        labels = labels.detach().cpu().numpy()
    held = np.asarray(labels)
    if held.shape != (n_examples,):
        raise ShapeError(
            f"The labels have the shape {list(held.shape)}.",
            expected=f"There are {n_examples} examples, so [{n_examples}].",
            remedy="Give one label for each.",
        )
    if held.dtype == object:
        # What a data frame with gaps gives: None and NaN among numbers.
        held = np.array([np.nan if one is None else one for one in held])
    if held.dtype.kind not in "biuf":
        raise _bad_label(held[0], 0)
    missing = np.isnan(held.astype(np.float64))
    if missing.any():
        raise DataError(
            f"The label of example {int(missing.argmax())} is missing (NaN);"
            f" {int(missing.sum())} of {n_examples} are.",
            remedy="Leave these examples out.",
        )
    wrong = ~np.isin(held, (0, 1))
    if wrong.any():
        number = int(wrong.argmax())
        raise _bad_label(held[number], number)
    positive = held.astype(bool)
    if positive.all() or not positive.any():
        raise EmptyClassError(
            f"All {n_examples} examples have the label {int(positive.any())}.",
            expected="A direction needs examples of both classes, 0 and 1.",
            remedy="Check the column of labels.",
        )
    return positive


def _bad_label(label: object, number: int) -> DataError:
    label = label.item() if isinstance(label, np.generic) else label
    return DataError(
        f"The label of example {number} is {label!r}.",
        expected="Labels are True or False, or 1 and 0.",
        remedy="Write labels == 'true' or the like.",
    )


def _only_site(activations: Activations) -> Site:
    if len(activations.sites) == 1:
        return activations.sites[0]
    shorts = ", ".join(site.short for site in activations.sites[:4])
    raise ConfigError(
        f"{len(activations.sites)} sites were captured, and none was named.",
        expected=f"One of {shorts}, ....",
        remedy="Write site='resid_post.12', or use mean_differences for all layers.",
    )


def _layer_of(rows: Rows, site: Site | None) -> Rows:
    if rows.ndim != 3:
        return rows
    n_layers = rows.shape[1]
    if site is None or site.layer is None:
        raise ConfigError(
            f"Activations of {n_layers} layers were given, and no layer was named.",
            remedy="Write site='resid_post.0', or use mean_differences for all layers.",
        )
    if site.layer >= n_layers:
        raise UnknownSiteError(
            f"There is no layer {site.layer} in activations of {n_layers} layers.",
            expected=f"Layers 0 to {n_layers - 1}.",
        )
    return rows[:, site.layer]


def _class_means(
    rows: Rows, positive: Bool[np.ndarray, " example"]
) -> tuple[np.ndarray, np.ndarray]:
    """The means of both classes, in float64."""
    if isinstance(rows, Tensor):
        index = torch.from_numpy(positive).to(rows.device)
        means = [
            rows[chosen].detach().mean(0, dtype=torch.float64).cpu().numpy()
            for chosen in (~index, index)
        ]
    else:
        with np.errstate(invalid="ignore"):  # said below, in words
            means = [
                rows[chosen].mean(0, dtype=np.float64)
                for chosen in (~positive, positive)
            ]
    low, high = means
    # NaN and infinity survive a sum, so the rows need no pass of their own.
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise DataError(
            f"{_n_not_finite(rows)} of {len(rows)} examples have activations that are"
            " not finite.",
            remedy="Leave them out, or load the model with dtype='float32'.",
        )
    return low, high


def _n_not_finite(rows: Rows) -> int:
    held = (
        rows.detach() if isinstance(rows, Tensor) else torch.from_numpy(np.array(rows))
    )
    return int((~held.isfinite()).flatten(1).any(1).sum())


def _refuse_degenerate(low: np.ndarray, high: np.ndarray, at: str) -> None:
    typical = (np.linalg.norm(low) + np.linalg.norm(high)) / 2
    if np.linalg.norm(high - low) <= DEGENERATE * typical:
        raise DataError(
            f"The classes have the same mean activation{f' at {at!r}' if at else ''}.",
            expected="A direction is the difference of two means.",
            remedy="Use another site or position: at a token that is the same in all"
            " prompts, early layers hold no difference.",
        )
