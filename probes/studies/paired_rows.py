"""Rows of numbers of two results with the interval of their difference."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from interp.errors import IncompatibleError
from interp.statistics import Interval, mean_interval


COLUMNS = ("number", "first", "second", "second - first", "low", "high")
Row = tuple[object, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """How intervals are made.

    Attributes:
        resamples: Bootstrap samples.
        seed: Feeds them.
    """

    resamples: int = 1000
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairedNumbers:
    """Numbers of two results.

    Attributes:
        rows: The number, both values, their difference and its 95 % interval.
        method: How the interval was made, in a sentence.
    """

    rows: pd.DataFrame
    method: str


def table(rows: Sequence[Row]) -> pd.DataFrame:
    """Rows of numbers with their interval as a table; see `COLUMNS`."""
    return pd.DataFrame(rows, columns=list(COLUMNS))


def require_same(what: str, first: object, second: object) -> None:
    """Refuse to pair what is of different examples.

    Args:
        what: What must be the same, in words.
        first: It in the first result.
        second: It in the second.

    Raises:
        IncompatibleError: If they differ.
    """
    arrays = (np.asarray(first), np.asarray(second))
    if arrays[0].shape == arrays[1].shape and bool((arrays[0] == arrays[1]).all()):
        return
    raise IncompatibleError(
        f"The two results are not of the same {what}, so that nothing can be paired.",
        expected=f"The same {what} in the same order.",
    )


def row(name: str, first: float, second: float, difference: Interval) -> Row:
    """One number of both results; the difference is the second minus the first.

    Args:
        name: What the number is.
        first: It in the first result.
        second: It in the second.
        difference: Their difference with its ends.
    """
    ends = (difference.estimate, difference.low, difference.high)
    return (name, first, second, *(float(one) for one in ends))


def interval(estimate: float, low: float, high: float) -> Interval:
    """One number with its ends as an interval.

    Example:
        >>> float(interval(2.0, 1.0, 3.0).low)
        1.0
    """
    return Interval(
        estimate=np.asarray(estimate), low=np.asarray(low), high=np.asarray(high)
    )


def one_of(found: Interval, index: int) -> Interval:
    """One of several intervals.

    Example:
        >>> several = Interval(estimate=np.ones(2), low=np.zeros(2), high=np.ones(2))
        >>> float(one_of(several, 1).low)
        0.0
    """
    ends = (found.estimate, found.low, found.high)
    return interval(*(float(each[index]) for each in ends))


def mean_row(
    name: str,
    first: Float[np.ndarray, " example"],
    second: Float[np.ndarray, " example"],
    how: Draws,
    *,
    groups: np.ndarray | None = None,
) -> Row:
    """The means of two columns over the same examples, with a paired interval.

    Args:
        name: What is averaged.
        first: A value for each example, in the first result.
        second: The same in the second.
        how: How the interval is made.
        groups: The group of each example, drawn whole.
    """
    difference = mean_interval(
        second - first, groups=groups, resamples=how.resamples, seed=how.seed
    )
    return row(name, float(first.mean()), float(second.mean()), difference)
