"""The refusal study: which direction makes a model refuse, and does BASE have it too.

Directions are fitted on training prompts, one is chosen on validation prompts, and the
answers that are reported are to test prompts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float

from interp.data import Contrast
from interp.errors import ConfigError
from interp.models.language_model import LanguageModel
from interp.progress import progress_bar
from interp.provenance import Provenance
from interp.results import (
    Completion,
    InstructionCount,
    RefusalCandidate,
    RefusalComparison,
    RefusalDirection,
    conditions_of,
)
from interp.results.refusal import Instructions, Source
from interp.results.truthfulness import ROLES, Role
from probes.studies.chat import Template, templates
from probes.studies.completions import Vector, answer, conditions, random_vector
from probes.studies.readout import cosines
from probes.studies.refusal_direction import (
    Ablation,
    Directions,
    Prompts,
    can_ablate,
    choose,
    directions,
    first_tokens,
    score_candidates,
)
from probes.studies.refusal_score import chance_of, refusal_score, refusal_tokens
from probes.studies.truthfulness import require_same_shape


# Below this many prompts of a class, a mean is fitted on all of them, refused or not.
FEWEST_KEPT = 4
# Classes that differ more in how many texts end in a full stop are confounded.
PUNCTUATION_GAP = 0.3
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
    batch_size: int = 16
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Side:
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
class _Kept:
    """Training or validation instructions on which POST does what it should."""

    harmful: tuple[str, ...]
    harmless: tuple[str, ...]


def refusal(
    base: LanguageModel,
    post: LanguageModel,
    instructions: Contrast,
    *,
    spec: RefusalSpec,
    provenance: Provenance,
) -> RefusalComparison:
    """Refusal directions of both models, and what ablating and adding them does.

    Args:
        base: The base model.
        post: The post-trained model.
        instructions: Harmful and harmless instructions, already split.
        spec: The settings.
        provenance: What goes into the result as its origin.

    Returns:
        A result also where no direction is usable: then with the reason.

    Raises:
        IncompatibleError: If the models differ in depth or width.
        PromptError: If an instruction cannot be put to a model.

    Source:
        Arditi et al. (2024), arXiv:2406.11717.
    """
    require_same_shape(base, post)
    own, of_post = templates(base, post)
    sides = (
        _Side(role="base", model=base, template=own),
        _Side(role="post", model=post, template=of_post),
    )
    tokens = _tokens(sides[1], instructions, spec)
    kept: dict[Split, _Kept] = {
        split: _kept(sides[1], instructions, split, tokens) for split in _SPLITS
    }
    train = kept["train"]
    found = [
        directions(
            side.model,
            side.prompts(train.harmful, train.harmless),
            positions=spec.positions,
        )
        for side in sides
    ]
    reasons = [can_ablate(side.model) for side in sides]
    candidates, notes = _candidates(
        sides[1], found[1], kept["val"], tokens, spec, reasons[1]
    )
    chosen = next((one for one in candidates if one.fate == "chosen"), None)
    vectors = _vectors(chosen, found, spec)
    completions = _answers(sides, instructions, vectors, tokens, spec, reasons)
    slot = spec.positions.index(chosen.position) if chosen else 0
    cosine = _cosine(found[0][slot], found[1][slot])
    return RefusalComparison(
        models=(spec.base, spec.post),
        datasets=(*spec.harmful, *spec.harmless),
        counts=_counts(instructions, kept),
        directions=_chosen(chosen, vectors, candidates, tokens, post),
        candidates=candidates,
        layers=np.arange(cosine.size, dtype=np.int32),
        cosine=cosine.astype(np.float32),
        cosine_position=_position(found, slot),
        cosine_chosen=float(cosine[chosen.layer]) if chosen else float("nan"),
        conditions=conditions_of(completions),
        completions=completions,
        notes=(
            *instructions.notes,
            *_prompt_notes(sides, instructions),
            *notes,
            *_ablation_notes(reasons),
        ),
        provenance=provenance,
    )


def _cosine(base: Directions, post: Directions) -> Float[np.ndarray, " layer"]:
    """The cosine at each layer; NaN where the classes do not differ."""
    found = cosines(base.vectors, post.vectors)
    for layer in range(found.size):
        if base.degenerate(layer) or post.degenerate(layer):
            found[layer] = math.nan
    return found


_SPLITS: tuple[Split, Split] = ("train", "val")


def _tokens(side: _Side, instructions: Contrast, spec: RefusalSpec) -> tuple[int, ...]:
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


def _kept(
    side: _Side, instructions: Contrast, split: Split, tokens: Sequence[int]
) -> _Kept:
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
    return _Kept(harmful=kept["harmful"], harmless=kept["harmless"])


def _candidates(
    side: _Side,
    found: Sequence[Directions],
    val: _Kept,
    tokens: Sequence[int],
    spec: RefusalSpec,
    impossible: str,
) -> tuple[tuple[RefusalCandidate, ...], tuple[str, ...]]:
    """All candidates of POST and their fates, and how strictly they were judged.

    Plain ablation and the limit on the divergence come first. Where no candidate
    passes, affine ablation is taken; where none does so either, the limit is lifted.
    """
    if not tokens:
        return (), ()
    prompts = side.prompts(val.harmful, val.harmless)

    chances = chance_of(first_tokens(side.model, prompts.harmful), tokens)
    unedited = float(refusal_score(chances).mean())
    ways: tuple[Ablation, ...] = ("affine",) if impossible else ("plain", "affine")
    scored: dict[Ablation, tuple[RefusalCandidate, ...]] = {
        way: score_candidates(
            side.model, found, prompts, role="post", tokens=tokens, ablation=way
        )
        for way in ways
    }
    for limit in (spec.max_divergence, math.inf):
        judged: dict[Ablation, tuple[RefusalCandidate, ...]] = {
            way: choose(rows, unedited=unedited, max_divergence=limit)
            for way, rows in scored.items()
        }
        best: dict[Ablation, float] = {
            way: min(one.bypass for one in rows if one.fate == "chosen")
            for way, rows in judged.items()
            if any(one.fate == "chosen" for one in rows)
        }
        if best:
            strict = limit == spec.max_divergence
            way = next(iter(best)) if strict else min(best, key=lambda way: best[way])
            return judged[way], _choice_notes(way, strict, spec)
    return choose(scored[ways[0]], unedited=unedited), ()


def _choice_notes(way: Ablation, strict: bool, spec: RefusalSpec) -> tuple[str, ...]:
    notes: list[str] = []
    if way == "affine":
        notes.append(
            "The direction was chosen by affine ablation (at the token and layer where "
            "it was read, its projection is set to the mean over harmless prompts); "
            "plain ablation (set to zero everywhere) did not pass the rule as well."
        )
    if not strict:
        notes.append(
            "Every direction changes the answers to harmless prompts when ablated "
            f"(divergence above {spec.max_divergence} nats); that limit was lifted."
        )
    return tuple(notes)


def _vectors(
    chosen: RefusalCandidate | None,
    found: Sequence[Sequence[Directions]],
    spec: RefusalSpec,
) -> dict[tuple[Role, Source], Vector]:
    """Each direction as it is used in each model: of the length of the model's own."""
    if chosen is None:
        return {}
    slot = spec.positions.index(chosen.position)
    layer = chosen.layer
    vectors: dict[tuple[Role, Source], Vector] = {}
    for target, of_target in zip(ROLES, found, strict=True):
        own = of_target[slot]
        length = float(own.vectors[layer].norm())
        drawn = random_vector(own.vectors[layer], seed=spec.seed)
        sources: dict[Source, Directions] = {
            "base": found[0][slot],
            "post": found[1][slot],
        }
        for source, one in sources.items():
            # Only the direction is compared, so every vector has the same length.
            unit = one.vectors[layer] / one.vectors[layer].norm()
            vectors[target, source] = Vector(
                vector=unit * length,
                layer=layer,
                position=chosen.position,
                level=float(own.harmless[layer] @ unit),
            )
        vectors[target, "random"] = Vector(
            vector=drawn, layer=layer, position=chosen.position, level=0.0
        )
    return vectors


