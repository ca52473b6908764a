"""Folds for cross-validation: whole groups where groups are known, else balanced."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int

from interp.errors import ConfigError, DataError
from interp.statistics import group_codes


Groups = Sequence[object] | np.ndarray


def assign_folds(
    labels: Bool[np.ndarray, " example"],
    *,
    groups: Groups | None = None,
    n_folds: int = 5,
    seed: int = 0,
) -> Int[np.ndarray, " example"]:
    """The fold of each example, both labels shared out as evenly as groups allow.

    Args:
        labels: Which examples are positive.
        groups: The group of each; a group is never cut.
        n_folds: How many folds.
        seed: Feeds the order in which groups are dealt out.

    Raises:
        ConfigError: If there are fewer than two folds.
        DataError: If there are too few groups, or a fold leaves one label untrained.
        ShapeError: If groups and labels disagree in length.

    Example:
        >>> groups = ["a", "a", "b", "b", "c", "c", "d", "d"]
        >>> folds = assign_folds(np.arange(8) % 2 == 0, groups=groups, n_folds=2)
        >>> bool((folds[::2] == folds[1::2]).all()), np.bincount(folds).tolist()
        (True, [4, 4])
    """
    if n_folds < 2:
        raise ConfigError(f"{n_folds} folds were asked for.", expected="2 or more.")
    labels = np.asarray(labels, dtype=bool)
    codes = group_codes(groups, labels.size)
    n_groups = int(codes.max()) + 1
    if n_groups < n_folds:
        raise DataError(
            f"There are {n_groups} groups for {n_folds} folds.",
            expected="At least one group for each fold.",
            remedy="Give more groups, or fewer folds.",
        )
    positive = np.bincount(codes, weights=labels, minlength=n_groups)
    counts = np.stack((positive, np.bincount(codes) - positive), axis=1)
    fold_of = _deal(counts, n_folds, np.random.default_rng(seed))
    folds = fold_of[codes]
    check_folds(labels, folds)
    return folds


def check_folds(
    labels: Bool[np.ndarray, " example"], folds: Int[np.ndarray, " example"]
) -> None:
    """Check that what is left without any one fold has both labels.

    Raises:
        DataError: If not.
    """
    for fold in np.unique(folds):
        kept = labels[folds != fold]
        if not kept.size or kept.all() or not kept.any():
            raise DataError(
                f"Without fold {fold} the {kept.size} examples left have one label.",
                expected="Both labels are needed to fit a probe.",
                remedy="Use fewer folds, or finer groups.",
            )


def training_masks(
    folds: Int[np.ndarray, " example"], held_out: Sequence[tuple[int, ...]]
) -> Bool[np.ndarray, "fit example"]:
    """For each set of folds, which examples are outside of all of them.

    Example:
        >>> training_masks(np.array([0, 1, 2]), [(0,), (0, 2)]).tolist()
        [[False, True, True], [False, True, False]]
    """
    return np.stack([~np.isin(folds, out) for out in held_out])


def _deal(
    counts: np.ndarray, n_folds: int, rng: np.random.Generator
) -> Int[np.ndarray, " group"]:
    """The fold of each group: large ones first, each where it is missed most."""
    share = np.maximum(counts.sum(0), 1) / n_folds
    shuffled = rng.permutation(len(counts))
    order = shuffled[np.argsort(-counts[shuffled].sum(1), kind="stable")]
    filled = np.zeros((n_folds, 2))
    fold_of = np.empty(len(counts), dtype=np.int64)
    for group in order:
        # How uneven the folds would be with the group in each of them.
        load = (filled + counts[group]) / share
        cost = (load**2 - (filled / share) ** 2).sum(1)
        best = np.flatnonzero(cost <= cost.min() + 1e-12)
        fold = int(rng.choice(best))
        fold_of[group] = fold
        filled[fold] += counts[group]
    return fold_of
