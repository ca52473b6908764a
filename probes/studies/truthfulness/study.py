"""The truthfulness study: where two models keep whether a statement is true.

Directions and probes are fitted on training statements, layers and places are chosen on
validation statements, and every number that is reported comes from test statements
about other things than those two.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float32, Int, Int32
from numpy.typing import ArrayLike
from torch import Tensor

from interp.activations import capture
from interp.data import Splits, Statements, split_by_group
from interp.errors import ConfigError
from interp.models.language_model import LanguageModel
from interp.provenance import Provenance
from interp.results import (
    DatasetTransfer,
    ProbeScore,
    SplitCount,
    TruthCosine,
    TruthfulnessComparison,
)
from interp.results.truthfulness import ROLES
from probes.studies.directions import (
    FOLDER,
    PROBES_FOLDER,
    keep_directions,
    keep_probes,
)
from probes.studies.same_shape import require_same_shape
from probes.studies.shards import Shards
from probes.studies.truthfulness.cosines import CosineTable, cosine_table
from probes.studies.truthfulness.datasets import TransferTable, transfer_table
from probes.studies.truthfulness.intervention import Interventions, intervene
from probes.studies.truthfulness.kept import found_directions, found_probes
from probes.studies.truthfulness.negation import negation_of, with_negations_together
from probes.studies.truthfulness.places import subject_of
from probes.studies.truthfulness.probing import ProbeTable, probe_table
from probes.studies.truthfulness.readout import centred
from probes.studies.truthfulness.shown import principal_components, shown_statements
from probes.studies.truthfulness.spec import TruthfulnessSpec
from probes.studies.truthfulness.spots import LAST, slots_of
from probes.studies.truthfulness.two_by_two import Table, read_out


Split = Literal["train", "val", "test"]
# Of the statements without their negation, so many are listed.
MOST_UNPAIRED = 500


def truthfulness(
    base: LanguageModel,
    post: LanguageModel,
    statements: Statements,
    *,
    spec: TruthfulnessSpec,
    provenance: Provenance,
    folder: Path | None = None,
    run: Path | None = None,
) -> TruthfulnessComparison:
    """Truth directions of both models, how they carry over, and what they do.

    Args:
        base: The base model.
        post: The post-trained model.
        statements: Labelled statements; see `interp.data.statements`.
        spec: The settings.
        provenance: What goes into the result as its origin.
        folder: Where finished parts are kept, so that a stopped study goes on there.
        run: Where each model's direction and probes of their best layers are kept, in
            folders of that name.

    Raises:
        IncompatibleError: If the models differ in depth or width.
        DataError: If the statements cannot be split by group.
        ConfigError: If the settings name layers or a column that do not exist.
        StoppedError: If a signal asked for it.

    Source:
        Marks & Tegmark (2023), arXiv:2310.06824; Du et al. (2025), arXiv:2504.02904.
    """
    require_same_shape(base, post)
    _check_layers(base, spec)
    statements = with_negations_together(with_datasets(statements, spec))
    splits = split_by_group(
        statements.groups, statements.labels, fractions=spec.fractions, seed=spec.seed
    )
    shards = Shards(folder=folder)
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
    read = [each[:, :, last] for each in rows]
    if spec.centring == "transductive":
        read = [centred(each, splits, statements.sources) for each in read]
    measured = _measure(read, rows, last, statements, splits, spec, shards)
    if spec.interventions:
        subjects = [
            subject_of(model, own, each, statements=statements, splits=splits)
            for model, own, each in zip((base, post), slots, rows, strict=True)
        ]
        done = intervene(
            (subjects[0], subjects[1]), statements, splits, spec=spec, shards=shards
        )
    else:
        done = Interventions()
    table = read_out(read, statements, splits, spec)
    if run is not None:
        plain = [each[:, :, last] for each in rows]
        keep_directions(
            run / FOLDER,
            found_directions(plain, read, statements, splits, table, provenance),
        )
        keep_probes(
            run / PROBES_FOLDER,
            found_probes(
                plain,
                statements,
                splits,
                measured.tables,
                provenance=provenance,
                centred=spec.centring == "transductive",
            ),
        )
    return _result(statements, splits, table, measured, done, spec, provenance, base)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """The tables of both models, and in sentences what they lack or mean."""

    tables: list[ProbeTable]
    probes: tuple[ProbeScore, ...]
    transfer: tuple[DatasetTransfer, ...]
    cosines: tuple[TruthCosine, ...]
    shown: Int32[np.ndarray, " shown"]
    scores: Float32[np.ndarray, "probe shown"]
    components: Float32[np.ndarray, "model layer shown 2"]
    notes: tuple[str, ...]


def _measure(
    read: list[Tensor],
    rows: list[Tensor],
    last: int,
    statements: Statements,
    splits: Splits,
    spec: TruthfulnessSpec,
    shards: Shards,
) -> _Measured:
    """Probes, data sets and cosines, each a part that is kept on disk."""
    train = torch.from_numpy(splits.train)
    tables = [
        shards.kept(
            f"probes-{role}",
            ProbeTable,
            lambda role=role, own=own: probe_table(
                role, own, statements, splits, spec=spec
            ),
        )
        for role, own in zip(ROLES, read, strict=True)
    ]
    # The centring of data sets is the matrix's own.
    transfers = [
        shards.kept(
            f"datasets-{role}",
            TransferTable,
            lambda role=role, own=own: transfer_table(
                role, own[:, :, last], statements, spec=spec
            ),
        )
        for role, own in zip(ROLES, rows, strict=True)
    ]
    cosines = shards.kept(
        "cosines",
        CosineTable,
        lambda: cosine_table(
            read[0][train], read[1][train], statements.take(splits.train), spec=spec
        ),
    )
    notes = [note for table in (*tables, *transfers, cosines) for note in table.notes]
    rows_of = tuple(row for table in tables for row in table.rows)
    scores = [row for table in tables for row in table.scores]
    shown = shown_statements(splits, read[0].shape[1], spec)
    # Parts of a run that began under an older version hold no scores.
    whole = len(scores) == len(rows_of) > 0
    test = splits.test[shown]
    return _Measured(
        tables=tables,
        shown=shown,
        scores=_float32(scores if whole else np.empty((0, shown.size))),
        components=_float32(
            [
                principal_components(
                    own[torch.from_numpy(test)], statements.labels[test], seed=spec.seed
                )
                for own in read
            ]
        ),
        probes=rows_of,
        transfer=tuple(row for table in transfers for row in table.rows),
        cosines=cosines.rows,
        notes=tuple(dict.fromkeys(notes)),
    )


def _check_layers(model: LanguageModel, spec: TruthfulnessSpec) -> None:
    if spec.layers is not None and spec.layers[1] >= model.n_layers:
        raise ConfigError(
            f"layers is {list(spec.layers)}.",
            expected=f"{model.name!r} has the layers 0 to {model.n_layers - 1}.",
        )


def with_datasets(statements: Statements, spec: TruthfulnessSpec) -> Statements:
    """The statements with their data sets as the settings name them."""
    column = spec.dataset_column
    if column is None:
        return statements
    if column not in statements.columns:
        raise ConfigError(
            f"dataset_column is {column!r}, and {statements.name} has no such column.",
            expected=f"Columns: {', '.join(map(str, statements.columns))}.",
        )
    return replace(statements, sources=tuple(statements.columns[column].astype(str)))


def _result(
    statements: Statements,
    splits: Splits,
    table: Table,
    measured: _Measured,
    done: Interventions,
    spec: TruthfulnessSpec,
    provenance: Provenance,
    base: LanguageModel,
) -> TruthfulnessComparison:
    test = splits.test
    scores = np.stack([table.scores[i, :, table.best[i]] for i in range(2)])
    plain = [row for row in measured.cosines if row.metric == "plain"]
    nothing = np.full(table.cosine.shape, np.nan)
    alone = negation_of(statements).alone
    return TruthfulnessComparison(
        models=(spec.base, spec.post),
        datasets=tuple(dict.fromkeys(statements.sources)),
        position=_last_tokens(base, statements),
        centring=spec.centring,
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
        cosine_null_low=_float32([r.shared_low for r in plain] or nothing),
        cosine_null_high=_float32([r.shared_high for r in plain] or nothing),
        statements=tuple(statements.prompts[i] for i in test),
        labels=statements.labels[test],
        groups=tuple(statements.groups[i] for i in test),
        scores=_float32(scores),
        surface_auroc=float(table.surface.estimate),
        surface_auroc_low=float(table.surface.low),
        surface_auroc_high=float(table.surface.high),
        interventions=done.effects,
        doses=done.doses,
        probes=measured.probes,
        carried=table.carried,
        dataset_transfer=measured.transfer,
        cosines=measured.cosines,
        layer_cosines=_float32(table.layer_cosines),
        shown=measured.shown,
        probe_scores=measured.scores,
        components=measured.components,
        sources=tuple(statements.sources[i] for i in test),
        unpaired=tuple(statements.prompts[i] for i in alone[:MOST_UNPAIRED]),
        n_unpaired=len(alone),
        notes=(
            *statements.notes,
            *_split_notes(statements),
            *_alone_notes(alone, statements),
            *measured.notes,
            *done.notes,
        ),
        provenance=provenance,
    )


def _split_notes(statements: Statements) -> tuple[str, ...]:
    return (
        f"Statements are split by {statements.group_rule}, so that nothing that a "
        "test statement is about occurs in training; a statement and its negation are "
        "never in two splits.",
        "A statement counts as true when a logistic regression on the projections of "
        "the training statements says so.",
    )


def _alone_notes(alone: Int[np.ndarray, " row"], statements: Statements) -> list[str]:
    if not alone.size:
        return []
    listed = min(alone.size, MOST_UNPAIRED)
    which = "listed" if listed == alone.size else f"the first {listed} are listed"
    return [
        f"{alone.size} of {len(statements)} statements have no negation among the "
        f"others ({which}): the probes ccs and crc are fitted without them."
    ]


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


def _float32(values: ArrayLike) -> Float32[np.ndarray, "..."]:
    return np.asarray(values, dtype=np.float32)
