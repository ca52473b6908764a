"""The numbers of two results beside each other, with paired intervals where one exists.

Paired means that both results hold a value for each of the same examples: intervals of
the difference are then of what differs, and not of the examples. Knows no torch; only
patching maps and what is followed over training import it when they are asked for.
"""

from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
from jaxtyping import Float

from interp.errors import IncompatibleError, InterpError
from interp.results import (
    ConfidenceComparison,
    FormationRun,
    HeadAblations,
    HeadScores,
    HeadTimeline,
    KnowledgeComparison,
    NeuronTable,
    PatchMap,
    ProbeSweep,
    RefusalComparison,
    Result,
    TransferMatrix,
    TruthfulnessComparison,
)
from interp.results.truthfulness import ROLES
from interp.statistics import auroc, auroc_difference
from probes.studies.paired_neurons import ablated_rows, neuron_numbers
from probes.studies.paired_rows import (
    Draws,
    PairedNumbers,
    Row,
    mean_row,
    one_of,
    require_same,
    row,
    table,
)
from probes.studies.paired_transfer import transfer_numbers


# So many heads or sites are told, those that differ most.
MOST_ROWS = 12
Samples = Float[np.ndarray, "layer head sequence"]


def imports_torch(result: Result) -> bool:
    """Whether comparing results of this kind takes the time of importing torch."""
    slow = (PatchMap, KnowledgeComparison, HeadTimeline, FormationRun)
    return isinstance(result, slow)


def paired_numbers(
    first: Result, second: Result, *, resamples: int = 1000, seed: int = 0
) -> PairedNumbers:
    """What differs between two results of one kind, with paired intervals.

    Args:
        first: A result.
        second: Another of its kind.
        resamples: Bootstrap samples.
        seed: Feeds them.

    Raises:
        IncompatibleError: If the kinds differ, the examples are not the same, or there
            is no paired test for the kind.
    """
    how = Draws(resamples=resamples, seed=seed)
    match first:
        case TruthfulnessComparison() if isinstance(second, TruthfulnessComparison):
            return _truth(first, second, how)
        case RefusalComparison() if isinstance(second, RefusalComparison):
            return _refusal(first, second, how)
        case ConfidenceComparison() if isinstance(second, ConfidenceComparison):
            return _confidence(first, second, how)
        case ProbeSweep() if isinstance(second, ProbeSweep):
            return _sweep(first, second, how)
        case HeadScores() if isinstance(second, HeadScores):
            return _heads(first, second, how)
        case HeadAblations() if isinstance(second, HeadAblations):
            return _ablations(first, second, how)
        case KnowledgeComparison() if isinstance(second, KnowledgeComparison):
            from probes.studies.paired_maps import knowledge_numbers

            return knowledge_numbers(first, second, how)
        case PatchMap() if isinstance(second, PatchMap):
            from probes.studies.paired_maps import map_numbers

            return map_numbers(first, second, how)
        case NeuronTable() if isinstance(second, NeuronTable):
            return neuron_numbers(first, second, how)
        case HeadTimeline() if isinstance(second, HeadTimeline):
            from probes.studies.paired_training import timeline_numbers

            return timeline_numbers(first, second, how)
        case FormationRun() if isinstance(second, FormationRun):
            from probes.studies.paired_training import formation_numbers

            return formation_numbers(first, second, how)
        case TransferMatrix() if isinstance(second, TransferMatrix):
            return transfer_numbers(first, second, how)
        case _ if first.KIND == second.KIND:
            raise IncompatibleError(
                f"There is no paired test for results of the kind {first.KIND!r}.",
                expected="A kind whose results hold values of the same examples.",
            )
        case _:
            raise IncompatibleError(
                f"Results of the kinds {first.KIND!r} and {second.KIND!r} have no"
                " common numbers.",
                expected="Two results of one kind.",
            )


def _truth(
    first: TruthfulnessComparison, second: TruthfulnessComparison, how: Draws
) -> PairedNumbers:
    require_same("test statements", first.statements, second.statements)
    require_same("labels", first.labels, second.labels)
    rows = []
    for i, role in enumerate(ROLES):
        scores = (second.scores[i, i], first.scores[i, i])
        both = [float(auroc(one.astype(np.float64), first.labels)) for one in scores]
        difference = auroc_difference(
            scores[0], scores[1], first.labels, groups=first.groups, **asdict(how)
        )
        layers = f"layers {first.best_layers[i]} and {second.best_layers[i]}"
        name = f"AUROC of the {role} model's own direction, {layers}"
        rows.append(row(name, both[1], both[0], difference))
    return PairedNumbers(
        rows=table(rows),
        method="Paired bootstrap of the AUROC of test statements, over their groups.",
    )


