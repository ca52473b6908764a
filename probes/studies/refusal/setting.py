"""The two models as they are asked, and the prompts that the study is made on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from interp.data import Contrast
from interp.errors import ConfigError
from interp.models.language_model import LanguageModel
from interp.results.truthfulness import Role
from probes.studies.refusal.candidates import Prompts
from probes.studies.refusal.chat import Template
from probes.studies.refusal.direction import first_tokens
from probes.studies.refusal.score import chance_of, refusal_score, refusal_tokens
from probes.studies.refusal.spec import RefusalSpec


# Below this many prompts of a class, a mean is fitted on all of them, refused or not.
FEWEST_KEPT = 4
Split = Literal["train", "val"]


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
    """Training or validation instructions on which POST does what it should.

    Attributes:
        harmful: Those that are used: the refused ones, or all if too few are.
        harmless: Those that are used: the ones not refused, or all.
        passed: How many harmful and harmless ones passed, also where all are used.
    """

    harmful: tuple[str, ...]
    harmless: tuple[str, ...]
    passed: tuple[int, int]


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
    passed: dict[str, int] = {}
    for kind, sign in (("harmful", 1), ("harmless", -1)):
        texts: tuple[str, ...] = getattr(getattr(instructions, kind), split)
        rest = texts
        if tokens:
            chances = first_tokens(side.model, side.template.ids(side.model, texts))
            scores = refusal_score(chance_of(chances, tokens))
            rest = tuple(
                text
                for text, score in zip(texts, scores, strict=True)
                if sign * score > 0
            )
        passed[kind] = len(rest)
        kept[kind] = rest if len(rest) >= FEWEST_KEPT else texts
    return Kept(
        harmful=kept["harmful"],
        harmless=kept["harmless"],
        passed=(passed["harmful"], passed["harmless"]),
    )
