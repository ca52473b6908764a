"""The refusal study: which direction makes a model refuse, and does BASE have it too.

Directions are fitted on training prompts, one is chosen on validation prompts, and the
answers that are reported are to test prompts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from interp.data import Contrast
from interp.directions import Direction
from interp.models.language_model import LanguageModel
from interp.progress import progress_bar
from interp.provenance import Provenance
from interp.results import Completion, RefusalComparison, RefusalDose, conditions_of
from interp.results.refusal import Instructions, Source
from interp.results.truthfulness import ROLES, Role
from probes.studies.directions import keep_directions, of_role
from probes.studies.refusal.candidates import Candidates, candidates, template_positions
from probes.studies.refusal.chat import templates
from probes.studies.refusal.choice import choose, vectors_of
from probes.studies.refusal.completions import Vector, answer, conditions
from probes.studies.refusal.cosines import cosine_rows, own_cosines
from probes.studies.refusal.direction import can_ablate
from probes.studies.refusal.doses import doses
from probes.studies.refusal.setting import (
    Kept,
    Side,
    Split,
    kept_of,
    tokens_of,
)
from probes.studies.refusal.spec import RefusalSpec
from probes.studies.refusal.unwanted import punctuation_rows, side_effect_rows
from probes.studies.refusal.words import (
    ablation_notes,
    chosen_directions,
    chosen_scores,
    counts_of,
    limits_of,
    position_in_words,
    position_notes,
    prompt_notes,
    punctuation_notes,
    stability_notes,
)
from probes.studies.same_shape import require_same_shape


SPLITS: tuple[Split, Split] = ("train", "val")


def refusal(
    base: LanguageModel,
    post: LanguageModel,
    instructions: Contrast,
    *,
    spec: RefusalSpec,
    provenance: Provenance,
    directions: Path | None = None,
) -> RefusalComparison:
    """Refusal directions of both models, and what ablating and adding them does.

    Args:
        base: The base model.
        post: The post-trained model.
        instructions: Harmful and harmless instructions, already split.
        spec: The settings.
        provenance: What goes into the result as its origin.
        directions: Where each model's direction is kept, if there is a usable one.

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
        Side(role="base", model=base, template=own),
        Side(role="post", model=post, template=of_post),
    )
    fitted = _fitted(sides, instructions, spec)
    found, tokens = fitted.found, fitted.tokens
    reasons = [can_ablate(side.model) for side in sides]
    choice = choose(
        sides[1],
        found[1],
        fitted.kept["val"],
        tokens,
        spec=spec,
        only_affine=bool(reasons[1]),
    )
    chosen = choice.chosen
    vectors = vectors_of(chosen, found, seed=spec.seed)
    if directions is not None:
        keep_directions(directions, _directions(vectors, fitted, provenance))
    completions = _answers(sides, instructions, vectors, tokens, spec, reasons)
    punctuation = tuple(
        row
        for side, one in zip(sides, found, strict=True)
        for row in punctuation_rows(side, one, instructions, seed=spec.seed)
    )
    position = chosen.position if chosen else found[1].positions[-1]
    cosines = cosine_rows(found[0], fitted.common, found[1])
    cosine = own_cosines(cosines, position)
    return RefusalComparison(
        models=(spec.base, spec.post),
        datasets=(*spec.harmful, *spec.harmless),
        counts=counts_of(instructions, fitted.kept),
        directions=chosen_directions(chosen, vectors, choice.candidates, tokens, post),
        candidates=choice.candidates,
        layers=np.arange(cosine.size, dtype=np.int32),
        cosine=cosine,
        cosine_position=position_in_words(found, position),
        cosine_chosen=float(cosine[chosen.layer]) if chosen else float("nan"),
        conditions=conditions_of(completions),
        completions=completions,
        doses=_doses(sides, instructions, vectors, tokens, spec),
        cosines=cosines,
        side_effects=side_effect_rows(sides[1], completions, vectors, seed=spec.seed),
        punctuation=punctuation,
        rule=choice.rule,
        selection=choice.selection,
        chosen_scores=chosen_scores(choice),
        limits=limits_of(choice),
        resamples=choice.resamples,
        none_share=choice.none_share,
        notes=(
            *instructions.notes,
            *prompt_notes(sides, instructions),
            *position_notes(sides, found, instructions),
            *choice.notes,
            *stability_notes(choice),
            *punctuation_notes(chosen, punctuation),
            *ablation_notes(reasons),
        ),
        provenance=provenance,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Fitted:
    """What training prompts give, before anything is chosen.

    Attributes:
        tokens: The refusal tokens.
        kept: The instructions on which POST does what it should.
        found: The candidates of BASE and POST, each in its own template.
        common: BASE's in the template of POST.
    """

    tokens: tuple[int, ...]
    kept: dict[Split, Kept]
    found: tuple[Candidates, Candidates]
    common: Candidates


def _fitted(
    sides: tuple[Side, Side], instructions: Contrast, spec: RefusalSpec
) -> _Fitted:
    base, post = sides
    tokens = tokens_of(post, instructions, spec)
    kept: dict[Split, Kept] = {
        split: kept_of(post, instructions, split, tokens) for split in SPLITS
    }
    positions = spec.positions or template_positions(
        post.model, post.template, instructions.harmful.train[0]
    )
    own, of_post = (_candidates(side, kept["train"], positions) for side in sides)
    common = own
    if base.template != post.template:
        moved = replace(base, template=post.template)
        common = _candidates(moved, kept["train"], positions)
    return _Fitted(tokens=tokens, kept=kept, found=(own, of_post), common=common)


def _directions(
    vectors: Mapping[tuple[Role, Source], Vector],
    fitted: _Fitted,
    provenance: Provenance,
) -> dict[str, Direction]:
    """Each model's own direction, where it was read."""
    train = fitted.kept["train"]
    found: dict[str, Direction] = {}
    for role in ROLES:
        held = vectors.get((role, role))
        if held is None:
            continue
        length = float(held.vector.double().norm())
        direction = Direction(
            unit=(held.vector.double() / length).numpy(),
            scale=length,
            site=f"resid_pre.{held.layer}",
            position=str(held.position),
            rule="mean of harmful minus mean of harmless instructions",
            negative_mean=held.level,
            # Its length is the distance of the two means.
            positive_mean=held.level + length,
            n_negative=len(train.harmless),
            n_positive=len(train.harmful),
        )
        found[f"refusal-{role}"] = of_role(direction, provenance, role)
    return found


def _candidates(side: Side, train: Kept, positions: Sequence[int]) -> Candidates:
    prompts = side.prompts(train.harmful, train.harmless)
    return candidates(side.model, prompts, positions=positions)


def _test_texts(instructions: Contrast) -> dict[Instructions, tuple[str, ...]]:
    return {
        "harmful": instructions.harmful.test,
        "harmless": instructions.harmless.test,
    }


def _doses(
    sides: Sequence[Side],
    instructions: Contrast,
    vectors: Mapping[tuple[Role, Source], Vector],
    tokens: Sequence[int],
    spec: RefusalSpec,
) -> tuple[RefusalDose, ...]:
    texts = _test_texts(instructions)
    return tuple(
        row for side in sides for row in doses(side, texts, vectors, tokens, spec=spec)
    )


def _answers(
    sides: Sequence[Side],
    instructions: Contrast,
    vectors: Mapping[tuple[Role, Source], Vector],
    tokens: Sequence[int],
    spec: RefusalSpec,
    reasons: Sequence[str],
) -> tuple[Completion, ...]:
    by_role = {side.role: side for side in sides}
    able: list[Role] = [
        role for role, reason in zip(ROLES, reasons, strict=True) if not reason
    ]
    asked = list(conditions(with_ablation=able, sources=vectors))
    texts = _test_texts(instructions)
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
