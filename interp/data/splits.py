"""Splits that keep all examples of one group (entity, template) on one side."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from interp.errors import DataError, ShapeError
from interp.statistics import group_codes


NAMES = ("train", "validation", "test")
# Groups are few and uneven at worst; a fair split is found at once or does not exist.
ATTEMPTS = 50


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Splits:
    """Places of the training, validation and test examples, ascending."""

    train: Int[np.ndarray, " train"]
    val: Int[np.ndarray, " val"]
    test: Int[np.ndarray, " test"]


def split_by_group(
    groups: Sequence[str],
    labels: Bool[np.ndarray, " example"],
    *,
    fractions: tuple[float, float, float] = (0.5, 0.2, 0.3),
    seed: int = 0,
) -> Splits:
    """Three splits that share no group and in each of which both labels occur.

    Args:
        groups: What each example is about.
        labels: Which examples are positive.
        fractions: Shares of the examples for train, validation and test.
        seed: Feeds the order in which groups are dealt out.

    Raises:
        DataError: If there are too few groups for three splits with both labels.
        ShapeError: If lengths disagree or the fractions do not add up to one.

    Example:
        >>> groups = [str(i // 2) for i in range(40)]
        >>> splits = split_by_group(groups, np.arange(40) % 2 == 0)
        >>> len(splits.train), len(splits.val), len(splits.test)
        (20, 8, 12)
    """
    labels = np.asarray(labels, dtype=bool)
    if len(groups) != labels.size:
        raise ShapeError(f"There are {len(groups)} groups for {labels.size} labels.")
    if min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ShapeError(
            f"The fractions {fractions} do not cut the data in three.",
            expected="Three positive numbers that add up to 1 are needed.",
        )
    codes = group_codes(groups, labels.size)
    sizes = np.bincount(codes)
    wanted = np.array(fractions) * labels.size
    rng = np.random.default_rng(seed)
    for _ in range(ATTEMPTS):
        dealt = _deal(sizes, wanted, rng)[codes]
        parts = [np.flatnonzero(dealt == split) for split in range(3)]
        if all(labels[part].any() and not labels[part].all() for part in parts):
            return Splits(train=parts[0], val=parts[1], test=parts[2])
    raise DataError(
        f"{labels.size} statements about {sizes.size} subjects ({int(labels.sum())} of "
        "them true) cannot be split in three.",
        expected=f"Each of {', '.join(NAMES)} needs true and false statements about "
        "subjects of its own.",
        remedy="Give more statements, or name a finer column with group=.",
    )


def _deal(
    sizes: np.ndarray, wanted: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """The split of each group: the largest groups first, each to the emptiest split."""
    shuffled = rng.permutation(sizes.size)
    order = shuffled[np.argsort(-sizes[shuffled], kind="stable")]
    dealt = np.empty(sizes.size, dtype=np.int64)
    filled = np.zeros(3)
    for group in order:
        split = int(np.argmin((filled + sizes[group] / 2) / wanted))
        dealt[group] = split
        filled[split] += sizes[group]
    return dealt