def _refusal(
    first: RefusalComparison, second: RefusalComparison, how: Draws
) -> PairedNumbers:
    answered = [
        {
            (row.model, row.instructions, row.intervention, row.direction, row.prompt):
                row.refused
            for row in result.completions
        }
        for result in (first, second)
    ]  # fmt: skip
    common = [key for key in answered[0] if key in answered[1]]
    if not common:
        require_same("instructions", [*answered[0]], [*answered[1]])
    rows = []
    for condition in dict.fromkeys(key[:4] for key in common):
        keys = [key for key in common if key[:4] == condition]
        values = [np.array([each[key] for key in keys], float) for each in answered]
        model, instructions, intervention, direction = condition
        done = "unchanged"
        if intervention != "none":
            done = f"{direction} direction: {intervention}"
        name = f"refused of {len(keys)} {instructions}, {model} model, {done}"
        rows.append(mean_row(name, values[0], values[1], how))
    return PairedNumbers(
        rows=table(rows),
        method="Bootstrap of the difference over instructions that both answered.",
    )


def _confidence(
    first: ConfidenceComparison, second: ConfidenceComparison, how: Draws
) -> PairedNumbers:
    require_same("texts and tokens", first.groups, second.groups)
    measures = (
        ("entropy in nats", "entropy"),
        ("loss in nats", "loss"),
        ("Brier score", "brier"),
        ("share of right predictions", "correct"),
    )
    rows = [
        mean_row(
            f"{name}, {role} model",
            getattr(first, field)[i].astype(np.float64),
            getattr(second, field)[i].astype(np.float64),
            how,
            groups=first.groups,
        )
        for name, field in measures
        for i, role in enumerate(ROLES)
    ]
    rows += ablated_rows(first, second, how)
    return PairedNumbers(
        rows=table(rows),
        method="Paired bootstrap of the mean over tokens, whole texts resampled; of "
        "ablated neurons over those that both results ablated.",
    )


def _sweep(first: ProbeSweep, second: ProbeSweep, how: Draws) -> PairedNumbers:
    from probes.comparing import compare_sweeps

    try:
        found = compare_sweeps(second, first, permutations=how.resamples, **asdict(how))
    except InterpError as error:
        raise IncompatibleError(str(error)) from error
    order = np.argsort(-np.abs(found.difference.estimate), kind="stable")[:MOST_ROWS]
    rows = [
        row(
            f"AUROC at {found.sites[at]} {found.positions[at]}".strip(),
            float(found.auroc_b[at]),
            float(found.auroc_a[at]),
            one_of(found.difference, int(at)),
        )
        for at in order
    ]
    shown = table(rows)
    shown["p"] = found.p[order]
    shown["p corrected"] = found.p_corrected[order]
    shown["p of procedures"] = found.procedure_p_corrected[order]
    return PairedNumbers(
        rows=shown,
        method="probes.compare_sweeps: paired bootstrap over groups; p by swapping the "
        f"two readouts of whole groups, corrected over all {len(found.sites)} sites: "
        "of these probes on new examples. p of procedures also covers what another "
        "training set would change (corrected resampled t over folds, Holm).",
    )


def _heads(first: HeadScores, second: HeadScores, how: Draws) -> PairedNumbers:
    return _by_head(
        dict(zip(first.metrics, first.samples, strict=True)),
        dict(zip(second.metrics, second.samples, strict=True)),
        how,
    )


def _ablations(
    first: HeadAblations, second: HeadAblations, how: Draws
) -> PairedNumbers:
    before, after = (
        {
            f"change of loss, {kind}": values
            for kind, values in zip(one.kinds, one.loss_samples, strict=True)
        }
        for one in (first, second)
    )
    return _by_head(before, after, how)


def _by_head(
    first: Mapping[str, Samples], second: Mapping[str, Samples], how: Draws
) -> PairedNumbers:
    """What both results measured of every head, by its name."""
    rows = []
    for name in (name for name in first if name in second):
        rows += _head_rows(name, first[name], second[name], how)
    return PairedNumbers(
        rows=table(rows),
        method="Paired bootstrap over sequences; the heads that differ most.",
    )


def _head_rows(
    name: str,
    first: Samples,
    second: Float[np.ndarray, "other_layer other_head other_sequence"],
    how: Draws,
) -> list[Row]:
    require_same("heads and sequences", first.shape, second.shape)
    moved = np.nan_to_num(np.abs((second - first).mean(-1)))
    order = np.argsort(-moved, axis=None, kind="stable")[:MOST_ROWS]
    rows = []
    for layer, head in zip(*np.unravel_index(order, moved.shape), strict=True):
        values = [one[layer, head].astype(np.float64) for one in (first, second)]
        rows.append(mean_row(f"{name}, L{layer}H{head}", values[0], values[1], how))
    return rows
