"""The rows of a refusal result: candidates, rates, doses, answers."""

import math
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import pandas as pd

from interp.results.files import Number
from interp.results.truthfulness import Role
from interp.statistics import Proportion, wilson


Instructions = Literal["harmful", "harmless"]
# `affine` sets the projection to its mean over harmless prompts instead of to zero.
Intervention = Literal["none", "ablate", "affine", "add"]
Source = Literal["none", "base", "post", "random"]
Mode = Literal["substring", "prefix", "metric"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstructionCount:
    """How many instructions of a split survived the refusal filter of a model."""

    model: Role
    instructions: Instructions
    split: Literal["train", "val", "test"]
    given: int
    kept: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalCandidate:
    """One candidate direction and its fate.

    Attributes:
        model: Whose direction.
        layer: The layer of `resid_pre`, counted from 0.
        position: Counted from the end of the prompt, -1 for its last token.
        token: That token, decoded.
        bypass: Mean refusal score on harmful prompts with the direction ablated.
        induce: Mean refusal score on harmless prompts with the vector added.
        kl: Mean divergence on harmless prompts with the direction ablated.
        fate: `chosen`, `passed`, or why it fell.
        norm: Length of the vector; it is added as long as it is.
        relative_norm: That length over the length of the mean harmless activation.
        rank: 1 for the chosen one, 2 for the next best; None if it fell.
        share: In which share of resampled validation prompts it is chosen.
    """

    model: Role
    layer: int
    position: int
    token: str
    bypass: Number
    induce: Number
    kl: Number
    fate: str
    norm: Number = math.nan
    relative_norm: Number = math.nan
    rank: int | None = None
    share: Number = math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalDirection:
    """The direction that was chosen for a model, or why there is none.

    Attributes:
        model: Whose direction.
        layer: Its layer, or None if no candidate was usable.
        position: Its position, or None.
        token: The token there, decoded.
        norm: Length of the vector.
        reason: Why there is none; empty if there is one.
        refusal_tokens: The first tokens by which refusals were recognised.
    """

    model: Role
    layer: int | None
    position: int | None
    token: str
    norm: Number
    reason: str
    refusal_tokens: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalCondition:
    """How often a model refuses under one intervention.

    Attributes:
        model: The model that answers.
        instructions: What it is asked.
        intervention: What is done to it.
        direction: Whose direction is used, `random` for one of equal norm, or `none`.
        n: How many answers.
        refused: How many contain a refusal phrase and do not loop.
        rate: Their share.
        low: Lower end of its 95 % Wilson interval.
        high: Upper end.
        refused_prefix: How many begin with a refusal phrase.
        looping: How many repeat themselves.
        score: Mean refusal score of the first answer position.
        refused_metric: How many have a refusal score above 0, looping or not; None in
            results of older versions.
    """

    model: Role
    instructions: Instructions
    intervention: Intervention
    direction: Source
    n: int
    refused: int
    rate: Number
    low: Number
    high: Number
    refused_prefix: int
    looping: int
    score: Number
    refused_metric: int | None = None

    def share(self, mode: Mode) -> Proportion:
        """How many refuse by one way of judging, with a Wilson interval.

        Args:
            mode: A phrase anywhere (`substring`), at the beginning (`prefix`), or the
                refusal score of the first token (`metric`).
        """
        counts = {
            "substring": self.refused,
            "prefix": self.refused_prefix,
            "metric": self.refused_metric or 0,
        }
        return wilson(counts[mode], self.n)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalDose:
    """What adding a direction at one strength does to the first token of answers.

    Attributes:
        model: The model that answers.
        instructions: What it is asked.
        direction: Whose direction is added; all have the length of the model's own.
        draw: Which of several random vectors.
        coefficient: Strength; negative where the vector is subtracted.
        n: How many prompts.
        score: Their mean refusal score.
        score_low: Lower end of its 95 % bootstrap interval over prompts.
        score_high: Upper end.
        refused: How many have a score above 0.
        rate: Their share.
        low: Lower end of its 95 % Wilson interval.
        high: Upper end.
    """

    model: Role
    instructions: Instructions
    direction: Source
    draw: int = 0
    coefficient: float
    n: int
    score: Number
    score_low: Number
    score_high: Number
    refused: int
    rate: Number
    low: Number
    high: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalCosine:
    """How alike the two models' directions are at one place.

    Attributes:
        template: Whether each model read prompts in its own template, or both in the
            post-trained one's: a low cosine can come from the template alone.
        position: Counted from the end of the prompt.
        layer: The layer of `resid_pre`.
        base_token: The token there in the base model's prompts.
        post_token: The token there in the post-trained model's.
        cosine: NaN where a direction has no length.
    """

    template: Literal["own", "common"]
    position: int
    layer: int
    base_token: str
    post_token: str
    cosine: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalSideEffect:
    """What ablating a direction does to the post-trained model beside refusal.

    Means are over tokens of ordinary text, in nats, with 95 % intervals from resampling
    whole texts; rates are over answers to harmless instructions, with Wilson intervals.

    Attributes:
        direction: Whose direction is ablated.
        text: What text it is.
        n_texts: How many texts.
        n_tokens: How many predicted tokens.
        loss_clean: Cross-entropy of the unchanged model.
        loss_change: How much it rises, paired token by token.
        divergence: KL(P_clean || P_edited) for each token.
        n_answers: How many harmless instructions were answered.
        false_refusals: Share of them that is refused.
        looping: Share of the answers that loop.
        distinct: Mean share of different runs of 1, 2 and 3 words in an answer.
    """

    direction: Source
    text: str
    n_texts: int
    n_tokens: int
    loss_clean: Number
    loss_change: Number
    loss_change_low: Number
    loss_change_high: Number
    divergence: Number
    divergence_low: Number
    divergence_high: Number
    n_answers: int
    false_refusals: Number
    false_refusals_low: Number
    false_refusals_high: Number
    looping: Number
    distinct: tuple[Number, Number, Number]


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalPunctuation:
    """How much a candidate looks like a mark at the end of the instruction.

    Attributes:
        model: Whose direction.
        position: Counted from the end of the prompt.
        layer: The layer of `resid_pre`.
        cosine: With mean(with a mark) - mean(without), over the same instructions.
        null: Its absolute value stays below this in 95 % of cases if marks do nothing.
    """

    model: Role
    position: int
    layer: int
    cosine: Number
    null: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreInterval:
    """A score of the chosen direction on validation prompts.

    Attributes:
        name: `bypass`, `induce` or `kl`.
        clean: The same of the unchanged model: harmful, harmless, 0.
        estimate: The mean.
        low: Lower end of its 95 % bootstrap interval.
        high: Upper end.
    """

    name: Literal["bypass", "induce", "kl"]
    clean: Number
    estimate: Number
    low: Number
    high: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalLimits:
    """What a candidate had to reach to be used; NaN where there was no such limit.

    Attributes:
        first_late_layer: Layers from this one on are left out.
        max_bypass: Ablation must bring harmful prompts below this refusal score.
        min_induce: Addition must bring harmless prompts to at least this.
        max_kl: Ablation may change harmless answers by at most this, in nats.
    """

    first_late_layer: int
    max_bypass: Number = math.nan
    min_induce: Number = math.nan
    max_kl: Number = math.nan

    def missed(self, candidate: RefusalCandidate) -> tuple[str, ...]:
        """What a candidate does not reach, each in a few words; nothing if it passes.

        Example:
            >>> limits = RefusalLimits(first_late_layer=6, max_kl=0.1)
            >>> one = RefusalCandidate(model="post", layer=7, position=-1, token="",
            ...                        bypass=-1.0, induce=2.0, kl=0.4, fate="")
            >>> limits.missed(one)
            ('layer 7 is not below 6', 'KL 0.4 is above 0.1')
        """
        found: list[str] = []
        if candidate.layer >= self.first_late_layer:
            found.append(
                f"layer {candidate.layer} is not below {self.first_late_layer}"
            )
        if candidate.bypass >= self.max_bypass:
            found.append(
                f"bypass {candidate.bypass:.3g} is not below {self.max_bypass:.3g}"
            )
        if candidate.induce < self.min_induce:
            found.append(
                f"induce {candidate.induce:.3g} is below {self.min_induce:.3g}"
            )
        if candidate.kl > self.max_kl:
            found.append(f"KL {candidate.kl:.3g} is above {self.max_kl:.3g}")
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """One answer."""

    model: Role
    instructions: Instructions
    intervention: Intervention
    direction: Source
    prompt: str
    completion: str
    refused: bool
    refused_prefix: bool
    looping: bool
    score: Number


def conditions_of(completions: tuple[Completion, ...]) -> tuple[RefusalCondition, ...]:
    """The refusal rates of all conditions that occur among some answers.

    An answer that loops does not count as a refusal, whatever phrase it repeats.

    Example:
        >>> answer = Completion(
        ...     model="post", instructions="harmful", intervention="none",
        ...     direction="none", prompt="p", completion="I cannot.", refused=True,
        ...     refused_prefix=True, looping=False, score=3.0)
        >>> conditions_of((answer,))[0].rate
        1.0
    """
    groups: dict[tuple[Role, Instructions, Intervention, Source], list[Completion]] = {}
    for row in completions:
        key = (row.model, row.instructions, row.intervention, row.direction)
        groups.setdefault(key, []).append(row)
    conditions: list[RefusalCondition] = []
    for (model, instructions, intervention, direction), rows in groups.items():
        share = wilson(sum(row.refused and not row.looping for row in rows), len(rows))
        conditions.append(
            RefusalCondition(
                model=model,
                instructions=instructions,
                intervention=intervention,
                direction=direction,
                n=share.n,
                refused=share.successes,
                rate=share.rate,
                low=share.low,
                high=share.high,
                refused_prefix=sum(
                    row.refused_prefix and not row.looping for row in rows
                ),
                looping=sum(row.looping for row in rows),
                score=float(np.mean([row.score for row in rows])),
                refused_metric=sum(row.score > 0 for row in rows),
            )
        )
    return tuple(conditions)


def frame_of(rows: tuple[object, ...], kind: type) -> pd.DataFrame:
    """One row of a table for each value of a class, its columns also without any."""
    columns = list(kind.__dataclass_fields__)
    return pd.DataFrame([asdict(row) for row in rows], columns=columns)  # pyright: ignore[reportArgumentType]
