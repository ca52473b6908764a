"""What a report shows of confidence and of neurons."""

from typing import get_args

import numpy as np
import pandas as pd

from interp.figures.confidence import (
    calibration_curve,
    effect_scatter,
    overlap_curve,
    swap_bars,
)
from interp.figures.confidence_neurons import effect_strips, frequency_scatter
from interp.figures.neurons import neuron_scatter, singular_values
from interp.figures.report import Hidden, Panel, panel
from interp.results.confidence import Chosen, ConfidenceComparison
from interp.results.neurons import NeuronTable
from interp.results.truthfulness import ROLES


N_NEURONS = 40


def confidence_panels(result: ConfidenceComparison) -> tuple[Panel, ...]:
    """The figures of a comparison, each with what it shows in words and numbers."""
    return (
        *_sure(result),
        *_weights(result),
        *_ablated(result),
        *_overlap(result),
        *_head(result),
    )


def _sure(result: ConfidenceComparison) -> tuple[Panel, ...]:
    clean = [result.row(role, "none")[0] for role in ROLES]
    rows = result.confidence_dataframe()
    return (
        panel(
            calibration_curve,
            result,
            alt="Accuracy by confidence; expected calibration error "
            f"{clean[0].ece:.3f} in base and {clean[1].ece:.3f} in post.",
            rows=rows,
        ),
        panel(
            swap_bars,
            result,
            alt="Change of entropy in each model with the candidates, random neurons "
            f"or the final gain of the other; the models differ by {result.gap:+.3f} "
            "nats.",
            rows=rows.filter(regex="^(model|swapped|draw|entropy|share)"),
        ),
    )


def _weights(result: ConfidenceComparison) -> tuple[Panel, ...]:
    if not result.norm.size:
        return ()
    alt = "Norm and LogitVar of the last MLP's neurons in both models."
    return (panel(neuron_scatter, result, alt=alt, rows=result.side_by_side()),)


def _overlap(result: ConfidenceComparison) -> tuple[Panel, ...]:
    if not result.sizes.size:
        return ()
    alt = "Overlap of the two models' candidates by how many are taken, "
    return (panel(overlap_curve, result, alt=alt + "beside random sets."),)


def _head(result: NeuronTable | ConfidenceComparison) -> tuple[Panel, ...]:
    alt = "Singular values of the head (of each model); the "
    alt += f"{result.null_directions} smallest make the null space."
    return (panel(singular_values, result, alt=alt),)


def _ablated(result: ConfidenceComparison) -> tuple[Panel, ...]:
    if not result.effects:
        return ()
    middle = "; ".join(
        f"{chosen}, {role}: {np.median(changes):+.2g} nats"
        for chosen in get_args(Chosen)
        for role in ROLES
        if (changes := [r.entropy_change for r in result.effects_of(role, chosen)])
    )
    rows = result.effects_dataframe()
    return (
        *_through_norm(result, rows),
        panel(
            effect_strips,
            result,
            alt="Change of entropy by each ablated neuron, candidates beside random "
            f"neurons of their norm. Medians: {middle}.",
            rows=rows,
        ),
        panel(
            frequency_scatter,
            result,
            alt="Cosine of each ablated neuron with token frequency against the share "
            "of its effect on the loss along it.",
            rows=rows.filter(regex="^(model|neuron|chosen|frequency)"),
        ),
    )


def _through_norm(
    result: ConfidenceComparison, rows: pd.DataFrame
) -> tuple[Panel, ...]:
    # On logarithmic axes there is nothing to draw of effects that are all zero.
    if not any(row.loss_total > 0 for row in result.effects):
        return ()
    said = "; ".join(
        f"{role}: {len(result.through_norm(role))} of "
        f"{len(result.effects_of(role, 'entropy'))} candidates act mostly through "
        "the norm"
        for role in ROLES
    )
    alt = f"Total and direct effects of ablating neurons. {said}."
    return (panel(effect_scatter, result, alt=alt, rows=rows),)


def neuron_panels(result: NeuronTable) -> tuple[Panel, ...]:
    """The figures of one model's neurons."""
    alt = "Norm and LogitVar of the last MLP's neurons."
    return (panel(neuron_scatter, result, alt=alt), *_head(result))


def neuron_tables(result: NeuronTable | ConfidenceComparison) -> tuple[Hidden, ...]:
    """The neurons of large norm and small LogitVar, in numbers."""
    frame = result.to_dataframe()
    best = frame[frame["candidate"]].index
    rest = np.setdiff1d(frame.index, best)
    ordered = [*best, *frame.loc[rest].sort_values("logit_var").index]
    return (
        Hidden(
            title="Candidates, and other neurons of small LogitVar",
            rows=frame.loc[ordered[:N_NEURONS]],
        ),
    )
