"""How sure the models are, unchanged and with parts of each other in their place."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial

import numpy as np
from jaxtyping import Int

from interp.models.language_model import LanguageModel
from interp.neurons import (
    TokenConfidence,
    calibration_error,
    matched_controls,
    ratio_interval,
    swapped_neurons,
    token_confidence,
)
from interp.neurons.output import Output
from interp.progress import progress_bar
from interp.results.confidence import ConfidenceRow, Swap
from interp.results.neurons import NeuronTable
from interp.results.truthfulness import ROLES, Role
from interp.statistics import Interval, mean_interval
from probes.studies.confidence.spec import ConfidenceSpec
from probes.studies.fields import bounded_number
from probes.studies.shards import Shards


FIELDS = tuple(field.name for field in fields(TokenConfidence))
Pair = tuple[LanguageModel, LanguageModel]
Ids = Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Swapped:
    """Confidence of two models, and what swaps do to it.

    Attributes:
        clean: Base and post as they are.
        gap: Mean entropy of post minus base.
        rows: Every model and swap, in numbers.
        n_neurons: How many neurons were swapped.
    """

    clean: tuple[TokenConfidence, TokenConfidence]
    gap: Interval
    rows: tuple[ConfidenceRow, ...]
    n_neurons: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Neurons:
    """Neurons that are taken from the other model."""

    swapped: Swap
    draw: int
    neurons: Int[np.ndarray, " chosen"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Run:
    """One pass over the texts."""

    model: Role
    swapped: Swap
    draw: int = 0
    n_neurons: int = 0
    make: Callable[[], TokenConfidence]

    def arrays(self) -> dict[str, np.ndarray]:
        done = self.make()
        return {name: getattr(done, name) for name in FIELDS}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Measured:
    run: _Run
    found: TokenConfidence


def measured(
    models: Pair,
    outputs: tuple[Output, Output],
    ids: Ids,
    tables: tuple[NeuronTable, NeuronTable],
    *,
    spec: ConfidenceSpec,
    shards: Shards | None = None,
) -> Swapped:
    """Confidence of both models as they are and with each part swapped in.

    Args:
        models: Base and post.
        outputs: Their output paths.
        ids: The tokens of the texts.
        tables: Their neurons.
        spec: The settings.
        shards: Keeps what is finished.

    Raises:
        StoppedError: If a signal asked for it; finished passes are kept.
    """
    shards = Shards() if shards is None else shards
    chosen = np.union1d(tables[0].candidates, tables[1].candidates)
    runs = _runs(models, outputs, ids, _neurons(tables[0], chosen, spec))
    found: list[_Measured] = []
    with progress_bar("swaps", len(runs), "runs") as bar:
        for run in runs:
            name = f"{run.model}-{run.swapped}-{run.draw}".replace(" ", "-")
            arrays = shards.kept_arrays(name, FIELDS, run.arrays)
            found.append(_Measured(run=run, found=TokenConfidence(**arrays)))
            bar.advance()
    base, post = (one.found for one in found if one.run.swapped == "none")
    gap = mean_interval(
        post.entropy.astype(float) - base.entropy,
        groups=base.groups,
        resamples=spec.resamples,
        seed=spec.seed,
    )
    return Swapped(
        clean=(base, post),
        gap=gap,
        rows=tuple(_row(one, (base, post), gap, spec) for one in found),
        n_neurons=chosen.size,
    )


def _runs(
    models: Pair, outputs: tuple[Output, Output], ids: Ids, swaps: Sequence[_Neurons]
) -> list[_Run]:
    """Every pass over the texts: a model as it is, with neurons, with the gain."""
    runs: list[_Run] = []
    for i, role in enumerate(ROLES):
        model, donor, output = models[i], models[1 - i], outputs[i]
        norm = output.final_norm
        gain = outputs[1 - i].final_norm.gain.to(norm.gain.device)
        other = replace(output, final_norm=replace(norm, gain=gain))
        runs += [
            _Run(
                model=role, swapped="none", make=partial(token_confidence, model, ids)
            ),
            *(
                _Run(
                    model=role,
                    swapped=one.swapped,
                    draw=one.draw,
                    n_neurons=one.neurons.size,
                    make=partial(_with_neurons, model, donor, one, ids, output),
                )
                for one in swaps
            ),
            _Run(
                model=role,
                swapped="final gain",
                make=partial(token_confidence, model, ids, output=other),
            ),
        ]
    return runs


def _with_neurons(
    model: LanguageModel, donor: LanguageModel, one: _Neurons, ids: Ids, output: Output
) -> TokenConfidence:
    with swapped_neurons(model, donor, one.neurons.tolist()):
        return token_confidence(model, ids, output=output)


def _neurons(
    table: NeuronTable, chosen: Int[np.ndarray, " chosen"], spec: ConfidenceSpec
) -> list[_Neurons]:
    if not chosen.size:
        return []
    swaps = [_Neurons(swapped="entropy neurons", draw=0, neurons=chosen)]
    if spec.controls and table.norm.size >= 2 * chosen.size:
        draws = matched_controls(
            table.norm, chosen, draws=spec.controls, seed=spec.seed
        )
        swaps += [
            _Neurons(swapped="random neurons", draw=number, neurons=draw)
            for number, draw in enumerate(draws)
        ]
    return swaps


def _row(
    one: _Measured,
    clean: tuple[TokenConfidence, TokenConfidence],
    gap: Interval,
    spec: ConfidenceSpec,
) -> ConfidenceRow:
    found, run = one.found, one.run
    options = {"groups": found.groups, "resamples": spec.resamples, "seed": spec.seed}
    own = ROLES.index(run.model)
    means = mean_interval(
        np.stack([found.entropy, found.loss, found.top, found.brier]).astype(float),
        **options,
    )
    # Truth values for themselves: a share has an interval of its own kind.
    accuracy = mean_interval(found.correct, **options)
    ece = calibration_error(found.top, found.correct, **options)
    moved = found.entropy.astype(float) - clean[own].entropy
    bounds = {
        **bounded_number("accuracy", accuracy),
        **bounded_number("entropy_change", mean_interval(moved, **options)),
    }
    for place, name in enumerate(("entropy", "loss", "top", "brier")):
        bounds |= bounded_number(name, means, at=place)
    if run.swapped != "none" and (gap.low > 0 or gap.high < 0):
        away = clean[1 - own].entropy.astype(float) - clean[own].entropy
        bounds |= bounded_number("share", ratio_interval(moved, away, **options))
    else:
        bounds |= dict.fromkeys(("share", "share_low", "share_high"), np.nan)
    return ConfidenceRow(
        model=run.model,
        swapped=run.swapped,
        draw=run.draw,
        n_neurons=run.n_neurons,
        ece=ece.estimate,
        ece_low=ece.low,
        ece_high=ece.high,
        ece_debiased=ece.debiased,
        ece_consistent=ece.consistent,
        ece_p=ece.p,
        **bounds,
    )