def _answers(
    sides: Sequence[_Side],
    instructions: Contrast,
    vectors: dict[tuple[Role, Source], Vector],
    tokens: Sequence[int],
    spec: RefusalSpec,
    reasons: Sequence[str],
) -> tuple[Completion, ...]:
    by_role = {side.role: side for side in sides}
    able: list[Role] = [
        role for role, reason in zip(ROLES, reasons, strict=True) if not reason
    ]
    asked = list(conditions(with_ablation=able, with_direction=bool(vectors)))
    texts: dict[Instructions, tuple[str, ...]] = {
        "harmful": instructions.harmful.test,
        "harmless": instructions.harmless.test,
    }
    answers: list[Completion] = []
    with progress_bar("answer", len(asked), "conditions") as bar:
        for condition in asked:
            side = by_role[condition.model]
            own = texts[condition.instructions]
            answers += answer(
                side.model,
                condition,
                own,
                side.template.ids(side.model, own),
                vector=vectors.get((condition.model, condition.direction)),
                tokens=tokens,
                max_new_tokens=spec.max_new_tokens,
                batch_size=spec.batch_size,
            )
            bar.advance(note=str(condition))
    return tuple(answers)


def _chosen(
    chosen: RefusalCandidate | None,
    vectors: dict[tuple[Role, Source], Vector],
    candidates: Sequence[RefusalCandidate],
    tokens: Sequence[int],
    post: LanguageModel,
) -> tuple[RefusalDirection, RefusalDirection]:
    spelled = tuple(post.tokenizer.decode([token]) for token in tokens)
    reason = _reason(candidates, tokens) if chosen is None else ""

    def of(role: Role) -> RefusalDirection:
        blank = RefusalDirection(
            model=role,
            layer=None,
            position=None,
            token="",
            norm=float("nan"),
            reason=reason,
            refusal_tokens=spelled,
        )
        if chosen is None:
            return blank
        return replace(
            blank,
            layer=chosen.layer,
            position=chosen.position,
            token=chosen.token,
            norm=float(vectors[role, role].vector.norm()),
        )

    return of("base"), of("post")


