"""How sure the models are, unchanged and with parts of each other in their place."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

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
class _Measured:
    model: Role
    swapped: Swap
    draw: int
    n_neurons: int
    found: TokenConfidence


def measured(
    models: Pair,
    outputs: tuple[Output, Output],
    ids: Ids,
    tables: tuple[NeuronTable, NeuronTable],
    *,
    spec: ConfidenceSpec,
) -> Swapped:
    """Confidence of both models as they are and with each part swapped in.

    Args:
        models: Base and post.
        outputs: Their output paths.
        ids: The tokens of the texts.
        tables: Their neurons.
        spec: The settings.
    """
    chosen = np.union1d(tables[0].candidates, tables[1].candidates)
    swaps = _neurons(tables[0], chosen, spec)
    clean = (token_confidence(models[0], ids), token_confidence(models[1], ids))
    found: list[_Measured] = []
    with progress_bar("swaps", 2 * (len(swaps) + 1), "runs") as bar:
        for i, role in enumerate(ROLES):
            model, donor = models[i], models[1 - i]
            found.append(_as(role, "none", 0, 0, clean[i]))
            for name, draw, neurons in swaps:
                with swapped_neurons(model, donor, neurons.tolist()):
                    done = token_confidence(model, ids, output=outputs[i])
                found.append(_as(role, name, draw, neurons.size, done))
                bar.advance()
            norm = outputs[i].final_norm
            gain = outputs[1 - i].final_norm.gain.to(norm.gain.device)
            output = replace(outputs[i], final_norm=replace(norm, gain=gain))
            done = token_confidence(model, ids, output=output)
            found.append(_as(role, "final gain", 0, 0, done))
            bar.advance()
    options = {"groups": clean[0].groups, "resamples": spec.resamples}
    gap = mean_interval(
        clean[1].entropy.astype(float) - clean[0].entropy, **options, seed=spec.seed
    )
    return Swapped(
        clean=clean,
        gap=gap,
        rows=tuple(_row(one, clean, gap, spec) for one in found),
        n_neurons=chosen.size,
    )


def _neurons(
    table: NeuronTable, chosen: Int[np.ndarray, " chosen"], spec: ConfidenceSpec
) -> list[tuple[Swap, int, Int[np.ndarray, " chosen"]]]:
    if not chosen.size:
        return []
    swaps: list[tuple[Swap, int, np.ndarray]] = [("entropy neurons", 0, chosen)]
    if spec.controls and table.norm.size >= 2 * chosen.size:
        draws = matched_controls(
            table.norm, chosen, draws=spec.controls, seed=spec.seed
        )
        for number, draw in enumerate(draws):
            swaps.append(("random neurons", number, draw))
    return swaps


def _as(
    model: Role, swapped: Swap, draw: int, n_neurons: int, found: TokenConfidence
) -> _Measured:
    return _Measured(
        model=model, swapped=swapped, draw=draw, n_neurons=n_neurons, found=found
    )


def _row(
    one: _Measured,
    clean: tuple[TokenConfidence, TokenConfidence],
    gap: Interval,
    spec: ConfidenceSpec,
) -> ConfidenceRow:
    found = one.found
    options = {"groups": found.groups, "resamples": spec.resamples, "seed": spec.seed}
    own = ROLES.index(one.model)
    means = mean_interval(
        np.stack(
            [found.entropy, found.loss, found.top, found.correct, found.brier]
        ).astype(float),
        **options,
    )
    values = np.stack([means.estimate, means.low, means.high], axis=1).tolist()
    ece = calibration_error(found.top, found.correct, **options)
    moved = found.entropy.astype(float) - clean[own].entropy
    change = mean_interval(moved, **options)
    share = (np.nan, np.nan, np.nan)
    if one.swapped != "none" and (gap.low > 0 or gap.high < 0):
        away = clean[1 - own].entropy.astype(float) - clean[own].entropy
        ratio = ratio_interval(moved, away, **options)
        share = (float(ratio.estimate), float(ratio.low), float(ratio.high))
    names = ("entropy", "loss", "top", "accuracy", "brier")
    bounds: dict[str, float] = {}
    triples = [
        *zip(names, values, strict=True),
        ("ece", (float(ece.estimate), float(ece.low), float(ece.high))),
        (
            "entropy_change",
            (float(change.estimate), float(change.low), float(change.high)),
        ),
        ("share", share),
    ]
    for name, (estimate, low, high) in triples:
        bounds |= {name: estimate, f"{name}_low": low, f"{name}_high": high}
    return ConfidenceRow(
        model=one.model,
        swapped=one.swapped,
        draw=one.draw,
        n_neurons=one.n_neurons,
        **bounds,
    )
