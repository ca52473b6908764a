"""Answers to instructions under interventions, and whether each of them refuses."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from interp.edits import ablate, steer
from interp.models.generation import generate
from interp.models.language_model import LanguageModel
from interp.results import Completion
from interp.results.refusal import Instructions, Intervention, Source
from interp.results.truthfulness import Role
from probes.studies.refusal.chat import Ids
from probes.studies.refusal.direction import first_tokens
from probes.studies.refusal.phrases import loops, refused
from probes.studies.refusal.score import chance_of, refusal_score


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Who answers what, under which intervention."""

    model: Role
    instructions: Instructions
    intervention: Intervention = "none"
    direction: Source = "none"

    @property
    def name(self) -> str:
        """As part of a file's name."""
        parts = (self.model, self.instructions, self.intervention, self.direction)
        return "-".join(parts)

    def __str__(self) -> str:
        if self.intervention == "none":
            return f"{self.model}, {self.instructions}"
        doing = f"{self.intervention} {self.direction}"
        return f"{self.model}, {self.instructions}, {doing}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Vector:
    """A direction as it is used in one model.

    Attributes:
        vector: With its length.
        layer: It is added before this block.
        position: Where it was read, counted from the end of the prompt.
        level: Mean projection of that model's harmless prompts on its unit.
    """

    vector: Float[Tensor, " d_model"]
    layer: int
    position: int
    level: float

    def edit(
        self, model: LanguageModel, intervention: Intervention
    ) -> AbstractContextManager[None]:
        """The intervention as a block of edits."""
        site = f"resid_pre.{self.layer}"
        match intervention:
            case "none":
                return nullcontext()
            case "add":
                return steer(model, self.vector, site=site)
            case "ablate":
                return ablate(model, self.vector)
            case "affine":
                places = [self.position]
                return ablate(
                    model, self.vector, to=self.level, sites=site, positions=places
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The answers under one condition.

    Attributes:
        rows: The answers and what was made of them.
        ids: Their tokens, without the stop token.
    """

    rows: tuple[Completion, ...]
    ids: tuple[tuple[int, ...], ...]


def conditions(
    *, with_ablation: Collection[Role], sources: Collection[tuple[Role, Source]]
) -> Iterator[Condition]:
    """All conditions of a comparison, those without intervention first.

    Args:
        with_ablation: The models in which directions can be ablated everywhere.
        sources: Whose directions there are for which model.
    """
    roles: tuple[Role, Role] = ("post", "base")
    kinds: tuple[Instructions, Instructions] = ("harmful", "harmless")
    for role in roles:
        for kind in kinds:
            yield Condition(model=role, instructions=kind)
    asked: tuple[tuple[Role, Intervention, Instructions, tuple[Source, ...]], ...] = (
        ("post", "ablate", "harmful", ("post", "base", "random")),
        # What ablation does to answers that should not change.
        ("post", "ablate", "harmless", ("post", "random")),
        # A random direction has no harmless mean that tells anything.
        ("post", "affine", "harmful", ("post", "base")),
        ("post", "add", "harmless", ("post", "base", "random")),
        ("base", "ablate", "harmful", ("post", "base")),
        ("base", "affine", "harmful", ("base",)),
        ("base", "add", "harmless", ("post", "base", "random")),
    )
    for role, how, kind, used in asked:
        if how == "ablate" and role not in with_ablation:
            continue
        for source in used:
            if (role, source) in sources:
                yield Condition(
                    model=role, instructions=kind, intervention=how, direction=source
                )


def answer(
    model: LanguageModel,
    condition: Condition,
    instructions: Sequence[str],
    prompts: Ids,
    *,
    vector: Vector | None,
    tokens: Sequence[int],
    max_new_tokens: int,
    batch_size: int,
) -> Answers:
    """What a model answers under one condition, greedily, and whether it refuses.

    Args:
        model: The model.
        condition: The condition.
        instructions: The instructions as the user wrote them.
        prompts: The same as token ids of the model.
        vector: The direction that the condition uses, if any.
        tokens: The refusal tokens, for the score of the first position.
        max_new_tokens: Where answers are cut.
        batch_size: Prompts that run together.
    """

    def edit() -> AbstractContextManager[None]:
        if vector is None:
            return nullcontext()
        return vector.edit(model, condition.intervention)

    scores = refusal_score(chance_of(first_tokens(model, prompts, edit()), tokens))
    with edit():
        written = generate(
            model, prompts, max_new_tokens=max_new_tokens, batch_size=batch_size
        )
    assert written.texts is not None
    rows = tuple(
        Completion(
            model=condition.model,
            instructions=condition.instructions,
            intervention=condition.intervention,
            direction=condition.direction,
            prompt=instruction,
            completion=text,
            refused=refused(text),
            refused_prefix=refused(text, mode="prefix"),
            looping=loops(text),
            score=float(score),
        )
        for instruction, text, score in zip(
            instructions, written.texts, scores, strict=True
        )
    )
    return Answers(rows=rows, ids=written.ids)


def random_vector(
    like: Float[Tensor, " d_model"], *, seed: int
) -> Float[Tensor, " d_model"]:
    """A vector of the same length in a random direction."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(like.shape, generator=generator)
    return drawn / drawn.norm() * like.norm()
