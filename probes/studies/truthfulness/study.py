"""The truthfulness study: where two models keep whether a statement is true.

Directions and probes are fitted on training statements, layers and places are chosen on
validation statements, and every number that is reported comes from test statements
about other things than those two.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float32, Int, Int32

from interp.data import Splits, Statements
from interp.models.language_model import LanguageModel
from interp.provenance import Provenance
from interp.results import (
    SplitCount,
    TruthfulnessComparison,
)
from interp.results.truthfulness import ROLES
from probes.studies.directions import FOLDER, PROBES_FOLDER, keep
from probes.studies.fields import bounded, bounded_number, float32
from probes.studies.shards import Shards
from probes.studies.truthfulness.cosines import CosineTable, cosine_table
from probes.studies.truthfulness.datasets import TransferTable, transfer_table
from probes.studies.truthfulness.intervention import Interventions, intervene
from probes.studies.truthfulness.kept import found_directions, found_probes
from probes.studies.truthfulness.negation import negation_of
from probes.studies.truthfulness.places import subject_of
from probes.studies.truthfulness.probing import ProbeTable, probe_table
from probes.studies.truthfulness.readings import Readings, readings
from probes.studies.truthfulness.shown import principal_components, shown_statements
from probes.studies.truthfulness.spec import TruthfulnessSpec
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
    run: Path | None = None,
) -> TruthfulnessComparison:
    """Truth directions of both models, how they carry over, and what they do.

    Args:
        base: The base model.
        post: The post-trained model.
        statements: Labelled statements; see `interp.data.statements`.
        spec: The settings.
        provenance: What goes into the result as its origin.
        run: A run folder: it keeps finished parts, from which a stopped study goes
            on, and each model's direction and probes of their best layers.

    Raises:
        IncompatibleError: If the models differ in depth or width.
        DataError: If the statements cannot be split by group.
        ConfigError: If the settings name layers or a column that do not exist.
        StoppedError: If a signal asked for it.

    Source:
        Marks & Tegmark (2023), arXiv:2310.06824; Du et al. (2025), arXiv:2504.02904.
    """
    given = readings((base, post), statements, spec)
    shards = Shards.of_run(run)
    measured = _measure(given, spec, shards)
    done = _intervened(given, spec, shards) if spec.interventions else Interventions()
    table = read_out(given.read, given.statements, given.splits, spec)
    if run is not None:
        _keep(run, given, table, measured.probes, spec, provenance)
    return TruthfulnessComparison(
        models=(spec.base, spec.post),
        centring=spec.centring,
        **_statement_fields(given),
        **_readout_fields(table),
        **_measured_fields(measured),
        interventions=done.effects,
        doses=done.doses,
        notes=(*_notes(given), *measured.notes, *done.notes),
        provenance=provenance,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Measured:
    """The tables of both models, and what is drawn of which statements."""

    probes: list[ProbeTable]
    transfers: list[TransferTable]
    cosines: CosineTable
    shown: Int32[np.ndarray, " shown"]
    components: Float32[np.ndarray, "model layer shown 2"]

    @property
    def notes(self) -> tuple[str, ...]:
        """In sentences what the tables lack or mean, each once."""
        tables = (*self.probes, *self.transfers, self.cosines)
        return tuple(dict.fromkeys(note for table in tables for note in table.notes))


def _measure(given: Readings, spec: TruthfulnessSpec, shards: Shards) -> _Measured:
    """Probes, data sets and cosines, each a part that is kept on disk."""
    statements, splits, read = given.statements, given.splits, given.read
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
            lambda role=role, own=own: transfer_table(role, own, statements, spec=spec),
        )
        for role, own in zip(ROLES, given.plain, strict=True)
    ]
    cosines = shards.kept(
        "cosines",
        CosineTable,
        lambda: cosine_table(
            read[0][train], read[1][train], statements.take(splits.train), spec=spec
        ),
    )
    shown = shown_statements(splits, read[0].shape[1], spec)
    test = splits.test[shown]
    rows = torch.from_numpy(test)
    components = [
        principal_components(own[rows], statements.labels[test], seed=spec.seed)
        for own in read
    ]
    return _Measured(
        probes=tables,
        transfers=transfers,
        cosines=cosines,
        shown=shown,
        components=float32(components),
    )


def _intervened(
    given: Readings, spec: TruthfulnessSpec, shards: Shards
) -> Interventions:
    """What pushing each model's judgement does, of the directions of both."""
    statements, splits = given.statements, given.splits
    base, post = (
        subject_of(model, own, rows, statements=statements, splits=splits)
        for model, own, rows in zip(
            given.models, given.slots, given.at_slots, strict=True
        )
    )
    return intervene((base, post), statements, splits, spec=spec, shards=shards)


