"""How a sweep holds examples out: folds, and choosing a site inside each fold."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from interp.errors import ShapeError
from interp.statistics import group_codes
from probes.evaluate import aurocs, held_out
from probes.folds import (
    Groups,
    assign_folds,
    check_folds,
    training_masks,
)


FOLDS = 5
# More values than this in `folds=` are groups to be dealt out, not folds.
MOST_FOLDS = 20
# Choosing the site inside each fold takes a fit for every pair of folds.
NESTED_FOLDS = range(3, 13)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Design:
    """The examples of a sweep and how they are held out.

    Attributes:
        labels: Which examples are positive.
        groups: The group of each; None if each is its own.
        folds: The fold of each, counted from 0.
        split: How the folds were made.
    """

    labels: Bool[np.ndarray, " example"]
    groups: Groups | None
    folds: Int[np.ndarray, " example"]
    split: Literal["group", "random", "given"]

    @property
    def n_folds(self) -> int:
        return int(self.folds.max()) + 1

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Pairs of folds that are held out together; none if nothing can be chosen."""
        if self.n_folds not in NESTED_FOLDS:
            return []
        return list(combinations(range(self.n_folds), 2))

    @property
    def masks(self) -> Bool[np.ndarray, "fit example"]:
        """The training examples of every fold, and then of every pair of folds."""
        single = [(fold,) for fold in range(self.n_folds)]
        return training_masks(self.folds, [*single, *self.pairs])


def designed(
    labels: Bool[np.ndarray, " example"],
    groups: Groups | None,
    folds: int | Sequence[object] | np.ndarray,
    seed: int,
) -> Design:
    """The design that the arguments of a sweep describe.

    Raises:
        ShapeError: If lengths disagree, or a group lies in two of the given folds.
        DataError: If the folds cannot be made, or leave one label to train on.
    """
    n = labels.size
    if groups is not None:
        group_codes(groups, n)
    if isinstance(folds, int | np.integer):
        made = assign_folds(labels, groups=groups, n_folds=int(folds), seed=seed)
        split = "random" if groups is None else "group"
        return Design(labels=labels, groups=groups, folds=made, split=split)
    codes = group_codes(folds, n)
    if codes.max() >= MOST_FOLDS and groups is None:
        made = assign_folds(labels, groups=folds, n_folds=FOLDS, seed=seed)
        return Design(labels=labels, groups=folds, folds=made, split="group")
    if groups is not None:
        _check_whole(group_codes(groups, n), codes, groups)
    check_folds(labels, codes)
    return Design(labels=labels, groups=groups, folds=codes, split="given")


def chosen_probes(
    logits: Float[np.ndarray, "probe fit example"], design: Design
) -> Int[np.ndarray, " fold"]:
    """For each fold the probe with the best AUROC inside its training examples.

    Args:
        logits: By the fits of `design.masks`, for every example.
        design: The design; without pairs nothing is chosen.
    """
    if not design.pairs:
        return np.empty(0, dtype=np.int32)
    chosen = []
    for fold in range(design.n_folds):
        # The fit that held out both this fold and the one an example is in.
        fit_of = np.zeros(design.n_folds, dtype=int)
        for number, pair in enumerate(design.pairs):
            if fold in pair:
                other = pair[1] if pair[0] == fold else pair[0]
                fit_of[other] = design.n_folds + number
        inside = np.flatnonzero(design.folds != fold)
        scores = logits[:, fit_of[design.folds[inside]], inside]
        labels = np.broadcast_to(design.labels[inside], scores.shape)
        chosen.append(int(aurocs(scores, labels).argmax()))
    return np.array(chosen, dtype=np.int32)


def nested_scores(
    scores: Float[np.ndarray, "probe example"],
    chosen: Int[np.ndarray, " fold"],
    design: Design,
) -> Float[np.ndarray, " example"]:
    """The held-out logit of each example by the probe that its fold chose."""
    return scores[chosen[design.folds], np.arange(design.folds.size)]


def held_out_scores(
    logits: Float[np.ndarray, "probe fit example"], design: Design
) -> Float[np.ndarray, "probe example"]:
    """The logit of each example by the fit that held out only its fold."""
    return held_out(logits[:, : design.n_folds], design.folds)


def _check_whole(groups: np.ndarray, folds: np.ndarray, names: Groups) -> None:
    pairs = np.unique(np.stack((groups, folds), axis=1), axis=0)[:, 0]
    repeated = np.flatnonzero(np.bincount(pairs) > 1)
    if repeated.size:
        example = int(np.flatnonzero(groups == repeated[0])[0])
        raise ShapeError(
            f"The group {str(names[example])!r} lies in more than one of the folds.",
            expected="A group is held out as a whole, or it leaks.",
            remedy="Leave folds= out, and folds are made of whole groups.",
        )
