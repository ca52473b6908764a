"""The confidence study: how sure two models are, and what their neurons do to it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import Tensor

from interp.errors import IncompatibleError, UnsupportedModelError
from interp.models.language_model import LanguageModel
from interp.models.tokens import tokenize
from interp.neurons import (
    distance_moved,
    overlap,
    own_token_counts,
    promoted_tokens,
    token_counts,
    unigram_direction,
)
from interp.neurons.frequency import cosines_with_target
from interp.neurons.output import Output, output_of
from interp.neurons.spectrum import head_moments
from interp.neurons.swaps import require_same_neurons
from interp.neurons.table import computing_device, table_of
from interp.provenance import Provenance
from interp.results.confidence import ConfidenceComparison, NeuronEffect
from interp.results.neurons import NeuronTable, NeuronTokens
from interp.results.truthfulness import ROLES, Role
from probes.studies.confidence.ablation import ablated
from probes.studies.confidence.spec import ConfidenceSpec
from probes.studies.confidence.swapping import Swapped, measured
from probes.studies.confidence.texts import Texts
from probes.studies.fields import bounded_number
from probes.studies.shards import Shards


Pair = tuple[LanguageModel, LanguageModel]
Ids = tuple[tuple[int, ...], ...]
Unigram = Float[Tensor, " vocab"]


def confidence(
    base: LanguageModel,
    post: LanguageModel,
    texts: Texts,
    *,
    spec: ConfidenceSpec,
    provenance: Provenance,
    run: Path | None = None,
) -> ConfidenceComparison:
    """How sure both models are of the same tokens, and which neurons make them so.

    Candidates come from the weights alone; what they do is measured on the first
    `effect_texts` texts, confidence and swaps on all of them.

    Args:
        base: The base model.
        post: The post-trained model.
        texts: Ordinary texts.
        spec: The settings.
        provenance: What goes into the result as its origin.
        run: A run folder: it keeps finished parts, from which a stopped study goes
            on.

    Raises:
        IncompatibleError: If the models have other neurons, vocabularies or tokens.
        UnsupportedModelError: If their last MLP is a mixture of experts.
        PromptError: If no text is long enough.
        StoppedError: If a signal asked for it; finished parts are kept.

    Source:
        Stolfo et al. (2024), arXiv:2406.16254; Du et al. (2025), arXiv:2504.02904.
    """
    models = (base, post)
    require_same_neurons(base, post)
    ids = tokens_of(models, texts.texts, max_tokens=spec.max_tokens)
    outputs, missing = _outputs(models)
    unigram = _unigram(base, ids, spec)
    weighed = [
        _weighed(model, output, unigram, spec)
        for model, output in zip(models, outputs, strict=True)
    ]
    shards = Shards.of_run(run)
    effects: list[NeuronEffect] = []
    for role, model, own in zip(ROLES, models, weighed, strict=True):
        ablate = partial(
            _ablated, model, ids, own, unigram=unigram, role=role, spec=spec
        )
        effects += shards.kept(f"effects-{role}", Effects, ablate).rows
    tables = (weighed[0].table, weighed[1].table)
    swapped = measured(models, outputs, ids, tables, spec=spec, shards=shards)
    tested = sorted({row.neuron for row in effects})
    moved = distance_moved(base, post) if not missing else (math.nan, math.nan)
    return _result(
        texts,
        ids,
        _Found(
            tables=tables,
            cosines=(weighed[0].cosine, weighed[1].cosine),
            effects=tuple(effects),
            swapped=swapped,
            moved=moved,
            missing=missing,
            # Of both models, so that the same neuron can be compared.
            tokens=tuple(
                promoted_tokens(model, tested, output=output)
                for model, output in zip(models, outputs, strict=True)
            ),
        ),
        spec,
        provenance,
    )


def tokens_of(models: Pair, texts: Sequence[str], *, max_tokens: int) -> Ids:
    """The tokens of texts, cut to a length, if both models read them alike.

    Args:
        models: Base and post.
        texts: The texts.
        max_tokens: Longer texts are cut; also to what the models can read.

    Raises:
        IncompatibleError: If the models read a text as different tokens.
    """
    rows: list[Ids] = []
    for model in models:
        most = min(max_tokens, model.context_length or max_tokens)
        whole = tokenize(model.tokenizer, texts, d_vocab=model.d_vocab)
        rows.append(tuple(row[:most] for row in whole.ids))
    for number, (first, second) in enumerate(zip(*rows, strict=True)):
        if first != second:
            raise IncompatibleError(
                f"{models[0].name!r} and {models[1].name!r} read text {number} as "
                "different tokens.",
                expected="Confidence is compared on the same tokens.",
            )
    return rows[0]


def _outputs(models: Pair) -> tuple[tuple[Output, Output], tuple[str, ...]]:
    """The output paths of both models, and why their neurons are left out if so."""
    try:
        return (output_of(models[0]), output_of(models[1])), ()
    except UnsupportedModelError as error:
        base, post = (output_of(model, with_neurons=False) for model in models)
        return (base, post), (
            f"Neurons were left out: {error.what} Confidence itself was measured.",
        )


def _unigram(model: LanguageModel, ids: Ids, spec: ConfidenceSpec) -> Unigram:
    """Which tokens are frequent: in the texts, or in what the model writes itself."""
    if spec.unigram == "texts":
        return unigram_direction(token_counts(model, ids))
    return unigram_direction(own_token_counts(model, seed=spec.seed))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Weighed:
    """What the weights of one model say."""

    table: NeuronTable
    cosine: Float[np.ndarray, " neuron"]


def _weighed(
    model: LanguageModel,
    output: Output,
    unigram: Unigram,
    spec: ConfidenceSpec,
) -> _Weighed:
    moments = head_moments(
        output.head,
        output.final_norm,
        target=unigram,
        device=computing_device(output, None),
    )
    table = table_of(
        output,
        moments,
        identity=model.identity(hashes=False),
        percentile=spec.percentile,
        n_candidates=spec.candidates,
        null_share=spec.null_share,
    )
    return _Weighed(table=table, cosine=cosines_with_target(output, moments, unigram))


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """What ablating one model's neurons does; a part that is kept on disk."""

    rows: tuple[NeuronEffect, ...]