def _keep(
    run: Path,
    given: Readings,
    table: Table,
    tables: Sequence[ProbeTable],
    spec: TruthfulnessSpec,
    provenance: Provenance,
) -> None:
    """Write each model's direction and probes of their best layers."""
    statements, splits = given.statements, given.splits
    directions = found_directions(
        given.plain, given.read, statements, splits, table, provenance
    )
    keep(run / FOLDER, directions)
    probes = found_probes(
        given.plain,
        statements,
        splits,
        tables,
        provenance=provenance,
        centred=spec.centring == "transductive",
    )
    keep(run / PROBES_FOLDER, probes)


def _statement_fields(given: Readings) -> dict[str, Any]:
    """Fields of the result that tell of the statements, and which token is read."""
    statements, test = given.statements, given.splits.test
    alone = negation_of(statements).alone
    return {
        "datasets": tuple(dict.fromkeys(statements.sources)),
        "position": _last_tokens(given.models[0], statements),
        "counts": _counts(statements, given.splits),
        "statements": tuple(statements.prompts[i] for i in test),
        "labels": statements.labels[test],
        "groups": tuple(statements.groups[i] for i in test),
        "sources": tuple(statements.sources[i] for i in test),
        "unpaired": tuple(statements.prompts[i] for i in alone[:MOST_UNPAIRED]),
        "n_unpaired": len(alone),
    }


def _readout_fields(table: Table) -> dict[str, Any]:
    """Fields of the result that come from the directions of both models."""
    return {
        "layers": np.arange(table.cosine.size, dtype=np.int32),
        **bounded("auroc", table.auroc),
        **bounded("accuracy", table.accuracy),
        "validation_auroc": float32(table.validation),
        "best_layers": table.best,
        "permutation_p": table.p,
        "cosine": float32(table.cosine),
        "layer_cosines": float32(table.layer_cosines),
        "scores": float32([table.scores[i, :, table.best[i]] for i in range(2)]),
        "carried": table.carried,
        **bounded_number("surface_auroc", table.surface),
    }


def _measured_fields(measured: _Measured) -> dict[str, Any]:
    """Fields of the result that come from probes, data sets and cosines."""
    rows = tuple(row for table in measured.probes for row in table.rows)
    scores = [row for table in measured.probes for row in table.scores]
    # Parts of a run that began under an older version hold no scores.
    whole = len(scores) == len(rows) > 0
    plain = [row for row in measured.cosines.rows if row.metric == "plain"]
    nothing = np.full(measured.components.shape[1], np.nan)
    return {
        "probes": rows,
        "dataset_transfer": tuple(
            r for table in measured.transfers for r in table.rows
        ),
        "cosines": measured.cosines.rows,
        "cosine_null_low": float32([r.shared_low for r in plain] or nothing),
        "cosine_null_high": float32([r.shared_high for r in plain] or nothing),
        "shown": measured.shown,
        "probe_scores": float32(
            scores if whole else np.empty((0, measured.shown.size))
        ),
        "components": measured.components,
    }


def _notes(given: Readings) -> tuple[str, ...]:
    statements = given.statements
    return (
        *statements.notes,
        f"Statements are split by {statements.group_rule}, so that nothing that a "
        "test statement is about occurs in training; a statement and its negation are "
        "never in two splits.",
        "A statement counts as true when a logistic regression on the projections of "
        "the training statements says so.",
        *_alone_notes(negation_of(statements).alone, statements),
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
