"""What a report shows of confidence and of neurons."""

from typing import get_args

import numpy as np

from interp.figures.confidence import (
    calibration_curve,
    effect_scatter,
    overlap_curve,
    swap_bars,
)
from interp.figures.confidence_neurons import effect_strips, frequency_scatter
from interp.figures.neurons import neuron_scatter, singular_values
from interp.figures.report import Hidden, Panel
from interp.results.confidence import Chosen, ConfidenceComparison
from interp.results.neurons import NeuronTable
from interp.results.truthfulness import ROLES


N_NEURONS = 40


def confidence_panels(result: ConfidenceComparison) -> tuple[Panel, ...]:
    """The figures of a comparison, each with what it shows in words and numbers."""
    clean = [result.row(role, "none")[0] for role in ROLES]
    confidence = result.confidence_dataframe()
    panels = [
        Panel(
            name="calibration_curve",
            figure=calibration_curve(result),
            alt="Accuracy by confidence; expected calibration error "
            f"{clean[0].ece:.3f} in base and {clean[1].ece:.3f} in post.",
            rows=confidence,
        ),
        Panel(
            name="swap_bars",
            figure=swap_bars(result),
            alt="Change of entropy in each model with the candidates, random neurons "
            f"or the final gain of the other; the models differ by {result.gap:+.3f} "
            "nats.",
            rows=confidence.filter(regex="^(model|swapped|draw|entropy|share)"),
        ),
    ]
    if result.norm.size:
        panels.append(
            Panel(
                name="neuron_scatter",
                figure=neuron_scatter(result),
                alt="Norm and LogitVar of the last MLP's neurons in both models.",
                rows=result.side_by_side(),
            )
        )
    if any(row.loss_total > 0 for row in result.effects):
        said = "; ".join(
            f"{role}: {len(result.through_norm(role))} of "
            f"{len(result.effects_of(role, 'entropy'))} candidates act mostly through "
            "the norm"
            for role in ROLES
        )
        panels.append(
            Panel(
                name="effect_scatter",
                figure=effect_scatter(result),
                alt=f"Total and direct effects of ablating neurons. {said}.",
                rows=result.effects_dataframe(),
            )
        )
    if result.effects:
        panels += _ablated(result)
    if result.sizes.size:
        panels.append(
            Panel(
                name="overlap_curve",
                figure=overlap_curve(result),
                alt="Overlap of the two models' candidates by how many are taken, "
                "beside random sets.",
            )
        )
    panels.append(
        Panel(
            name="singular_values",
            figure=singular_values(result),
            alt=f"Singular values of both heads; the {result.null_directions} smallest "
            "make the null space.",
        )
    )
    return tuple(panels)


def _ablated(result: ConfidenceComparison) -> tuple[Panel, ...]:
    middle = "; ".join(
        f"{chosen}, {role}: {np.median(changes):+.2g} nats"
        for chosen in get_args(Chosen)
        for role in ROLES
        if (changes := [r.entropy_change for r in result.effects_of(role, chosen)])
    )
    rows = result.effects_dataframe()
    return (
        Panel(
            name="effect_strips",
            figure=effect_strips(result),
            alt="Change of entropy by each ablated neuron, candidates beside random "
            f"neurons of their norm. Medians: {middle}.",
            rows=rows,
        ),
        Panel(
            name="frequency_scatter",
            figure=frequency_scatter(result),
            alt="Cosine of each ablated neuron with token frequency against the share "
            "of its effect on the loss along it.",
            rows=rows.filter(regex="^(model|neuron|chosen|frequency)"),
        ),
    )


def neuron_panels(result: NeuronTable) -> tuple[Panel, ...]:
    """The figures of one model's neurons."""
    return (
        Panel(
            name="neuron_scatter",
            figure=neuron_scatter(result),
            alt="Norm and LogitVar of the last MLP's neurons.",
        ),
        Panel(
            name="singular_values",
            figure=singular_values(result),
            alt=f"Singular values of the head; the {result.null_directions} smallest "
            "make the null space.",
        ),
    )


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
