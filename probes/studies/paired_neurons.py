"""The neurons of two results beside each other: weights, ranks, what ablating does.

Neurons are the examples here: the same number is the same neuron where two models are
of one family, and intervals draw neurons anew.
"""

import numpy as np
from jaxtyping import Float, Float32, Int

from interp.results import ConfidenceComparison, NeuronTable
from interp.results.truthfulness import ROLES, Role
from probes.studies.paired_rows import (
    Draws,
    PairedNumbers,
    Row,
    mean_row,
    require_same,
    table,
)


WEIGHTS = (
    ("norm", "norm"),
    ("natural logarithm of LogitVar", "logit_var"),
    ("null-space fraction", "null_fraction"),
)


def neuron_numbers(
    first: NeuronTable, second: NeuronTable, how: Draws
) -> PairedNumbers:
    """What differs between the last MLPs of two models, neuron by neuron.

    Ranks are by LogitVar among all neurons, the smallest first, with the mean of both
    results' candidates in each: candidates of one model that are none in the other have
    a large difference.

    Args:
        first: A result.
        second: One of a model with the same neurons.
        how: How intervals are made.

    Raises:
        IncompatibleError: If the layers or the numbers of neurons differ.
    """
    require_same("last layer", first.layer, second.layer)
    require_same("number of neurons", first.norm.size, second.norm.size)
    rows: list[Row] = []
    for words, field in WEIGHTS:
        both = [getattr(one, field).astype(np.float64) for one in (first, second)]
        if field == "logit_var":
            both = [np.log(np.maximum(one, np.finfo(np.float32).tiny)) for one in both]
        rows.append(mean_row(f"{words}, all neurons", both[0], both[1], how))
    ranks = [rank_of(one.logit_var) for one in (first, second)]
    names = ("the first's", "the second's")
    for name, one in zip(names, (first, second), strict=True):
        if not one.candidates.size:
            continue
        own = [each[one.candidates] for each in ranks]
        words = f"rank by LogitVar of {name} {one.candidates.size} candidates"
        rows.append(mean_row(words, own[0], own[1], how))
    shared = np.intersect1d(first.candidates, second.candidates).size
    return PairedNumbers(
        rows=table(rows),
        method="Paired bootstrap of the mean over neurons of one number. "
        f"{shared} of {first.candidates.size} candidates are also the second's; the "
        "rank correlation of LogitVar over all neurons is "
        f"{np.corrcoef(ranks[0], ranks[1])[0, 1]:.3f}.",
    )


def ablated_rows(
    first: ConfidenceComparison, second: ConfidenceComparison, how: Draws
) -> list[Row]:
    """What ablating candidates does in both, over the neurons that both ablated.

    Args:
        first: A result.
        second: Another one of the same texts.
        how: How intervals are made.
    """
    if first.layer != second.layer or first.norm.shape != second.norm.shape:
        return []
    rows: list[Row] = []
    for role in ROLES:
        effects = [_effects(one, role) for one in (first, second)]
        common = [number for number in effects[0] if number in effects[1]]
        if not common:
            continue
        values = [np.array([each[n] for n in common]) for each in effects]
        for column, words in enumerate(("entropy", "loss, absolute")):
            rows.append(
                mean_row(
                    f"{words}: change (nats) by ablating {len(common)} candidates one "
                    f"by one, {role} model",
                    values[0][:, column],
                    values[1][:, column],
                    how,
                )
            )
    return rows


def rank_of(
    values: Float32[np.ndarray, " neuron"],
) -> Float[np.ndarray, " neuron"]:
    """The place of each neuron when they are ordered by a value, the smallest is 1.

    Example:
        >>> rank_of(np.array([0.3, 0.1, 0.2], np.float32)).tolist()
        [3.0, 1.0, 2.0]
    """
    order: Int[np.ndarray, " neuron"] = np.argsort(values, kind="stable")
    ranks = np.empty(len(values))
    ranks[order] = np.arange(1, len(values) + 1)
    return ranks


def _effects(
    result: ConfidenceComparison, role: Role
) -> dict[int, tuple[float, float]]:
    return {
        row.neuron: (float(row.entropy_change), float(row.loss_total))
        for row in result.effects_of(role, "entropy")
    }
