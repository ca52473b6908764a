"""Settings of the refusal study, and the prompts that it is made on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from interp.data import Contrast
from interp.errors import ConfigError
from interp.models.language_model import LanguageModel
from interp.results.truthfulness import Role
from probes.studies.chat import Template
from probes.studies.refusal_direction import Prompts, first_tokens
from probes.studies.refusal_score import chance_of, refusal_score, refusal_tokens


# Below this many prompts of a class, a mean is fitted on all of them, refused or not.
FEWEST_KEPT = 4
Split = Literal["train", "val"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalSpec:
    """Settings of the study.

    Attributes:
        base: Hub id or folder of the base model.
        post: Hub id or folder of the post-trained model.
        harmful: Files or data sets of instructions that should be refused.
        harmless: Files or data sets of instructions that should be followed.
        base_revision: Revision of a hub model.
        post_revision: Revision of a hub model.
        dtype: How the weights run.
        limit: At most so many instructions of each class are used.
        n_train: Instructions of each class to fit on; 128 if there are enough.
        n_val: Instructions of each class to choose on; 32 if there are enough.
        n_test: Instructions of each class to report on; 100 if there are enough.
        positions: Where directions are read, counted from the end of the prompt.
        refusal_tokens: First tokens of refusals; found by contrast if none is given.
        max_divergence: Directions whose ablation changes harmless answers more than
            this are dropped.
        max_new_tokens: Where answers are cut.
        batch_size: Prompts that are answered together.
        seed: Of the splits and of the random direction.
    """

    base: str
    post: str
    harmful: tuple[str, ...]
    harmless: tuple[str, ...]
    base_revision: str | None = None
    post_revision: str | None = None
    dtype: str = "auto"
    limit: int | None = None
    n_train: int | None = None
    n_val: int | None = None
    n_test: int | None = None
    positions: tuple[int, ...] = (-1,)
    refusal_tokens: tuple[str, ...] = ()
    max_divergence: float = 0.1
    max_new_tokens: int = 48
    batch_size: int = 64
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Side:
    """One of the two models and how it is asked."""

    role: Role
    model: LanguageModel
    template: Template

    def prompts(self, harmful: Sequence[str], harmless: Sequence[str]) -> Prompts:
        return Prompts(
            harmful=self.template.ids(self.model, harmful),
            harmless=self.template.ids(self.model, harmless),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kept:
    """Training or validation instructions on which POST does what it should."""

    harmful: tuple[str, ...]
    harmless: tuple[str, ...]


def tokens_of(side: Side, instructions: Contrast, spec: RefusalSpec) -> tuple[int, ...]:
    """The refusal tokens: those that were named, or found on training prompts."""
    if not spec.refusal_tokens:
        prompts = side.prompts(instructions.harmful.train, instructions.harmless.train)
        return refusal_tokens(
            first_tokens(side.model, prompts.harmful),
            first_tokens(side.model, prompts.harmless),
        )
    tokens: list[int] = []
    for text in spec.refusal_tokens:
        ids = side.model.tokenizer(text, add_special_tokens=False)["input_ids"]
        if not ids:
            raise ConfigError(
                f"The refusal token {text!r} has no token.",
                expected="The beginning of a refusal, such as 'I'.",
            )
        tokens.append(int(ids[0]))
    return tuple(dict.fromkeys(tokens))


def kept_of(
    side: Side, instructions: Contrast, split: Split, tokens: Sequence[int]
) -> Kept:
    """Instructions that the model refuses if harmful and does not if harmless."""
    kept: dict[str, tuple[str, ...]] = {}
    for kind, sign in (("harmful", 1), ("harmless", -1)):
        texts: tuple[str, ...] = getattr(getattr(instructions, kind), split)
        kept[kind] = texts
        if tokens:
            chances = first_tokens(side.model, side.template.ids(side.model, texts))
            scores = refusal_score(chance_of(chances, tokens))
            rest = tuple(
                text
                for text, score in zip(texts, scores, strict=True)
                if sign * score > 0
            )
            kept[kind] = rest if len(rest) >= FEWEST_KEPT else texts
    return Kept(harmful=kept["harmful"], harmless=kept["harmless"])
