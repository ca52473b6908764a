"""Labels in other orders, for directions that mean nothing."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int

from interp.errors import ConfigError, DataError
from interp.statistics import group_codes


Groups = Sequence[object] | np.ndarray


def shuffled_labels(
    labels: Bool[np.ndarray, " example"],
    *,
    groups: Groups | None = None,
    count: int,
    seed: int = 0,
) -> Bool[np.ndarray, "shuffle example"]:
    """Labels in other orders that are as likely if labels do not matter.

    Examples of a group depend on each other: groups of one size exchange their labels
    as a whole, and labels are shuffled within a group.

    Args:
        labels: The observed labels.
        groups: The group of each example, such as its entity; without groups every
            order is as likely.
        count: How many orders.
        seed: Feeds them.

    Raises:
        ConfigError: If no order is asked for.
        DataError: If no other order is possible.
        ShapeError: If groups and labels disagree in length.

    Source:
        Winkler et al. (2015), "Multi-level block permutation".

    Example:
        >>> shuffled_labels(np.array([True, False, False]), count=5).sum(1).tolist()
        [1, 1, 1, 1, 1]
    """
    if count < 1:
        raise ConfigError(
            f"{count} permutations were asked for.", expected="1 or more."
        )
    codes = group_codes(groups, len(labels))
    members = exchangeable(codes)
    if not any(labels[m].any() and not labels[m].all() for m in members):
        raise DataError(
            f"The labels of {len(labels)} examples in {len(set(codes))} groups cannot"
            " be permuted.",
            expected="Two groups of one size with different labels, or a group with"
            " both labels.",
            remedy="Use other groups, or none.",
        )
    return dealt_labels(labels, members, count=count, seed=seed)


def exchangeable(
    codes: Int[np.ndarray, " example"],
    *,
    folds: Int[np.ndarray, " example"] | None = None,
) -> list[Int[np.ndarray, "_group _member"]]:
    """Which examples the groups of one size, and of one fold, have.

    Args:
        codes: The group of each example, as a number from 0.
        folds: The fold of each example; no group may be in two.

    Example:
        >>> [m.tolist() for m in exchangeable(np.array([0, 0, 1, 2, 2]))]
        [[[2]], [[0, 1], [3, 4]]]
    """
    folds = np.zeros(codes.size, dtype=int) if folds is None else folds
    order = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes)
    starts = np.cumsum(sizes) - sizes
    kinds = np.stack((sizes, folds[order[starts]]), axis=1)
    return [
        order[starts[(kinds == kind).all(1)][:, None] + np.arange(kind[0])]
        for kind in np.unique(kinds, axis=0)
    ]


def dealt_labels(
    labels: Bool[np.ndarray, " example"],
    members: Sequence[Int[np.ndarray, "_group _member"]],
    *,
    count: int,
    seed: int,
) -> Bool[np.ndarray, "shuffle example"]:
    """Orders in which groups exchanged their labels, and each shuffled its own.

    Args:
        labels: The observed labels.
        members: Groups that may exchange; see `exchangeable`.
        count: How many orders.
        seed: Feeds them.
    """
    rng = np.random.default_rng(seed)
    found = np.tile(labels, (count, 1))
    for alike in members:
        for row in found:
            dealt = rng.permutation(labels[alike], axis=0)
            row[alike] = rng.permuted(dealt, axis=1)
    return found
