"""What ablation does beside refusal, and what else a direction may be, as rows."""

from collections.abc import Mapping, Sequence
from functools import partial

from interp.data import Contrast
from interp.results import Completion, RefusalPunctuation, RefusalSideEffect
from interp.results.refusal import Intervention, Source
from interp.results.truthfulness import Role
from probes.studies.fields import bounded_number
from probes.studies.refusal.candidates import Candidates
from probes.studies.refusal.completions import Vector
from probes.studies.refusal.confounds import punctuation_confound
from probes.studies.refusal.setting import Side
from probes.studies.refusal.side_effects import SideEffects, side_effects


OWN_TEXT = "harmless instructions and the unchanged model's own answers"
ABLATE: Intervention = "ablate"


def side_effect_rows(
    side: Side,
    completions: Sequence[Completion],
    vectors: Mapping[tuple[Role, Source], Vector],
    *,
    seed: int,
) -> tuple[RefusalSideEffect, ...]:
    """What ablating each direction does to ordinary text and to harmless answers.

    The ordinary text is what the unchanged model answers to harmless instructions,
    behind the prompts.

    Args:
        side: The model.
        completions: All answers of the study.
        vectors: The directions as they are used in each model.
        seed: Of the bootstrap over texts.
    """
    model = side.model
    answers: dict[str, list[str]] = {}
    texts: list[str] = []
    for row in completions:
        if (row.model, row.instructions) != (side.role, "harmless"):
            continue
        if row.intervention == "ablate":
            answers.setdefault(row.direction, []).append(row.completion)
        elif row.intervention == "none":
            texts.append(side.template.text(row.prompt) + row.completion)
    sources: tuple[Source, ...] = ("post", "base", "random")
    edits = {
        source: partial(vectors[side.role, source].edit, model, ABLATE)
        for source in sources
        if source in answers
    }
    if not edits:
        return ()
    encoded = model.tokenizer(texts, add_special_tokens=False, verbose=False)
    ids = [list(row) for row in encoded["input_ids"]]
    found = side_effects(model, ids, edits, answers=answers, seed=seed)
    by_name = {one.condition: one for one in found}
    return tuple(_row(source, by_name[source]) for source in sources if source in edits)


def punctuation_rows(
    side: Side,
    found: Candidates,
    instructions: Contrast,
    *,
    seed: int,
) -> tuple[RefusalPunctuation, ...]:
    """How much every candidate of a model looks like a mark at the end.

    Args:
        side: The model and how it is asked.
        found: Its candidates.
        instructions: Both classes; the contrast is made on harmless training prompts.
        seed: Of the null.
    """
    confound = punctuation_confound(
        side.model,
        found.vectors,
        instructions.harmless.train,
        template=side.template,
        positions=found.positions,
        seed=seed,
    )
    return tuple(
        RefusalPunctuation(
            model=side.role,
            position=position,
            layer=layer,
            cosine=float(confound.cosine[slot, layer]),
            null=float(confound.null[slot, layer]),
        )
        for slot, position in enumerate(found.positions)
        for layer in range(found.n_layers)
        if not found.degenerate[slot, layer]
    )


def _row(source: Source, one: SideEffects) -> RefusalSideEffect:
    refused, repeated = one.false_refusals, one.repetition
    assert refused is not None
    assert repeated is not None
    return RefusalSideEffect(
        direction=source,
        text=OWN_TEXT,
        n_texts=one.n_texts,
        n_tokens=one.n_tokens,
        loss_clean=float(one.loss_clean.estimate),
        **bounded_number("loss_change", one.loss_change),
        **bounded_number("divergence", one.divergence),
        n_answers=refused.n,
        false_refusals=refused.rate,
        false_refusals_low=refused.low,
        false_refusals_high=refused.high,
        looping=repeated.looping.rate,
        distinct=repeated.distinct,
    )
