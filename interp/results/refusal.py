"""The result of comparing how two models decide to refuse an instruction."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int32

from interp.provenance import Provenance
from interp.results.display import table_html
from interp.results.files import Number, write_result
from interp.results.folders import load_as
from interp.results.refusal_projections import (
    ReadAnswer as ReadAnswer,
    RefusalProjection as RefusalProjection,
)
from interp.results.refusal_rows import (
    Completion as Completion,
    InstructionCount as InstructionCount,
    Instructions as Instructions,
    Intervention as Intervention,
    Mode as Mode,
    RefusalCandidate as RefusalCandidate,
    RefusalCondition as RefusalCondition,
    RefusalCosine as RefusalCosine,
    RefusalDirection as RefusalDirection,
    RefusalDose as RefusalDose,
    RefusalLimits as RefusalLimits,
    RefusalPunctuation as RefusalPunctuation,
    RefusalSideEffect as RefusalSideEffect,
    ScoreInterval as ScoreInterval,
    Source as Source,
    conditions_of as conditions_of,
    frame_of,
)
from interp.results.truthfulness import Role


_EFFECTS: tuple[tuple[Intervention, Instructions, str], ...] = (
    ("ablate", "harmful", "{} of harmful ones refused when ablated"),
    ("affine", "harmful", "{} when set to its harmless mean"),
    ("add", "harmless", "{} of harmless ones refused when added"),
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class RefusalComparison:
    """Refusal directions of a base and a post-trained model, and what they do.

    Attributes:
        models: Names of the base and the post-trained model.
        datasets: Where the instructions come from.
        counts: Sizes of the splits.
        directions: The chosen direction of each model.
        candidates: All candidates with their scores.
        layers: The layers of `resid_pre` at which the cosine was taken.
        cosine: Of the two models' directions at one position, by layer.
        cosine_position: That position, in words.
        cosine_chosen: Of the two chosen directions; NaN if one is missing.
        conditions: Refusal rates.
        completions: All answers.
        doses: What adding a direction at several strengths does.
        cosines: Of the two models' directions at every position, in each model's own
            template and in a common one.
        side_effects: What ablation does to ordinary text and harmless answers.
        punctuation: How much each candidate looks like a mark at the end.
        projections: Where harmful and harmless prompts lie along the directions.
        words: The different tokens of all answers, decoded.
        answer_words: Which of them each token is, all answers one after the other.
        answer_projections: Where the unchanged model, reading the answer, is along the
            chosen direction at each token; see `ReadAnswer`.
        answer_lengths: How many tokens each answer has.
        rule: By what the direction was chosen, as a sentence.
        selection: What the rule made of the candidates, as a sentence.
        chosen_scores: The chosen direction's scores on validation prompts.
        limits: The rule in numbers; None in results of older versions.
        resamples: How many resamples of validation prompts were judged by the rule.
        none_share: In which share of them there is no usable direction.
        notes: What was left out, is weak or limits the conclusions, in sentences.
        provenance: What produced this.
    """

    KIND: ClassVar[str] = "refusal"
    # 2: doses, cosines by position, selection and bootstrap, side effects.
    SCHEMA: ClassVar[int] = 2

    models: tuple[str, str]
    datasets: tuple[str, ...]
    counts: tuple[InstructionCount, ...]
    directions: tuple[RefusalDirection, RefusalDirection]
    candidates: tuple[RefusalCandidate, ...]
    layers: Int32[np.ndarray, " layer"]
    cosine: Float32[np.ndarray, " layer"]
    cosine_position: str
    cosine_chosen: Number
    conditions: tuple[RefusalCondition, ...]
    completions: tuple[Completion, ...]
    doses: tuple[RefusalDose, ...] = ()
    cosines: tuple[RefusalCosine, ...] = ()
    side_effects: tuple[RefusalSideEffect, ...] = ()
    punctuation: tuple[RefusalPunctuation, ...] = ()
    projections: tuple[RefusalProjection, ...] = ()
    words: tuple[str, ...] = ()
    answer_words: Int32[np.ndarray, " token"] = field(
        default_factory=lambda: np.empty(0, np.int32)
    )
    answer_projections: Float32[np.ndarray, " token"] = field(
        default_factory=lambda: np.empty(0, np.float32)
    )
    answer_lengths: Int32[np.ndarray, " answer"] = field(
        default_factory=lambda: np.empty(0, np.int32)
    )
    rule: str = ""
    selection: str = ""
    chosen_scores: tuple[ScoreInterval, ...] = ()
    limits: RefusalLimits | None = None
    resamples: int = 0
    none_share: Number = math.nan
    notes: tuple[str, ...] = ()
    provenance: Provenance

    def __repr__(self) -> str:
        return f"RefusalComparison({self.models[0]!r}, {self.models[1]!r})"

    def to_dataframe(self) -> pd.DataFrame:
        """One row per model, class of instructions, intervention and direction."""
        return frame_of(self.conditions, RefusalCondition)

    def candidates_dataframe(self) -> pd.DataFrame:
        """One row per candidate direction."""
        return frame_of(self.candidates, RefusalCandidate)

    def completions_dataframe(self) -> pd.DataFrame:
        """One row per answer."""
        return frame_of(self.completions, Completion)

    def doses_dataframe(self) -> pd.DataFrame:
        """One row per model, class of instructions, direction and coefficient."""
        return frame_of(self.doses, RefusalDose)

    def cosines_dataframe(self) -> pd.DataFrame:
        """One row per template, position and layer."""
        return frame_of(self.cosines, RefusalCosine)

    def side_effects_dataframe(self) -> pd.DataFrame:
        """One row per ablated direction."""
        return frame_of(self.side_effects, RefusalSideEffect)

    def punctuation_dataframe(self) -> pd.DataFrame:
        """One row per model, position and layer."""
        return frame_of(self.punctuation, RefusalPunctuation)

    def projections_dataframe(self) -> pd.DataFrame:
        """One row per model, direction, class of instructions and layer."""
        return frame_of(self.projections, RefusalProjection)

    def read_answer(self, at: int) -> ReadAnswer | None:
        """The tokens of an answer with their projections; None if they were not kept.

        Args:
            at: Its place among `completions`.
        """
        n, words = self.answer_lengths, self.answer_words
        fits = n.size == len(self.completions) and int(n.sum()) == words.size
        # A file may come from anywhere.
        if not fits or min(n, default=0) < 0 or not _are_places(words, self.words):
            return None
        ends = np.cumsum(self.answer_lengths)
        part = slice(int(ends[at] - n[at]), int(ends[at]))
        return ReadAnswer(
            tokens=tuple(self.words[i] for i in words[part]),
            projections=self.answer_projections[part],
        )

    def condition(
        self,
        model: Role,
        instructions: Instructions,
        *,
        intervention: Intervention = "none",
        direction: Source = "none",
    ) -> RefusalCondition | None:
        """The rates under one condition, or None if it was not run."""
        wanted = (model, instructions, intervention, direction)
        for row in self.conditions:
            found = (row.model, row.instructions, row.intervention, row.direction)
            if found == wanted:
                return row
        return None

    def headline(self) -> str:
        """What was found, in a sentence or two."""
        rates = [
            f"{row.rate:.0%} of {kind}"
            for kind in ("harmful", "harmless")
            if (row := self.condition("post", kind))
        ]
        start = f"The post-trained model refuses {' and '.join(rates)} instructions"
        chosen = self.directions[1]
        if chosen.layer is None:
            reason = chosen.reason.rstrip(".")
            found = f"o usable refusal direction was found in it ({reason})."
            return f"{start}; n{found}" if rates else f"N{found}"
        effects = self.effects_in_words("post")
        if not effects:
            return f"{start}."
        return f"{start}. Its direction (layer {chosen.layer}): {effects}."

    def effects_in_words(self, direction: Source) -> str:
        """What removing or adding a direction does to the post-trained model."""
        said: list[str] = []
        for intervention, kind, words in _EFFECTS:
            row = self.condition(
                "post", kind, intervention=intervention, direction=direction
            )
            if row:
                loops = f" ({row.looping} of {row.n} answers loop)" * bool(row.looping)
                said.append(words.format(f"{row.rate:.0%}") + loops)
        return ", ".join(said)

    def save(self, folder: str | Path) -> Path:
        """Write this into a folder; see `interp.results.save`."""
        return write_result(self, folder)

    @classmethod
    def load(cls, folder: str | Path) -> "RefusalComparison":
        """The result of this kind in a folder; see `interp.results.load`."""
        return load_as(folder, cls)

    def _repr_html_(self) -> str:
        return table_html(self.to_dataframe(), caption=self.headline())


def _are_places(indices: Int32[np.ndarray, " token"], words: tuple[str, ...]) -> bool:
    return bool(((indices >= 0) & (indices < len(words))).all())
