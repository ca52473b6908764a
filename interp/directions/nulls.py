"""Cosines of two models' directions, beside those of directions that mean nothing.

Two models that were trained from the same weights represent the same examples almost
alike. So the difference of means of any labels, meaningless ones too, is almost the
same vector in both, and a high cosine alone says little about the labels. `cosine_test`
puts four questions to it, each with its own null.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import stats
from torch import Tensor

from interp.directions.grams import (
    Grams,
    contrast_grams,
    contrasts,
    grams,
    within_classes,
)
from interp.directions.means import checked_labels
from interp.directions.shuffling import Groups, shuffled_labels
from interp.errors import DataError, ShapeError
from interp.statistics import group_codes


Rows = Float[Tensor, "..."] | Float[np.ndarray, "..."]
Whitening = Literal["ledoit-wolf"] | float | None
BAND = (0.025, 0.5, 0.975)
# Orders that equal the observed one give its cosine up to rounding.
TIE = 1e-9
# Bounds the memory of one block of permutations.
VALUES_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CosineNull:
    """What a cosine is when something means nothing; arrays over the layers.

    Attributes:
        low: Where 2.5 % of the null lie below.
        median: The middle of the null.
        high: Where 2.5 % of the null lie above.
        p: How often the null reaches the observed value, which counts as one of it.
    """

    low: Float[np.ndarray, "*layer"]
    median: Float[np.ndarray, "*layer"]
    high: Float[np.ndarray, "*layer"]
    p: Float[np.ndarray, "*layer"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CosineTest:
    """The cosine of two models' differences of means, and what it is worth.

    Attributes:
        estimate: The cosine.
        isotropic: Against random vectors of as many dimensions, in closed form: are
            they closer than vectors that know nothing of the models?
        independent: Against labels permuted differently in each model: are they closer
            than two directions of these activations that have nothing in common?
        shared: Against labels permuted alike in both models: are they closer than the
            directions of any other split of the same examples? Where the models are
            almost the same this null is close to 1, and a cosine inside it says that
            the likeness is that of the models, not that the directions differ.
        signal: The part of the cosine that is not the sampling noise of the examples,
            which both models share: 0 on average if labels mean nothing, however alike
            the models are.
        signal_null: Against labels permuted alike in both models: do the labels have a
            direction that the models have in common?
        corrected: The cosine between the directions of the population, free of the
            noise that makes the plain one too large (the same examples in both) or too
            small. May exceed 1 by chance; NaN where a direction is all noise.
        whitened: Whether vectors were whitened by the covariance within classes.
        shrinkage: How far that covariance was shrunk; NaN if nothing was whitened.
        permutations: How many permutations the nulls have.
    """

    estimate: Float[np.ndarray, "*layer"]
    isotropic: CosineNull
    independent: CosineNull
    shared: CosineNull
    signal: Float[np.ndarray, "*layer"]
    signal_null: CosineNull
    corrected: Float[np.ndarray, "*layer"]
    whitened: bool
    shrinkage: Float[np.ndarray, "*layer"]
    permutations: int


def cosine_test(
    a: Rows,
    b: Rows,
    labels: object,
    *,
    groups: Groups | None = None,
    whitening: Whitening = None,
    permutations: int = 1000,
    seed: int = 0,
) -> CosineTest:
    """The cosine of two models' mass-mean directions at each layer, with its nulls.

    Whitened, `u' C v / sqrt(u' C u * v' C v)` with C the inverse of the covariance
    within classes, pooled over both models: all directions of the activations count
    alike, so the few with the largest variance, which models share most, no longer
    decide. For permuted labels the covariance is that within the permuted classes.

    Args:
        a: Activations of one model: `[example, d_model]`, or of several layers
            `[example, layer, d_model]`.
        b: Activations of the other one for the same examples.
        labels: True or 1 for the positive class, False or 0 for the other.
        groups: The group of each example, such as its entity. Groups of one size
            exchange labels as a whole, and noise is counted by group.
        whitening: None for the plain cosine; "ledoit-wolf", or a number from 0 to 1 for
            the share of a multiple of the identity in the covariance.
        permutations: How many.
        seed: Feeds them.

    Raises:
        ShapeError: If shapes do not fit each other.
        DataError: If activations are not finite or equal in both classes, or labels
            cannot be permuted.
        EmptyClassError: If a class has no example.
        ConfigError: If the shrinkage or the count is out of range.

    Source:
        Ledoit & Wolf (2004); Phipson & Smyth (2010) for p; Diedrichsen & Kriegeskorte
        (2017) for inner products without noise.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(40, 8))
        >>> labels = np.arange(40) % 2
        >>> rows[:, 0] += 5 * labels
        >>> found = cosine_test(rows, rows + 0.1, labels, permutations=99)
        >>> round(float(found.estimate), 6), float(found.signal_null.p)
        (1.0, 0.01)
    """
    first, second = _layers(a, "first"), _layers(b, "second")
    if first.shape != second.shape:
        raise ShapeError(
            f"Activations of the shapes {list(a.shape)} and {list(b.shape)} were"
            " compared.",
            expected="The same examples, layers and d_model.",
        )
    positive = checked_labels(labels, len(first))
    orders = shuffled_labels(positive, groups=groups, count=2 * permutations, seed=seed)
    codes = torch.from_numpy(group_codes(groups, len(first)))
    whiten = whitening is not None
    shrinkage = whitening if isinstance(whitening, float | int) else None
    found: list[np.ndarray] = []
    shrunk: list[float] = []
    for layer in range(first.shape[1]):
        held = grams(
            *(_exact(rows[:, layer]) for rows in (first, second)),
            whiten=whiten,
            shrinkage=shrinkage,
        )
        shrunk.append(held.shrinkage)
        found.append(_statistics(held, positive, orders, codes))
    table = np.stack(found, axis=-1)
    if a.ndim == 2:
        table = table[..., 0]
    return _summary(table, d_model=a.shape[-1], whitened=whiten, shrunk=shrunk)


def isotropic_null(
    estimate: float | Float[np.ndarray, "*layer"], *, d_model: int
) -> CosineNull:
    """The cosines of random vectors without a preferred direction, in closed form.

    `(1 + cosine) / 2` has the distribution Beta((d - 1) / 2, (d - 1) / 2).

    Args:
        estimate: The observed cosines.
        d_model: The dimension d.

    Raises:
        ShapeError: If there are fewer than two dimensions.

    Example:
        >>> null = isotropic_null(0.3, d_model=768)
        >>> round(float(null.high), 4), bool(null.p < 1e-15)
        (0.0707, True)
    """
    if d_model < 2:
        raise ShapeError(
            f"Vectors of {d_model} dimensions have no angle.", expected="2 or more."
        )
    held = np.asarray(estimate, dtype=np.float64)
    null = stats.beta((d_model - 1) / 2, (d_model - 1) / 2, loc=-1, scale=2)
    low, median, high = (np.full(held.shape, null.ppf(part)) for part in BAND)
    return CosineNull(low=low, median=median, high=high, p=np.asarray(null.sf(held)))


def _statistics(
    held: Grams,
    observed: Bool[np.ndarray, " example"],
    orders: Bool[np.ndarray, "shuffles example"],
    codes: Tensor,
) -> Float[np.ndarray, "statistic shuffle"]:
    """Cosine, cosine of independent orders, signal and corrected; observed first."""
    device = held.aa.device
    shared = np.concatenate([observed[None], orders[: len(orders) // 2]])
    other = np.concatenate([observed[None], orders[len(orders) // 2 :]])
    share = float(observed.mean())
    removed = held.kept * share * (1 - share) / 2
    parts = []
    at_once = max(1, VALUES_AT_ONCE // observed.size)
    for start in range(0, len(shared), at_once):
        one, two = (
            torch.from_numpy(block[start : start + at_once]).to(device)
            for block in (shared, other)
        )
        weights = contrasts(one)
        gram = contrast_grams(held, weights, weights)
        metric = within_classes(gram, removed)
        full = gram @ metric
        clean = full - _noise(held, one, codes.to(device), gram, removed * metric)
        apart = contrast_grams(held, weights, contrasts(two))
        parts.append(
            torch.stack(
                [
                    _ratio(full, full),
                    _ratio(apart @ within_classes(apart, removed)),
                    _ratio(clean, full),
                    _ratio(clean),
                ]
            )
        )
    return torch.cat(parts, dim=1).cpu().numpy()


def _noise(
    held: Grams,
    labels: Bool[Tensor, "shuffle example"],
    codes: Tensor,
    gram: Float[Tensor, "shuffle 2 2"],
    metric: Float[Tensor, "shuffle 2 2"],
) -> Float[Tensor, "shuffle 2 2"]:
    """What the sampling of groups adds to the inner products of the differences.

    It is the sum over groups of the inner products of what each adds to the differences
    of means, measured from the class means: unbiased for examples that are
    independent, for groups of one label, and for groups that have as many of both.
    """
    n_groups = int(codes.max()) + 1
    weights, means = contrasts(labels), (~labels).double().mean(1, keepdim=True)
    weights = weights * _correction(labels, codes, n_groups)
    # From the mean of all examples, the class means lie at these multiples of the
    # difference of means.
    multiple = torch.where(labels, means, means - 1)

    def by_group(values: Tensor) -> Tensor:
        sums = values.new_zeros(len(values), n_groups)
        return sums.index_add_(1, codes, values)

    plain = contrasts(labels)
    blocks = ((held.aa, held.ab), (held.ab.mT, held.bb))
    same = codes[:, None] == codes
    centre = by_group(weights * multiple)
    # [model of the example][model of the difference]: [shuffle, group].
    sums = [[by_group(weights * (plain @ q.mT)) for q in row] for row in blocks]
    on = [
        torch.stack([sums[x][u] - centre * gram[:, x, u, None] for u in (0, 1)], 2)
        for x in (0, 1)
    ]
    noise = torch.empty_like(gram)
    for x, y in ((0, 0), (0, 1), (1, 1)):
        raw = ((weights @ (blocks[x][y] * same)) * weights).sum(1)
        crossed = (centre * (sums[x][y] + sums[y][x])).sum(1)
        raw = raw - crossed + centre.square().sum(1) * gram[:, x, y]
        inside = torch.einsum("pgu,puv,pgv->p", on[x], metric, on[y])
        noise[:, x, y] = noise[:, y, x] = raw + inside
    return noise


def _correction(labels: Tensor, codes: Tensor, n_groups: int) -> Tensor:
    """Makes the noise unbiased: class means are nearer to their examples than truth."""
    factors = []
    for held in (labels, ~labels):
        counts = torch.zeros(
            len(labels), n_groups, dtype=torch.float64, device=labels.device
        ).index_add_(1, codes, held.double())
        n = (counts > 0).sum(1, keepdim=True).double()
        # One group says nothing about the noise between groups: 1 / 0 makes NaN.
        factors.append((n / (n - 1)).sqrt())
    return torch.where(labels, *factors)


def _ratio(inner: Tensor, norms: Tensor | None = None) -> Tensor:
    norms = inner if norms is None else norms
    # The root of a negative square, of a direction that is all noise, is NaN.
    length = norms[:, 0, 0].sqrt() * norms[:, 1, 1].sqrt()
    return inner[:, 0, 1] / length


def _summary(
    table: Float[np.ndarray, " statistic shuffle *layer"],
    *,
    d_model: int,
    whitened: bool,
    shrunk: list[float],
) -> CosineTest:
    # The ellipsis keeps arrays without axes from becoming plain numbers.
    cosine, _, signal, corrected = (table[row, 0, ...] for row in range(4))
    estimate = np.asarray(np.clip(cosine, -1, 1))
    return CosineTest(
        estimate=estimate,
        isotropic=isotropic_null(estimate, d_model=d_model),
        independent=_null(table[1, 1:], cosine),
        shared=_null(table[0, 1:], cosine),
        signal=signal,
        signal_null=_null(table[2, 1:], signal),
        corrected=corrected,
        whitened=whitened,
        shrinkage=np.reshape(shrunk, estimate.shape),
        permutations=table.shape[1] - 1,
    )


def _null(
    found: Float[np.ndarray, " shuffle *layer"], observed: Float[np.ndarray, "*layer"]
) -> CosineNull:
    low, median, high = (np.asarray(q) for q in np.quantile(found, BAND, axis=0))
    reached = (found >= observed - TIE).sum(axis=0)
    p = np.where(np.isnan(observed), np.nan, (1 + reached) / (1 + len(found)))
    return CosineNull(low=low, median=median, high=high, p=p)


def _layers(rows: Rows, which: str) -> Float[Tensor, "example layer d_model"]:
    held = (
        rows.detach() if isinstance(rows, Tensor) else torch.from_numpy(np.array(rows))
    )
    if held.ndim == 2:
        held = held[:, None]
    if held.ndim != 3 or not held.numel():
        raise ShapeError(
            f"The {which} activations have the shape {list(rows.shape)}.",
            expected="[example, d_model] or [example, layer, d_model].",
        )
    n_bad = int((~held.isfinite()).flatten(1).any(1).sum())
    if n_bad:
        raise DataError(
            f"{n_bad} of {len(held)} examples have {which} activations that are not"
            " finite.",
            remedy="Leave them out, or load the model with dtype='float32'.",
        )
    return held


def _exact(rows: Float[Tensor, "example d_model"]) -> Float[Tensor, "example d_model"]:
    # Apple's accelerator has no float64.
    return rows.to("cpu").double() if rows.device.type == "mps" else rows.double()
