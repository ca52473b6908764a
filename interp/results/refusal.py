"""The result of comparing how two models decide to refuse an instruction."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int32

from interp.provenance import Provenance
from interp.results.display import table_html
from interp.results.files import Number, write_result
from interp.results.truthfulness import Role
from interp.statistics import wilson


Instructions = Literal["harmful", "harmless"]
# `affine` sets the projection to its mean over harmless prompts instead of to zero.
Intervention = Literal["none", "ablate", "affine", "add"]
Source = Literal["none", "base", "post", "random"]


_EFFECTS: tuple[tuple[Intervention, Instructions, str], ...] = (
    ("ablate", "harmful", "{} of harmful ones refused when ablated"),
    ("affine", "harmful", "{} when set to its harmless mean"),
    ("add", "harmless", "{} of harmless ones refused when added"),
)


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
    """

    model: Role
    layer: int
    position: int
    token: str
    bypass: Number
    induce: Number
    kl: Number
    fate: str


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
        notes: What was left out, is weak or limits the conclusions, in sentences.
        provenance: What produced this.
    """

    KIND: ClassVar[str] = "refusal"
    SCHEMA: ClassVar[int] = 1

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
    notes: tuple[str, ...] = ()
    provenance: Provenance

    def __repr__(self) -> str:
        return f"RefusalComparison({self.models[0]!r}, {self.models[1]!r})"

    def to_dataframe(self) -> pd.DataFrame:
        """One row per model, class of instructions, intervention and direction."""
        return _frame(self.conditions, RefusalCondition)

    def candidates_dataframe(self) -> pd.DataFrame:
        """One row per candidate direction."""
        return _frame(self.candidates, RefusalCandidate)

    def completions_dataframe(self) -> pd.DataFrame:
        """One row per answer."""
        return _frame(self.completions, Completion)

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
        from interp.results.kinds import load_as

        return load_as(folder, cls)

    def _repr_html_(self) -> str:
        return table_html(self.to_dataframe(), caption=self.headline())


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
            )
        )
    return tuple(conditions)


def _frame(rows: tuple[object, ...], kind: type) -> pd.DataFrame:
    columns = list(kind.__dataclass_fields__)
    return pd.DataFrame([asdict(row) for row in rows], columns=columns)  # pyright: ignore[reportArgumentType]
