"""Groups of examples that depend on each other: as numbers, and how many they are."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from interp.errors import DataError, ShapeError


def group_codes(
    groups: Sequence[object] | np.ndarray | None, n: int
) -> Int[np.ndarray, " example"]:
    """Groups as numbers from 0; every example its own without groups.

    Args:
        groups: The group of each example; those that are spelled alike are one.
        n: How many examples there are.

    Raises:
        ShapeError: If there is not one group for each example.
        DataError: If a group is missing: None, NaN or the like.

    Example:
        >>> group_codes(["b", "a", "b"], 3).tolist()
        [1, 0, 1]
    """
    if groups is None:
        return np.arange(n)
    if len(groups) != n:
        raise ShapeError(
            f"There are {len(groups)} groups for {n} examples.",
            expected="One group for each example.",
        )
    # Before anything is spelled: "nan" and "None" would be groups like any other.
    missing = [(at, group) for at, group in enumerate(groups) if _is_missing(group)]
    if missing:
        at, group = missing[0]
        raise DataError(
            f"{len(missing)} of {n} examples have no group: that of example {at} is "
            f"{group}.",
            expected="A group for each example: those without would count as one.",
            remedy="Leave these examples out, or give each a group of its own.",
        )
    # One at a time: NumPy would make columns of pairs, such as a city and a template.
    return np.unique([str(group) for group in groups], return_inverse=True)[1]


def effective_groups(groups: Sequence[object] | np.ndarray | None, n: int) -> float:
    """How many groups of equal size would say as much as these of unequal size.

    Where a few groups hold most examples, a mean rests on these few. Equal groups, and
    single examples, count as what they are.

    Args:
        groups: The group of each example; every example its own without groups.
        n: How many examples there are.

    Raises:
        ShapeError: If there is not one group for each example.
        DataError: If a group is missing.

    Source:
        Kish (1965), "Survey Sampling"; Carter, Schnepel & Steigerwald (2017), of whose
        effective number of clusters this is the case of members that are all alike.

    Example:
        >>> effective_groups(["a", "a", "b", "b"], 4)
        2.0
        >>> round(effective_groups(["a"] * 8 + ["b", "c"], 10), 2)
        1.52
    """
    sizes = np.bincount(group_codes(groups, n)).astype(np.float64)
    return float(sizes.sum() ** 2 / np.square(sizes).sum())


def _is_missing(group: object) -> bool:
    """Whether this stands for no value: of all libraries, without importing them."""
    same = group is not None and group == group
    # NaN and NaT differ from themselves; pandas' NA answers every question with itself.
    return not same if isinstance(same, bool | np.bool_) else same is group
