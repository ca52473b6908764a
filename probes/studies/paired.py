"""The numbers of two results beside each other, with paired intervals where one exists.

Paired means that both results hold a value for each of the same examples: intervals of
the difference are then of what differs, and not of the examples. Knows no torch; only
the comparison of patching maps imports it when it is asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
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
    TruthfulnessComparison,
)
from interp.results.truthfulness import ROLES
from interp.statistics import Interval, auroc, auroc_difference, mean_interval


# So many heads or sites are told, those that differ most.
MOST_ROWS = 12
COLUMNS = ("number", "first", "second", "second - first", "low", "high")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairedNumbers:
    """Numbers of two results.

    Attributes:
        rows: The number, both values, their difference and its 95 % interval.
        method: How the interval was made, in a sentence.
    """

    rows: pd.DataFrame
    method: str


def imports_torch(result: Result) -> bool:
    """Whether comparing results of this kind takes the time of importing torch."""
    return isinstance(result, PatchMap | KnowledgeComparison)


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
    how = {"resamples": resamples, "seed": seed}
    match first, second:
        case TruthfulnessComparison(), TruthfulnessComparison():
            return _truth(first, second, how)
        case RefusalComparison(), RefusalComparison():
            return _refusal(first, second, how)
        case ConfidenceComparison(), ConfidenceComparison():
            return _confidence(first, second, how)
        case ProbeSweep(), ProbeSweep():
            return _sweep(first, second, how)
        case HeadScores(), HeadScores():
            return _heads(first, second, how)
        case HeadAblations(), HeadAblations():
            return _ablations(first, second, how)
        case KnowledgeComparison(), KnowledgeComparison():
            from probes.studies.paired_maps import knowledge_numbers

            return knowledge_numbers(first, second, resamples=resamples, seed=seed)
        case PatchMap(), PatchMap():
            from probes.studies.paired_maps import map_numbers

            return map_numbers(first, second, resamples=resamples, seed=seed)
        case ((NeuronTable() | HeadTimeline() | FormationRun()), _):
            raise IncompatibleError(
                f"There is no paired test for results of the kind {first.KIND!r}.",
                expected="Values for the same examples in both; this kind keeps none.",
            )
        case _:
            raise IncompatibleError(
                f"Results of the kinds {first.KIND!r} and {second.KIND!r} have no"
                " common numbers.",
                expected="Two results of one kind.",
            )


def table(rows: Sequence[tuple[object, ...]]) -> pd.DataFrame:
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


def _truth(
    first: TruthfulnessComparison, second: TruthfulnessComparison, how: dict[str, int]
) -> PairedNumbers:
    require_same("test statements", first.statements, second.statements)
    require_same("labels", first.labels, second.labels)
    rows = []
    for i, role in enumerate(ROLES):
        scores = (second.scores[i, i], first.scores[i, i])
        both = [float(auroc(one.astype(np.float64), first.labels)) for one in scores]
        difference = auroc_difference(
            scores[0], scores[1], first.labels, groups=first.groups, **how
        )
        layers = f"layers {first.best_layers[i]} and {second.best_layers[i]}"
        name = f"AUROC of the {role} model's own direction, {layers}"
        rows.append(_row(name, both[1], both[0], difference))
    return PairedNumbers(
        rows=table(rows),
        method="Paired bootstrap of the AUROC of test statements, over their groups.",
    )


def _refusal(
    first: RefusalComparison, second: RefusalComparison, how: dict[str, int]
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
        rows.append(_mean_row(name, values[0], values[1], None, how))
    return PairedNumbers(
        rows=table(rows),
        method="Bootstrap of the difference over instructions that both answered.",
    )


def _confidence(
    first: ConfidenceComparison, second: ConfidenceComparison, how: dict[str, int]
) -> PairedNumbers:
    require_same("texts and tokens", first.groups, second.groups)
    measures = (
        ("entropy in nats", "entropy"),
        ("loss in nats", "loss"),
        ("Brier score", "brier"),
        ("share of right predictions", "correct"),
    )
    rows = [
        _mean_row(
            f"{name}, {role} model",
            getattr(first, field)[i].astype(np.float64),
            getattr(second, field)[i].astype(np.float64),
            first.groups,
            how,
        )
        for name, field in measures
        for i, role in enumerate(ROLES)
    ]
    return PairedNumbers(
        rows=table(rows),
        method="Paired bootstrap of the mean over tokens, whole texts resampled.",
    )


def _sweep(first: ProbeSweep, second: ProbeSweep, how: dict[str, int]) -> PairedNumbers:
    from probes.comparing import compare_sweeps

    try:
        found = compare_sweeps(second, first, permutations=how["resamples"], **how)
    except InterpError as error:
        raise IncompatibleError(str(error)) from error
    order = np.argsort(-np.abs(found.difference.estimate), kind="stable")[:MOST_ROWS]
    rows = [
        _row(
            f"AUROC at {found.sites[at]} {found.positions[at]}".strip(),
            float(found.auroc_b[at]),
            float(found.auroc_a[at]),
            _at(found.difference, int(at)),
        )
        for at in order
    ]
    shown = table(rows)
    shown["p"] = found.p[order]
    shown["p corrected"] = found.p_corrected[order]
    return PairedNumbers(
        rows=shown,
        method="probes.compare_sweeps: paired bootstrap over groups; p by swapping the "
        f"two readouts of whole groups, corrected over all {len(found.sites)} sites.",
    )


def _heads(first: HeadScores, second: HeadScores, how: dict[str, int]) -> PairedNumbers:
    rows = []
    for name in first.metrics:
        if name not in second.metrics:
            continue
        at = first.metrics.index(name), second.metrics.index(name)
        samples = first.samples[at[0]], second.samples[at[1]]
        rows += _head_rows(name, samples[0], samples[1], how)
    return PairedNumbers(
        rows=table(rows),
        method="Paired bootstrap over sequences; the heads that differ most.",
    )


def _ablations(
    first: HeadAblations, second: HeadAblations, how: dict[str, int]
) -> PairedNumbers:
    rows = []
    for name in first.kinds:
        if name not in second.kinds:
            continue
        at = first.kinds.index(name), second.kinds.index(name)
        samples = first.loss_samples[at[0]], second.loss_samples[at[1]]
        rows += _head_rows(f"change of loss, {name}", samples[0], samples[1], how)
    return PairedNumbers(
        rows=table(rows),
        method="Paired bootstrap over sequences; the heads that differ most.",
    )


def _head_rows(
    name: str,
    first: Float[np.ndarray, "layer head sequence"],
    second: Float[np.ndarray, "other_layer other_head other_sequence"],
    how: dict[str, int],
) -> list[tuple[object, ...]]:
    require_same("heads and sequences", first.shape, second.shape)
    moved = np.nan_to_num(np.abs((second - first).mean(-1)))
    order = np.argsort(-moved, axis=None, kind="stable")[:MOST_ROWS]
    rows = []
    for layer, head in zip(*np.unravel_index(order, moved.shape), strict=True):
        values = [one[layer, head].astype(np.float64) for one in (first, second)]
        rows.append(
            _mean_row(f"{name}, L{layer}H{head}", values[0], values[1], None, how)
        )
    return rows


def _mean_row(
    name: str,
    first: Float[np.ndarray, " example"],
    second: Float[np.ndarray, " example"],
    groups: np.ndarray | None,
    how: dict[str, int],
) -> tuple[object, ...]:
    difference = mean_interval(second - first, groups=groups, **how)
    return _row(name, float(first.mean()), float(second.mean()), difference)


def _row(
    name: str, first: float, second: float, difference: Interval
) -> tuple[object, ...]:
    ends = (difference.estimate, difference.low, difference.high)
    return (name, first, second, *(float(one) for one in ends))


def _at(interval: Interval, index: int) -> Interval:
    ends = (interval.estimate, interval.low, interval.high)
    estimate, low, high = (np.asarray(one[index]) for one in ends)
    return Interval(estimate=estimate, low=low, high=high)
