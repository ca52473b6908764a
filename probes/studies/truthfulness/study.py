"""The truthfulness study: where two models keep whether a statement is true.

Directions are fitted on training statements, layers and places are chosen on validation
statements, and every number that is reported comes from test statements about other
things than those two.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from torch import Tensor

from interp.activations import capture
from interp.data import Splits, Statements, bag_of_words_scores, split_by_group
from interp.models.language_model import LanguageModel
from interp.provenance import Provenance
from interp.results import SplitCount, TruthfulnessComparison
from interp.statistics import (
    Interval,
    auroc,
    auroc_interval,
    mean_interval,
    permutation_p,
)
from probes.studies.pair import require_same_shape
from probes.studies.truthfulness import readout
from probes.studies.truthfulness.intervention import Interventions, intervene
from probes.studies.truthfulness.places import subject_of
from probes.studies.truthfulness.spec import TruthfulnessSpec
from probes.studies.truthfulness.spots import LAST, slots_of


Split = Literal["train", "val", "test"]


def truthfulness(
    base: LanguageModel,
    post: LanguageModel,
    statements: Statements,
    *,
    spec: TruthfulnessSpec,
    provenance: Provenance,
) -> TruthfulnessComparison:
    """Truth directions of both models, how they carry over, and what they do.

    Args:
        base: The base model.
        post: The post-trained model.
        statements: Labelled statements; see `interp.data.statements`.
        spec: The settings.
        provenance: What goes into the result as its origin.

    Raises:
        IncompatibleError: If the models differ in depth or width.
        DataError: If the statements cannot be split by group.

    Source:
        Marks & Tegmark (2023), arXiv:2310.06824; Du et al. (2025), arXiv:2504.02904.
    """
    require_same_shape(base, post)
    splits = split_by_group(
        statements.groups, statements.labels, fractions=spec.fractions, seed=spec.seed
    )
    slots = [slots_of(model, statements) for model in (base, post)]
    rows = [
        capture(
            model,
            statements.prompts,
            sites="resid_post.*",
            positions=own.positions(),
            dtype="float32",
        )["resid_post"]
        for model, own in zip((base, post), slots, strict=True)
    ]
    last = slots[0].names.index(LAST)
    table = _read_out([each[:, :, last] for each in rows], statements, splits, spec)
    subjects = [
        subject_of(model, own, each, statements=statements, splits=splits)
        for model, own, each in zip((base, post), slots, rows, strict=True)
    ]
    done = intervene((subjects[0], subjects[1]), statements, splits, spec=spec)
    return _result(statements, splits, table, done, spec, provenance, base)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Table:
    """Readouts of two models: first axis whose direction, second whose activations."""

    scores: Float[np.ndarray, "two two layer example"]
    auroc: Interval
    accuracy: Interval
    validation: Float[np.ndarray, "two layer"]
    best: tuple[int, int]
    p: tuple[float, float]
    cosine: Float[np.ndarray, " layer"]
    null: readout.Null
    surface: Interval


def _read_out(
    rows: list[Tensor], statements: Statements, splits: Splits, spec: TruthfulnessSpec
) -> _Table:
    labels = [
        statements.labels[part] for part in (splits.train, splits.val, splits.test)
    ]
    groups = [statements.groups[i] for i in splits.test]
    parts = [readout.split_rows(each, splits) for each in rows]
    fits = [readout.fit(train, labels[0]) for train, _, _ in parts]
    projected = [
        [
            [readout.project(part, of.direction, into.centre) for part in three]
            for into, three in zip(fits, parts, strict=True)
        ]
        for of in fits
    ]
    train, val, test = (
        np.stack([np.stack([two[i] for two in of]) for of in projected])
        for i in range(3)
    )
    cut = readout.threshold(train, labels[0])
    correct = (test > cut[..., None]) == labels[2]
    best = tuple(readout.best_layer(val[i, i], labels[1]) for i in range(2))
    options = {"groups": groups, "resamples": spec.resamples, "seed": spec.seed}
    surface = bag_of_words_scores(
        [statements.prompts[i] for i in splits.train],
        labels[0],
        [statements.prompts[i] for i in splits.test],
    )
    return _Table(
        scores=test,
        auroc=auroc_interval(test, labels[2], **options),
        accuracy=mean_interval(correct, **options),
        validation=np.stack([auroc(val[i, i], labels[1]) for i in range(2)]),
        best=(best[0], best[1]),
        p=(
            float(permutation_p(test[0, 0, best[0]], labels[2], seed=spec.seed)),
            float(permutation_p(test[1, 1, best[1]], labels[2], seed=spec.seed)),
        ),
        cosine=readout.cosines(fits[0].direction, fits[1].direction),
        null=readout.cosine_null(
            parts[0][0],
            parts[1][0],
            labels[0],
            permutations=spec.permutations,
            seed=spec.seed,
        ),
        surface=auroc_interval(surface, labels[2], **options),
    )


def _result(
    statements: Statements,
    splits: Splits,
    table: _Table,
    done: Interventions,
    spec: TruthfulnessSpec,
    provenance: Provenance,
    base: LanguageModel,
) -> TruthfulnessComparison:
    test = splits.test
    scores = np.stack([table.scores[i, :, table.best[i]] for i in range(2)])
    return TruthfulnessComparison(
        models=(spec.base, spec.post),
        datasets=tuple(dict.fromkeys(statements.sources)),
        position=_last_tokens(base, statements),
        centring="inductive",
        counts=_counts(statements, splits),
        layers=np.arange(table.cosine.size, dtype=np.int32),
        auroc=_float32(table.auroc.estimate),
        auroc_low=_float32(table.auroc.low),
        auroc_high=_float32(table.auroc.high),
        accuracy=_float32(table.accuracy.estimate),
        accuracy_low=_float32(table.accuracy.low),
        accuracy_high=_float32(table.accuracy.high),
        validation_auroc=_float32(table.validation),
        best_layers=table.best,
        permutation_p=table.p,
        cosine=_float32(table.cosine),
        cosine_null_low=_float32(table.null.low),
        cosine_null_high=_float32(table.null.high),
        statements=tuple(statements.prompts[i] for i in test),
        labels=statements.labels[test],
        groups=tuple(statements.groups[i] for i in test),
        scores=_float32(scores),
        surface_auroc=float(table.surface.estimate),
        surface_auroc_low=float(table.surface.low),
        surface_auroc_high=float(table.surface.high),
        interventions=done.effects,
        notes=(*statements.notes, *_split_notes(statements), *done.notes),
        provenance=provenance,
    )


def _split_notes(statements: Statements) -> tuple[str, ...]:
    return (
        f"Statements are split by {statements.group_rule}, so that nothing that a "
        "test statement is about occurs in training.",
        "A statement counts as true when its projection is above the middle between "
        "the class means of the training statements.",
        "Shuffled labels give high cosines too where both models represent statements "
        "alike; how well a direction separates in the other model is the stronger "
        "evidence.",
    )


def _counts(statements: Statements, splits: Splits) -> tuple[SplitCount, ...]:
    names: tuple[Split, ...] = ("train", "val", "test")
    cuts = (splits.train, splits.val, splits.test)
    return tuple(
        SplitCount(
            split=name,
            statements=len(rows),
            true=int(statements.labels[rows].sum()),
            groups=len({statements.groups[i] for i in rows}),
        )
        for name, rows in zip(names, cuts, strict=True)
    )


def _last_tokens(model: LanguageModel, statements: Statements) -> str:
    """The position that is read, with the token that stands there."""
    found = {ids[-1] for ids in model.tokenize(statements.prompts).ids}
    if len(found) == 1:
        return f"last token ({model.tokenizer.decode(list(found))!r})"
    return f"last token ({len(found)} different ones)"


def _float32(values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    return np.asarray(values, dtype=np.float32)
