"""`compare_sweeps`: two readouts of the same examples, paired."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from interp.errors import DataError, ShapeError
from interp.results.sweep import NO_LAYER, ProbeSweep
from interp.statistics import (
    Interval,
    auroc,
    auroc_difference,
    average_ranks,
    corrected_resampled_t,
    group_codes,
)
from probes.evaluate import aurocs
from probes.p_values import holm, permutation_p_values


# Bounds the memory of one block of swaps: swaps times probes times examples.
VALUES_AT_ONCE = 20_000_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SweepComparison:
    """AUROC of sweep `a` minus that of sweep `b`, at every site that both have.

    Attributes:
        sites: The sites of both, in the order of `a`.
        layers: Their layers; -1 for sites without one.
        positions: Their token positions.
        auroc_a: Of `a` at each of them.
        auroc_b: Of `b`.
        difference: `a` minus `b`, with its bounds by a paired bootstrap over groups: of
            these very probes on new examples.
        p: How often swapping the two readouts of random groups makes as large a
            difference, whichever its sign: again of these very probes.
        p_corrected: The same against the largest difference at any site of a swap.
        nested: The difference of the two readouts whose site was chosen on training
            folds; NaN if a sweep chose none.
        procedure: `a` minus `b` of the two ways to make a probe, on new training sets
            of the same size and new examples: the mean over folds, with bounds that
            cover what another training set would change. NaN where a fold has one
            label.
        procedure_p: Whether these are equally good, by the same t.
        procedure_p_corrected: The same, corrected for the number of sites by Holm.
    """

    sites: tuple[str, ...]
    layers: Int[np.ndarray, " probe"]
    positions: tuple[str, ...]
    auroc_a: Float[np.ndarray, " probe"]
    auroc_b: Float[np.ndarray, " probe"]
    difference: Interval
    p: Float[np.ndarray, " probe"]
    p_corrected: Float[np.ndarray, " probe"]
    nested: Interval
    procedure: Interval
    procedure_p: Float[np.ndarray, " probe"]
    procedure_p_corrected: Float[np.ndarray, " probe"]

    def to_dataframe(self) -> pd.DataFrame:
        """One row per site and position."""
        layers = pd.array(self.layers, dtype="Int32")
        layers[self.layers == NO_LAYER] = pd.NA
        return pd.DataFrame(
            {
                "site": self.sites,
                "layer": layers,
                "position": self.positions,
                "auroc_a": self.auroc_a,
                "auroc_b": self.auroc_b,
                "difference": self.difference.estimate,
                "difference_lo": self.difference.low,
                "difference_hi": self.difference.high,
                "p": self.p,
                "p_corrected": self.p_corrected,
                "procedure_difference": self.procedure.estimate,
                "procedure_lo": self.procedure.low,
                "procedure_hi": self.procedure.high,
                "procedure_p": self.procedure_p,
                "procedure_p_corrected": self.procedure_p_corrected,
            }
        )


def compare_sweeps(
    a: ProbeSweep,
    b: ProbeSweep,
    *,
    resamples: int = 1000,
    permutations: int = 500,
    seed: int = 0,
) -> SweepComparison:
    """How much better `a` reads the same examples than `b`, site by site.

    The two may be models, fits or positions. Differences are paired: every resample and
    every swap takes the same groups of both.

    Two questions are answered beside each other. `difference` and `p` are of the probes
    as fitted: would these very probes differ on new examples? Resamples and swaps keep
    their scores, so what another training set would change is not in them. `procedure`
    and `procedure_p` are of the two ways to make a probe (a model, a fit, a position):
    would such probes differ, each fitted anew to as many examples? They rest on the few
    folds alone, so they are wide, and need folds with both labels. Ask the second where
    the claim is about models or methods. `benchmarks/validity.py` prints how often each
    is wrong: over 120 examples the bounds of `difference` hold that of these probes in
    91.7 % (what one fold tests the others are fitted on), and those of `procedure` that
    of the procedures in 95.4 %.

    Args:
        a: A sweep.
        b: Another sweep of the same examples in the same order.
        resamples: Bootstrap samples of the intervals.
        permutations: Swaps for the p-values.
        seed: Feeds both.

    Raises:
        ShapeError: If the sweeps have not the same examples.
        DataError: If they share no site and position.

    Source:
        Bandos, Rockette & Gur (2005), "A permutation test sensitive to differences in
        areas for comparing ROC curves from a paired design"; Nadeau & Bengio (2003),
        "Inference for the Generalization Error", for the procedures; Dietterich (1998)
        for the two questions.
    """
    _check_paired(a, b)
    places = {
        place: at for at, place in enumerate(zip(b.sites, b.positions, strict=True))
    }
    common = [
        (at, places[place])
        for at, place in enumerate(zip(a.sites, a.positions, strict=True))
        if place in places
    ]
    if not common:
        raise DataError(
            f"The sweeps share none of their {len(a.sites)} and {len(b.sites)} sites.",
            expected="At least one site and position in both.",
            remedy="Capture both with the same sites= and positions=.",
        )
    common = [(i, j) for i, j in common if i in a.scored and j in b.scored]
    if not common:
        raise DataError(
            "The sweeps keep the scores of no site and position that both have.",
            expected="Single scores, which very large sweeps keep of their best only.",
            remedy="Sweep fewer sites, positions or examples at once.",
        )
    of_a, of_b = (list(side) for side in zip(*common, strict=True))
    scores_a, scores_b = _scores(a, of_a), _scores(b, of_b)
    groups = np.array(a.groups) if a.groups else None
    null = _swapped(scores_a, scores_b, a, permutations, seed)
    found = permutation_p_values(null)
    nested = np.full((2, len(a.labels)), np.nan)
    if a.chosen.size and b.chosen.size:
        nested = np.stack([_nested(one) for one in (a, b)])
    options = {"groups": groups, "resamples": resamples, "seed": seed}
    procedure, procedure_p = _procedures(scores_a, scores_b, a)
    return SweepComparison(
        sites=tuple(a.sites[at] for at in of_a),
        layers=a.layers[of_a],
        positions=tuple(a.positions[at] for at in of_a),
        auroc_a=auroc(scores_a.astype(np.float64), a.labels),
        auroc_b=auroc(scores_b.astype(np.float64), a.labels),
        difference=auroc_difference(scores_a, scores_b, a.labels, **options),
        p=found.each,
        p_corrected=found.corrected,
        nested=auroc_difference(nested[0], nested[1], a.labels, **options),
        procedure=procedure,
        procedure_p=procedure_p,
        procedure_p_corrected=holm(procedure_p),
    )


def _check_paired(a: ProbeSweep, b: ProbeSweep) -> None:
    if a.labels.shape != b.labels.shape or (a.labels != b.labels).any():
        raise ShapeError(
            f"The sweeps have {a.labels.size} and {b.labels.size} examples, or other"
            " labels.",
            expected="The same examples in the same order.",
        )
    if a.groups != b.groups:
        raise ShapeError(
            "The sweeps have different groups.",
            expected="The same examples with the same groups.",
            remedy="Pass the same groups= to both.",
        )


def _nested(sweep: ProbeSweep) -> Float[np.ndarray, " example"]:
    """The held-out logit of each example by the probe that its fold chose."""
    at = np.arange(sweep.labels.size)
    chosen = _scores(sweep, sweep.chosen.tolist())
    return chosen[sweep.folds, at].astype(np.float64)


def _scores(
    sweep: ProbeSweep, probes: Sequence[int]
) -> Float[np.ndarray, "probe example"]:
    places = {int(probe): at for at, probe in enumerate(sweep.scored)}
    return sweep.scores[[places[probe] for probe in probes]]


def _procedures(
    scores_a: Float[np.ndarray, "probe example"],
    scores_b: Float[np.ndarray, "probe example"],
    sweep: ProbeSweep,
) -> tuple[Interval, Float[np.ndarray, " probe"]]:
    """The difference of two ways to make a probe, from one difference per fold."""
    folds, labels = sweep.folds, sweep.labels
    nothing = np.full(len(scores_a), np.nan)
    parts = [folds == fold for fold in np.unique(folds)]
    mixed = all(0 < labels[part].sum() < part.sum() for part in parts)
    if not mixed or len(parts) < 2:
        return Interval(estimate=nothing, low=nothing, high=nothing), nothing
    found = [
        auroc(scores_a[:, part].astype(np.float64), labels[part])
        - auroc(scores_b[:, part].astype(np.float64), labels[part])
        for part in parts
    ]
    # As many examples are tested for each that was fitted in folds of equal size.
    share = 1 / (len(parts) - 1)
    interval, p = corrected_resampled_t(np.stack(found, axis=-1), test_share=share)
    low, high = (np.clip(end, -1.0, 1.0) for end in (interval.low, interval.high))
    return Interval(estimate=interval.estimate, low=low, high=high), p


def _swapped(
    scores_a: Float[np.ndarray, "probe example"],
    scores_b: Float[np.ndarray, "probe example"],
    sweep: ProbeSweep,
    permutations: int,
    seed: int,
) -> Float[np.ndarray, "swap_and_one probe"]:
    """The size of the difference as it is, and after swaps of whole groups."""
    labels = sweep.labels
    codes = group_codes(sweep.groups or None, labels.size)
    # Only ranks can be swapped: the two logits have scales of their own.
    ranks_a, ranks_b = average_ranks(scores_a), average_ranks(scores_b)
    rng = np.random.default_rng(seed)
    at_once = max(1, VALUES_AT_ONCE // ranks_a.size)
    swaps = np.zeros((permutations + 1, int(codes.max()) + 1), dtype=bool)
    swaps[1:] = rng.random((permutations, swaps.shape[1])) < 0.5
    found = []
    for start in range(0, len(swaps), at_once):
        swap = swaps[start : start + at_once, None, codes]
        mixed = [
            np.where(swap, other, own)
            for own, other in ((ranks_a, ranks_b), (ranks_b, ranks_a))
        ]
        values = [aurocs(one, np.broadcast_to(labels, one.shape)) for one in mixed]
        found.append(np.abs(values[0] - values[1]))
    return np.concatenate(found)