def _ablated(
    model: LanguageModel,
    ids: Ids,
    own: _Weighed,
    *,
    unigram: Unigram,
    role: Role,
    spec: ConfidenceSpec,
) -> Effects:
    rows = ablated(model, ids, own.table, own.cosine, unigram, role=role, spec=spec)
    return Effects(rows=rows)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Found:
    """Everything that was measured."""

    tables: tuple[NeuronTable, NeuronTable]
    cosines: tuple[np.ndarray, np.ndarray]
    effects: tuple[NeuronEffect, ...]
    swapped: Swapped
    moved: tuple[float, float]
    missing: tuple[str, ...]
    tokens: tuple[tuple[NeuronTokens, ...], ...]


def _result(
    texts: Texts,
    ids: Ids,
    found: _Found,
    spec: ConfidenceSpec,
    provenance: Provenance,
) -> ConfidenceComparison:
    tables, swapped = found.tables, found.swapped
    base, post = tables
    shared = overlap(base, post)
    clean = swapped.clean
    return ConfidenceComparison(
        models=(spec.base, spec.post),
        datasets=texts.sources,
        n_texts=len({*clean[0].groups.tolist()}),
        layer=base.layer,
        final_norm=base.final_norm,
        percentile=spec.percentile,
        null_directions=base.null_directions,
        norm=np.stack([one.norm for one in tables]),
        logit_var=np.stack([one.logit_var for one in tables]),
        null_fraction=np.stack([one.null_fraction for one in tables]),
        frequency_cosine=np.stack(found.cosines),
        singular_values=np.stack([one.singular_values for one in tables]),
        mlp_moved=found.moved[0],
        gain_moved=found.moved[1],
        candidates=(
            tuple(base.candidates.tolist()),
            tuple(post.candidates.tolist()),
        ),
        sizes=shared.sizes,
        overlap=shared.iou,
        overlap_expected=shared.expected,
        overlap_low=shared.low,
        overlap_high=shared.high,
        overlap_p=shared.p,
        effects=found.effects,
        confidence=swapped.rows,
        **bounded_number("gap", swapped.gap),
        entropy=np.stack([one.entropy for one in clean]),
        top=np.stack([one.top for one in clean]),
        correct=np.stack([one.correct for one in clean]),
        loss=np.stack([one.loss for one in clean]),
        brier=np.stack([one.brier for one in clean]),
        groups=clean[0].groups,
        tokens=(found.tokens[0], found.tokens[1]),
        notes=(*found.missing, *_notes(texts, ids, tables, swapped, spec)),
        provenance=provenance,
    )


def _notes(
    texts: Texts,
    ids: Ids,
    tables: tuple[NeuronTable, NeuronTable],
    swapped: Swapped,
    spec: ConfidenceSpec,
) -> tuple[str, ...]:
    notes = [*texts.notes, *dict.fromkeys(n for one in tables for n in one.notes)]
    cut = sum(len(row) == spec.max_tokens for row in ids)
    if cut:
        notes.append(f"{cut} texts were cut to {spec.max_tokens} tokens.")
    notes.append(
        "Predictions are those of every token but the first two: what stands first is "
        "where attention rests."
    )
    notes.append(
        "Losses and calibration take the token that comes in the text as the right one."
    )
    notes.append(
        f"Swaps take the {swapped.n_neurons} neurons that are candidates in either "
        "model, with their incoming and output weights, or the gain of the final norm; "
        "random neurons are of about the same norms."
    )
    if not (swapped.gap.low > 0 or swapped.gap.high < 0):
        notes.append(
            "The models do not differ in mean entropy for certain, so that shares of "
            "that difference are not given."
        )
    notes.append(
        "The overlap's null draws from all neurons; that large norms stay large in "
        "fine-tuning is part of what it is compared with."
    )
    return tuple(notes)
