"""AUROCs, their differences and means with intervals from resampling whole groups."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from interp.errors import ShapeError
from interp.statistics.groups import effective_groups, group_codes
from interp.statistics.ranking import auroc, checked
from interp.statistics.resampling import bootstrap_aurocs, weight_blocks
from interp.statistics.small_samples import probability_bounds, t_quantile, widened
from interp.statistics.values import LEVEL, Interval


Groups = Sequence[object] | np.ndarray
HALVINGS = 60


def auroc_interval(
    scores: Float[np.ndarray, "*batch example"],
    labels: Bool[np.ndarray, " example"],
    *,
    groups: Groups | None = None,
    resamples: int = 1000,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """AUROC with an interval from resampling whole groups of examples.

    Examples of one group (one city, one person) are not independent: they are drawn or
    left out together. The interval is Student's t around the logit of the AUROC, with
    the spread of the resamples; how often it holds the truth over 8 groups and more is
    printed by `benchmarks/validity.py`. Where the classes do not overlap at all, the
    lower bound is the AUROC that would still come out as 1 that often.

    Args:
        scores: The last axis runs over examples.
        labels: Which examples are positive.
        groups: The group of each example.
        resamples: How many bootstrap samples.
        seed: Two calls with one seed and the same groups draw the same samples.
        level: Coverage of the interval.

    Raises:
        EmptyClassError: If a class has no example.
        ShapeError: If scores, labels and groups disagree in length.

    Source:
        Field & Welsh (2007), "Bootstrapping clustered data"; Pepe (2003), section
        5.2.4; Newcombe (2006), part 2, method 5, for an AUROC of 1.

    Example:
        >>> result = auroc_interval(np.arange(6.0), np.arange(6) > 2)
        >>> float(result.estimate), round(float(result.low), 2)
        (1.0, 0.37)
    """
    scores, labels = checked(scores, labels)
    draws = bootstrap_aurocs(scores, labels, groups, resamples, seed)
    return probability_bounds(
        auroc(scores, labels),
        draws,
        groups=effective_groups(groups, labels.size),
        furthest=_lowest_below_one(labels, groups, level),
        level=level,
    )


def auroc_difference(
    scores_a: Float[np.ndarray, "*batch example"],
    scores_b: Float[np.ndarray, "*batch example"],
    labels: Bool[np.ndarray, " example"],
    *,
    groups: Groups | None = None,
    resamples: int = 1000,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """AUROC of `a` minus AUROC of `b` on the same examples, by a paired bootstrap.

    The interval is widened to what few groups ask for; a single group has none.

    Args:
        scores_a: Scores of the first readout or model.
        scores_b: Scores of the second one, for the same examples.
        labels: Which examples are positive.
        groups: The group of each example, resampled whole.
        resamples: How many bootstrap samples.
        seed: Feeds the resampling.
        level: Coverage of the interval.

    Raises:
        EmptyClassError: If a class has no example.
        ShapeError: If the lengths disagree.

    Source:
        Field & Welsh (2007); Hesterberg (2015) for few groups.

    Example:
        >>> a, b = np.array([0.0, 1, 2, 3]), np.array([0.0, 2, 1, 3])
        >>> labels = np.array([False, False, True, True])
        >>> float(auroc_difference(a, b, labels).estimate)
        0.25
    """
    scores_a, labels = checked(scores_a, labels)
    scores_b, labels = checked(scores_b, labels)
    draws = bootstrap_aurocs(scores_a, labels, groups, resamples, seed)
    draws = draws - bootstrap_aurocs(scores_b, labels, groups, resamples, seed)
    return widened(
        auroc(scores_a, labels) - auroc(scores_b, labels),
        draws,
        groups=effective_groups(groups, labels.size),
        level=level,
        within=(-1.0, 1.0),
    )


def mean_interval(
    values: Float[np.ndarray, "*batch example"] | Bool[np.ndarray, "*batch example"],
    *,
    groups: Groups | None = None,
    resamples: int = 1000,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """The mean over examples with an interval from resampling whole groups.

    Give correctness as truth values for the interval of an accuracy: then it is
    Student's t around the logit, within 0 and 1, and a share of 0 or 1 has Wilson's
    interval of as many trials as there are groups. Give a difference of two columns for
    a paired difference of means. Other means have the percentiles of the bootstrap,
    widened to what few groups ask for; of very skewed values over few groups they still
    hold the truth less often than they say.

    Args:
        values: The last axis runs over examples.
        groups: The group of each example, resampled whole.
        resamples: How many bootstrap samples.
        seed: Feeds the resampling.
        level: Coverage of the interval.

    Raises:
        ShapeError: If there is no example, or the groups have another length.

    Source:
        Field & Welsh (2007); Hesterberg (2015) for few groups.

    Example:
        >>> float(mean_interval(np.array([0.0, 1.0, 1.0, 0.0])).estimate)
        0.5
    """
    given = np.asarray(values)
    table = given.astype(np.float64)
    if not table.shape or table.shape[-1] == 0:
        raise ShapeError("There is no value to average.", expected="At least one.")
    n = table.shape[-1]
    draws = np.concatenate(
        [
            (table @ weights.T) / weights.sum(axis=1)
            for weights in weight_blocks(groups, n, resamples, seed)
        ],
        axis=-1,
    )
    count, mean = effective_groups(groups, n), np.asarray(table.mean(axis=-1))
    if given.dtype != np.bool_:
        return widened(mean, draws, groups=count, level=level)
    t = float(t_quantile(count - 1, level=level))
    furthest = count / (count + t * t) if math.isfinite(t) else 0.0
    return probability_bounds(mean, draws, groups=count, furthest=furthest, level=level)


def _lowest_below_one(
    labels: Bool[np.ndarray, " example"], groups: Groups | None, level: float
) -> float:
    """The lowest AUROC that as many groups do not show to be wrong by separating."""
    codes = group_codes(groups, labels.size)
    pos, neg = (effective_groups(codes[of], int(of.sum())) for of in (labels, ~labels))
    t = float(t_quantile(effective_groups(codes, labels.size) - 1, level=level))
    if not math.isfinite(t):
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        area = (low + high) / 2
        more = max((pos + neg) / 2 - 1, 0.0)
        within = more * ((1 - area) / (2 - area) + area / (1 + area))
        variance = area * (1 - area) * (1 + within) / (pos * neg)
        low, high = (low, area) if (1 - area) ** 2 <= t * t * variance else (area, high)
    return high
