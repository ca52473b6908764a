"""The refusal study: which direction makes a model refuse, and does BASE have it too.

Directions are fitted on training prompts, one is chosen on validation prompts, and the
answers that are reported are to test prompts.
"""

from pathlib import Path

import numpy as np

from interp.data import Contrast
from interp.directions import Direction
from interp.models.language_model import LanguageModel
from interp.provenance import Provenance
from interp.results import RefusalComparison, conditions_of
from interp.results.truthfulness import ROLES
from probes.studies.directions import FOLDER, keep, of_role
from probes.studies.refusal.asked import Asked
from probes.studies.refusal.chat import templates
from probes.studies.refusal.choice import choose
from probes.studies.refusal.cosines import cosine_rows, own_cosines
from probes.studies.refusal.direction import can_ablate
from probes.studies.refusal.fitting import fitted
from probes.studies.refusal.measuring import Measured, measured
from probes.studies.refusal.setting import Side
from probes.studies.refusal.spec import RefusalSpec
from probes.studies.refusal.words import (
    chosen_directions,
    chosen_scores,
    counts_of,
    limits_of,
    notes_of,
    position_in_words,
)
from probes.studies.same_shape import require_same_shape
from probes.studies.shards import Shards


def refusal(
    base: LanguageModel,
    post: LanguageModel,
    instructions: Contrast,
    *,
    spec: RefusalSpec,
    provenance: Provenance,
    run: Path | None = None,
) -> RefusalComparison:
    """Refusal directions of both models, and what ablating and adding them does.

    Args:
        base: The base model.
        post: The post-trained model.
        instructions: Harmful and harmless instructions, already split.
        spec: The settings.
        provenance: What goes into the result as its origin.
        run: A run folder: it keeps finished parts, from which a stopped study goes
            on, and each model's direction, if there is a usable one.

    Returns:
        A result also where no direction is usable: then with the reason.

    Raises:
        IncompatibleError: If the models differ in depth or width.
        PromptError: If an instruction cannot be put to a model.
        StoppedError: If a signal asked for it.

    Source:
        Arditi et al. (2024), arXiv:2406.11717.
    """
    shards = Shards.of_run(run)
    asked = _asked(base, post, instructions, spec, shards)
    if run is not None:
        keep(run / FOLDER, _directions(asked, provenance))
    return _result(asked, measured(asked, shards), provenance)


def _asked(
    base: LanguageModel,
    post: LanguageModel,
    instructions: Contrast,
    spec: RefusalSpec,
    shards: Shards,
) -> Asked:
    require_same_shape(base, post)
    own, of_post = templates(base, post)
    sides = (
        Side(role="base", model=base, template=own),
        Side(role="post", model=post, template=of_post),
    )
    found = fitted(sides, instructions, spec)
    reasons = (can_ablate(base), can_ablate(post))
    choice = choose(
        sides[1],
        found.found[1],
        found.kept["val"],
        found.tokens,
        spec=spec,
        only_affine=bool(reasons[1]),
        shards=shards,
    )
    return Asked(
        sides=sides,
        instructions=instructions,
        fitted=found,
        choice=choice,
        reasons=reasons,
        spec=spec,
    )


def _result(
    asked: Asked, measures: Measured, provenance: Provenance
) -> RefusalComparison:
    spec, choice, found = asked.spec, asked.choice, asked.fitted.found
    chosen = choice.chosen
    position = chosen.position if chosen else found[1].positions[-1]
    cosines = cosine_rows(found[0], asked.fitted.common, found[1])
    cosine = own_cosines(cosines, position)
    read = measures.read
    return RefusalComparison(
        models=(spec.base, spec.post),
        datasets=(*spec.harmful, *spec.harmless),
        counts=counts_of(asked.instructions, asked.fitted.kept),
        directions=chosen_directions(asked),
        candidates=choice.candidates,
        layers=np.arange(cosine.size, dtype=np.int32),
        cosine=cosine,
        cosine_position=position_in_words(found, position),
        cosine_chosen=float(cosine[chosen.layer]) if chosen else float("nan"),
        conditions=conditions_of(measures.completions),
        completions=measures.completions,
        doses=measures.doses,
        cosines=cosines,
        side_effects=measures.side_effects,
        punctuation=measures.punctuation,
        projections=measures.projections,
        words=read.words,
        answer_words=read.tokens,
        answer_projections=read.projections,
        answer_lengths=read.lengths,
        rule=choice.rule,
        selection=choice.selection,
        chosen_scores=chosen_scores(choice),
        limits=limits_of(choice),
        resamples=choice.resamples,
        none_share=choice.none_share,
        notes=notes_of(asked, measures.punctuation),
        provenance=provenance,
    )


def _directions(asked: Asked, provenance: Provenance) -> dict[str, Direction]:
    """Each model's own direction, where it was read."""
    train = asked.fitted.kept["train"]
    found: dict[str, Direction] = {}
    for role in ROLES:
        held = asked.vectors.get((role, role))
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
