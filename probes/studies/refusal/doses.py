"""Dose-response: the first token of answers while a direction is added more or less."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.results import RefusalDose
from interp.results.refusal import Instructions, Source
from interp.results.truthfulness import Role
from interp.statistics import mean_interval, wilson
from probes.studies.refusal.candidates_clean import chance_measure, clean_runs
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
    own: dict[Source, Vector] = {
        source: one for (role, source), one in vectors.items() if role == side.role
    }
    if not own or not spec.coefficients:
        return ()
    layer = next(iter(own.values())).layer
    arms: list[tuple[Source, int, Float[Tensor, " d_model"]]] = [
        (source, 0, one.vector) for source, one in own.items() if source != "random"
    ]
    length = next(iter(own.values())).vector
    for draw in range(spec.controls):
        arms.append(("random", draw, random_vector(length, seed=spec.seed + draw)))
    rows: list[RefusalDose] = []
    kinds: tuple[tuple[Instructions, int], ...] = (("harmless", 1), ("harmful", -1))
    prompts = [side.template.ids(side.model, texts[kind]) for kind, _ in kinds]
    runs = clean_runs(side.model, *prompts)
    for (kind, sign), clean in zip(kinds, runs, strict=True):
        steps = [sign * step for step in spec.coefficients]
        stacked = torch.stack([step * arm[2] for arm in arms for step in steps])
        layers = [layer] * len(stacked)
        scores = refusal_score(clean.run.added(layers, stacked, chance_measure(tokens)))
        asked: list[tuple[Source, int, float]] = [
            (source, draw, step) for source, draw, _ in arms for step in steps
        ]
        rows += _rows(side.role, kind, asked, scores, seed=spec.seed)
    return tuple(rows)


def _rows(
    role: Role,
    kind: Instructions,
    asked: Sequence[tuple[Source, int, float]],
    scores: Float[np.ndarray, "arm example"],
    *,
    seed: int,
) -> list[RefusalDose]:
    means = mean_interval(scores, seed=seed)
    rows: list[RefusalDose] = []
    for i, (source, draw, coefficient) in enumerate(asked):
        share = wilson(int((scores[i] > 0).sum()), scores.shape[1])
        rows.append(
            RefusalDose(
                model=role,
                instructions=kind,
                direction=source,
                draw=draw,
                coefficient=coefficient,
                n=share.n,
                score=float(means.estimate[i]),
                score_low=float(means.low[i]),
                score_high=float(means.high[i]),
                refused=share.successes,
                rate=share.rate,
                low=share.low,
                high=share.high,
            )
        )
    return rows
