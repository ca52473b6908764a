"""The refusal study: which direction makes a model refuse, and does BASE have it too.

Directions are fitted on training prompts, one is chosen on validation prompts, and the
answers that are reported are to test prompts.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from interp.data import Contrast
from interp.models.language_model import LanguageModel
from interp.progress import progress_bar
from interp.provenance import Provenance
from interp.results import Completion, RefusalComparison, conditions_of
from interp.results.refusal import Instructions, Source
from interp.results.truthfulness import ROLES, Role
from probes.studies.pair import require_same_shape
from probes.studies.refusal.chat import templates
from probes.studies.refusal.choice import judged_candidates, vectors_of
from probes.studies.refusal.completions import Vector, answer, conditions
from probes.studies.refusal.direction import Directions, can_ablate, directions
from probes.studies.refusal.setting import (
    Kept,
    Side,
    Split,
    kept_of,
    tokens_of,
)
from probes.studies.refusal.spec import RefusalSpec
from probes.studies.refusal.words import (
    ablation_notes,
    chosen_directions,
    counts_of,
    position_in_words,
    prompt_notes,
)
from probes.studies.truthfulness.readout import cosines


SPLITS: tuple[Split, Split] = ("train", "val")


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
        Side(role="base", model=base, template=own),
        Side(role="post", model=post, template=of_post),
    )
    tokens = tokens_of(sides[1], instructions, spec)
    kept: dict[Split, Kept] = {
        split: kept_of(sides[1], instructions, split, tokens) for split in SPLITS
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
    choice = judged_candidates(
        sides[1],
        found[1],
        kept["val"],
        tokens,
        max_divergence=spec.max_divergence,
        only_affine=bool(reasons[1]),
    )
    chosen = choice.chosen
    vectors = vectors_of(chosen, found, spec)
    completions = _answers(sides, instructions, vectors, tokens, spec, reasons)
    slot = spec.positions.index(chosen.position) if chosen else 0
    cosine = _cosine(found[0][slot], found[1][slot])
    return RefusalComparison(
        models=(spec.base, spec.post),
        datasets=(*spec.harmful, *spec.harmless),
        counts=counts_of(instructions, kept),
        directions=chosen_directions(chosen, vectors, choice.candidates, tokens, post),
        candidates=choice.candidates,
        layers=np.arange(cosine.size, dtype=np.int32),
        cosine=cosine.astype(np.float32),
        cosine_position=position_in_words(found, slot),
        cosine_chosen=float(cosine[chosen.layer]) if chosen else float("nan"),
        conditions=conditions_of(completions),
        completions=completions,
        notes=(
            *instructions.notes,
            *prompt_notes(sides, instructions),
            *choice.notes,
            *ablation_notes(reasons),
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


def _answers(
    sides: Sequence[Side],
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
