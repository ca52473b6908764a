"""Dose-response: the first token of answers while a direction is added more or less."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.results import RefusalDose
from interp.results.refusal import Instructions, Source
from interp.results.truthfulness import Role
from interp.statistics import mean_interval, wilson
from probes.studies.refusal.candidates_grid import CleanRun, chance_measure
from probes.studies.refusal.completions import Vector, random_vector
from probes.studies.refusal.score import refusal_score
from probes.studies.refusal.setting import Side
from probes.studies.refusal.spec import RefusalSpec


def doses(
    side: Side,
    texts: Mapping[Instructions, Sequence[str]],
    vectors: Mapping[tuple[Role, Source], Vector],
    tokens: Sequence[int],
    *,
    spec: RefusalSpec,
) -> tuple[RefusalDose, ...]:
    """The refusal scores of a model under every direction at every strength.

    Directions are added for harmless and subtracted for harmful instructions, before
    the block where they were found and at every token.

    Args:
        side: The model.
        texts: The instructions of each class.
        vectors: The directions as they are used in each model.
        tokens: The refusal tokens.
        spec: The strengths and how many random vectors.
    """
    own = {source: one for (role, source), one in vectors.items() if role == side.role}
    if not own or not spec.coefficients:
        return ()
    layer = next(iter(own.values())).layer
    arms: list[tuple[Source, int, Float[Tensor, " d_model"]]] = [
        (source, 0, one.vector) for source, one in own.items() if source != "random"
    ]
    length = next(iter(own.values())).vector
    arms += [
        ("random", draw, random_vector(length, seed=spec.seed + draw))
        for draw in range(spec.controls)
    ]
    rows: list[RefusalDose] = []
    kinds: tuple[tuple[Instructions, int], ...] = (("harmless", 1), ("harmful", -1))
    for kind, sign in kinds:
        run = CleanRun.of(side.model, side.template.ids(side.model, texts[kind])).run
        steps = [sign * step for step in spec.coefficients]
        stacked = torch.stack([step * arm[2] for arm in arms for step in steps])
        chances = run.added(layer, stacked, chance_measure(tokens))
        scores = iter(refusal_score(chances))
        rows += [
            _with_scores(
                _blank(side.role, kind, source, draw, step),
                next(scores),
                seed=spec.seed,
            )
            for source, draw, _ in arms
            for step in steps
        ]
    return tuple(rows)


def _with_scores(
    blank: RefusalDose, scores: Float[np.ndarray, " example"], *, seed: int
) -> RefusalDose:
    mean = mean_interval(scores, seed=seed)
    share = wilson(int((scores > 0).sum()), len(scores))
    return replace(
        blank,
        n=share.n,
        score=float(mean.estimate),
        score_low=float(mean.low),
        score_high=float(mean.high),
        refused=share.successes,
        rate=share.rate,
        low=share.low,
        high=share.high,
    )


def _blank(
    role: Role, kind: Instructions, source: Source, draw: int, step: float
) -> RefusalDose:
    nan = float("nan")
    return RefusalDose(
        model=role,
        instructions=kind,
        direction=source,
        draw=draw,
        coefficient=step,
        n=0,
        score=nan,
        score_low=nan,
        score_high=nan,
        refused=0,
        rate=nan,
        low=nan,
        high=nan,
    )