def _reason(candidates: Sequence[RefusalCandidate], tokens: Sequence[int]) -> str:
    if not tokens:
        return "its first token does not tell harmful from harmless instructions"
    fates = [one.fate for one in candidates]
    counted = {fate: fates.count(fate) for fate in dict.fromkeys(fates)}
    listed = "; ".join(f"{n} of {len(fates)}: {fate}" for fate, n in counted.items())
    return f"every candidate fell ({listed})"


def _position(found: Sequence[Sequence[Directions]], slot: int) -> str:
    base, post = found[0][slot], found[1][slot]
    place = f"position {post.position} from the end"
    if base.token == post.token:
        return f"{place} ({post.token!r})"
    return f"{place} ({base.token!r} in base, {post.token!r} in post)"


def _counts(
    instructions: Contrast, kept: dict[Split, _Kept]
) -> tuple[InstructionCount, ...]:
    counts: list[InstructionCount] = []
    kinds: tuple[Instructions, Instructions] = ("harmful", "harmless")
    for kind in kinds:
        parts = getattr(instructions, kind)
        for split in ("train", "val", "test"):
            given = len(getattr(parts, split))
            n = given if split == "test" else len(getattr(kept[split], kind))
            counts.append(
                InstructionCount(
                    model="post", instructions=kind, split=split, given=given, kept=n
                )
            )
    return tuple(counts)


def _prompt_notes(sides: Sequence[_Side], instructions: Contrast) -> list[str]:
    base, post = (side.template.origin for side in sides)
    notes = [
        f"Prompts: the base model gets {base}, the post-trained model {post}.",
        "BASE's direction is read at the layer and position chosen for POST; added "
        "vectors have the length of the edited model's own.",
    ]
    left_out = sum(instructions.near_duplicates)
    if left_out:
        notes.append(f"{left_out} near-duplicate instructions were left out.")
    shares = [
        float(np.mean([text.rstrip().endswith((".", "?", "!")) for text in texts]))
        for texts in (instructions.harmful.train, instructions.harmless.train)
    ]
    if abs(shares[0] - shares[1]) > PUNCTUATION_GAP:
        notes.append(
            f"{shares[0]:.0%} of the harmful and {shares[1]:.0%} of the harmless "
            "instructions end in a punctuation mark: part of the direction may be that."
        )
    return notes


def _ablation_notes(reasons: Sequence[str]) -> list[str]:
    names = ("base", "post-trained")
    return [
        f"Nothing was ablated in the {name} model: {reason}"
        for name, reason in zip(names, reasons, strict=True)
        if reason
    ]
