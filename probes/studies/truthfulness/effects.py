"""Indirect effects: how far a vector moves a model's judgement of statements."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from interp.statistics import Interval, effective_groups, group_codes, widened


Means = Float[np.ndarray, "..."] | float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Effect:
    """What an intervention does to P(TRUE) - P(FALSE).

    Attributes:
        true: Its mean over true statements, with bounds.
        false: Its mean over false statements, with bounds.
        saturation: The effect relative to complete certainty; see `nie_saturation`.
        gap: The effect relative to the gap between the classes; see `nie_gap`.
    """

    true: Interval
    false: Interval
    saturation: Interval
    gap: Interval


def nie_saturation(
    true: Means, false: Means, *, edited_true: Means, edited_false: Means
) -> Means:
    """The indirect effect as a share of the way to certainty of the opposite.

    1 if every true statement is judged false with certainty and every false one true,
    0 without any effect; the mean of the two directions.

    Args:
        true: Mean of P(TRUE) - P(FALSE) over true statements.
        false: The same over false statements.
        edited_true: `true` under the intervention.
        edited_false: `false` under the intervention.

    Source:
        Du et al. (2025), arXiv:2504.02904.

    Example:
        >>> nie_saturation(0.5, -0.5, edited_true=-1.0, edited_false=1.0)
        1.0
    """
    to_false = (edited_true - true) / (-1 - true)
    to_true = (edited_false - false) / (1 - false)
    return (to_false + to_true) / 2


def nie_gap(
    true: Means, false: Means, *, edited_true: Means, edited_false: Means
) -> Means:
    """The indirect effect as a share of the gap between true and false statements.

    1 if true statements are judged as false ones were, and the reverse; it may be more.

    Args:
        true: Mean of P(TRUE) - P(FALSE) over true statements.
        false: The same over false statements.
        edited_true: `true` under the intervention.
        edited_false: `false` under the intervention.

    Source:
        Marks & Tegmark (2023), arXiv:2310.06824.

    Example:
        >>> nie_gap(0.5, -0.5, edited_true=-0.5, edited_false=0.0)
        0.75
    """
    to_false = (edited_true - true) / (false - true)
    to_true = (edited_false - false) / (true - false)
    return (to_false + to_true) / 2


def effect(
    clean: Float[np.ndarray, " example"],
    edited: Float[np.ndarray, " example"],
    labels: Bool[np.ndarray, " example"],
    *,
    groups: Sequence[str],
    resamples: int = 1000,
    seed: int = 0,
) -> Effect:
    """The effect of an intervention on the same statements, with cluster intervals.

    Args:
        clean: P(TRUE) - P(FALSE) of each statement without the intervention.
        edited: The same under the intervention.
        labels: Which statements are true.
        groups: What each is about; resampled whole.
        resamples: How many bootstrap samples.
        seed: Feeds the resampling.

    Example:
        >>> labels = np.array([True, False] * 4)
        >>> clean = np.where(labels, 0.5, -0.5)
        >>> flipped = effect(clean, -clean, labels, groups=[str(i) for i in range(8)])
        >>> float(flipped.gap.estimate)
        1.0
    """
    weights = _weights(groups, resamples, seed)
    count = effective_groups(groups, labels.size)
    with np.errstate(divide="ignore", invalid="ignore"):
        draws = _means(clean, edited, labels, weights)
        found = _means(clean, edited, labels, np.ones((1, labels.size)))
        return Effect(
            true=_interval(found.edited_true, draws.edited_true, count),
            false=_interval(found.edited_false, draws.edited_false, count),
            saturation=_interval(found.saturation, draws.saturation, count),
            gap=_interval(found.gap, draws.gap, count),
        )


def gap_interval(
    clean: Float[np.ndarray, " example"],
    labels: Bool[np.ndarray, " example"],
    *,
    groups: Sequence[str],
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """How much more a model calls true statements true than false ones, with bounds.

    An interval that reaches zero means that the model does not tell them apart, and
    then no indirect effect is defined.

    Example:
        >>> labels = np.array([True, False] * 4)
        >>> groups = [str(i) for i in range(8)]
        >>> float(gap_interval(np.where(labels, 0.5, -0.5), labels, groups=groups).low)
        1.0
    """
    weights = _weights(groups, resamples, seed)
    count = effective_groups(groups, labels.size)
    with np.errstate(divide="ignore", invalid="ignore"):
        draws = _means(clean, clean, labels, weights)
        found = _means(clean, clean, labels, np.ones((1, labels.size)))
    return _interval(found.true - found.false, draws.true - draws.false, count)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Means:
    true: np.ndarray
    false: np.ndarray
    edited_true: np.ndarray
    edited_false: np.ndarray

    @property
    def saturation(self) -> np.ndarray:
        edited = {"edited_true": self.edited_true, "edited_false": self.edited_false}
        return np.asarray(nie_saturation(self.true, self.false, **edited))

    @property
    def gap(self) -> np.ndarray:
        edited = {"edited_true": self.edited_true, "edited_false": self.edited_false}
        return np.asarray(nie_gap(self.true, self.false, **edited))


def _means(
    clean: np.ndarray, edited: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> _Means:
    of_true, of_false = weights * labels, weights * ~labels
    n_true, n_false = of_true.sum(axis=1), of_false.sum(axis=1)
    return _Means(
        true=of_true @ clean / n_true,
        false=of_false @ clean / n_false,
        edited_true=of_true @ edited / n_true,
        edited_false=of_false @ edited / n_false,
    )


def _weights(groups: Sequence[str], resamples: int, seed: int) -> np.ndarray:
    """How often each example is drawn when whole groups are, [resample, example]."""
    codes = group_codes(groups, len(groups))
    n = int(codes.max()) + 1
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(n, np.full(n, 1 / n), size=resamples)
    return drawn[:, codes].astype(np.float64)


def _interval(found: np.ndarray, draws: np.ndarray, count: float) -> Interval:
    estimate = np.asarray(found).reshape(())
    nothing = np.asarray(np.nan)
    if not np.isfinite(estimate):
        return Interval(estimate=nothing, low=nothing, high=nothing)
    usable = draws[np.isfinite(draws)]
    return widened(estimate, usable if usable.size else nothing[None], groups=count)
