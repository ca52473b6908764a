"""Which neurons are ablated in the confidence study, and what that does in numbers."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from torch import Tensor

from interp.models.language_model import LanguageModel
from interp.neurons import effects, matched_controls, ratio_interval
from interp.results.confidence import Chosen, NeuronEffect
from interp.results.neurons import NeuronEffects, NeuronTable
from interp.results.truthfulness import Role
from interp.statistics import mean_interval
from probes.studies.confidence.spec import ConfidenceSpec
from probes.studies.fields import bounded_number


Tested = list[tuple[Chosen, int]]


def ablated(
    model: LanguageModel,
    ids: Sequence[Sequence[int]],
    table: NeuronTable,
    cosine: Float[np.ndarray, " neuron"],
    unigram: Float[Tensor, " vocab"],
    *,
    role: Role,
    spec: ConfidenceSpec,
) -> tuple[NeuronEffect, ...]:
    """The effects of one model's candidates, their controls and frequency neurons.

    Args:
        model: The model.
        ids: The tokens of the texts, of which the first are used.
        table: What its weights say.
        cosine: Of each neuron with token frequency.
        unigram: The direction of token frequency.
        role: Which of the two models it is.
        spec: The settings.
    """
    tested = _tested(table, cosine, spec)
    neurons = list(dict.fromkeys(neuron for _, neuron in tested))
    if not neurons:
        return ()
    done = effects(model, ids[: spec.effect_texts], neurons, unigram=unigram)
    place = {neuron: number for number, neuron in enumerate(neurons)}
    return tuple(
        _row(done, place[neuron], table, cosine, (role, chosen, neuron), spec)
        for chosen, neuron in tested
    )


def _tested(
    table: NeuronTable, cosine: Float[np.ndarray, " neuron"], spec: ConfidenceSpec
) -> Tested:
    found: Tested = [("entropy", int(neuron)) for neuron in table.candidates]
    if table.norm.size >= 2 * table.candidates.size:
        controls = matched_controls(
            table.norm, table.candidates, draws=1, seed=spec.seed
        )[0]
        for neuron in controls:
            found.append(("control", int(neuron)))
    order = np.argsort(-np.abs(cosine), kind="stable")[: spec.frequency_neurons]
    for neuron in order:
        found.append(("frequency", int(neuron)))
    return found


def _row(
    done: NeuronEffects,
    place: int,
    table: NeuronTable,
    cosine: Float[np.ndarray, " neuron"],
    which: tuple[Role, Chosen, int],
    spec: ConfidenceSpec,
) -> NeuronEffect:
    role, chosen, neuron = which
    options = {"groups": done.groups, "resamples": spec.resamples, "seed": spec.seed}
    total, direct = (
        np.abs(values[place]) for values in (done.loss_total, done.loss_direct)
    )
    loss = mean_interval(np.stack([total, direct]), **options)
    kept = ratio_interval(direct, total, **options)
    entropy = mean_interval(done.entropy_total[place], **options)
    return NeuronEffect(
        model=role,
        neuron=neuron,
        chosen=chosen,
        norm=float(table.norm[neuron]),
        logit_var=float(table.logit_var[neuron]),
        null_fraction=float(table.null_fraction[neuron]),
        frequency_cosine=float(cosine[neuron]),
        **bounded_number("loss_total", loss, at=0),
        **bounded_number("loss_direct", loss, at=1),
        mediated=1 - float(kept.estimate),
        mediated_low=1 - float(kept.high),
        mediated_high=1 - float(kept.low),
        **bounded_number("entropy_change", entropy),
        entropy_direct=float(done.entropy_direct[place].mean()),
        kl=float(done.kl[place].mean()),
        argmax_changed=float(done.argmax_changed[place].mean()),
        frequency_mediated=float(done.frequency_mediated()[place]),
    )
