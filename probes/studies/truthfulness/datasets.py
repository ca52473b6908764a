"""Probes of each data set on each data set, at every layer of a model."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.data import Statements
from interp.errors import InterpError
from interp.results import DatasetTransfer
from interp.results.transfer import MEASURES, TransferMatrix
from interp.results.truthfulness import Role
from probes.studies.truthfulness.probing import probe_fit
from probes.studies.truthfulness.spec import TruthfulnessSpec
from probes.transfer import transfer_matrix


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferTable:
    """The matrix of one model, and in sentences what is missing."""

    rows: tuple[DatasetTransfer, ...] = ()
    notes: tuple[str, ...] = ()


def transfer_table(
    role: Role,
    rows: Float[Tensor, "example layer d_model"],
    statements: Statements,
    *,
    spec: TruthfulnessSpec,
) -> TransferTable:
    """Every training data set against every test data set, and leave-one-out.

    All statements are used: between data sets nothing is chosen, and within one it is
    cross-validated by group.

    Args:
        role: Which model.
        rows: Its activations.
        statements: What they are of, with their data sets in `sources`.
        spec: The probe and the centring.
    """
    names = tuple(dict.fromkeys(statements.sources))
    if spec.transfer_probe is None or len(names) < 2:
        return TransferTable()
    sources = np.array(statements.sources, dtype=object)
    places = {name: np.flatnonzero(sources == name) for name in names}
    # A fit gets the rows of all data sets, one after the other.
    ordered = statements.take(np.concatenate(list(places.values())))
    fit = probe_fit(spec.transfer_probe, ordered, seed=spec.seed)
    try:
        if isinstance(fit, str):
            note = f"No transfer between data sets with {spec.transfer_probe}: {fit}."
            return TransferTable(notes=(note,))
        found = transfer_matrix(
            {name: rows[torch.from_numpy(at)] for name, at in places.items()},
            {name: statements.labels[at] for name, at in places.items()},
            groups={
                name: [statements.groups[i] for i in at] for name, at in places.items()
            },
            fit=fit,
            centring=spec.centring,
            resamples=spec.resamples,
            seed=spec.seed,
        )
    except InterpError as error:
        note = f"No transfer between data sets could be measured: {error}"
        return TransferTable(notes=(note,))
    return TransferTable(
        rows=_rows(role, spec.transfer_probe, found), notes=_notes(places, statements)
    )


def _rows(role: Role, probe: str, found: TransferMatrix) -> tuple[DatasetTransfer, ...]:
    spelled = {"lo": "low", "hi": "high"}
    fields = {}
    for name in MEASURES:
        stem, _, end = name.partition("_")
        fields[name] = f"{stem}_{spelled[end]}" if end else stem
    return tuple(
        DatasetTransfer(
            model=role,
            probe=probe,
            layer=layer,
            train=train,
            test=test,
            **{
                field: float(getattr(found, name)[i, j, layer])
                for name, field in fields.items()
            },
        )
        for layer in range(len(found.sites))
        for i, train in enumerate(found.trains)
        for j, test in enumerate(found.tests)
    )


def _notes(places: dict[str, np.ndarray], statements: Statements) -> tuple[str, ...]:
    sets = [{statements.groups[i] for i in at} for at in places.values()]
    shared = [a & b for k, a in enumerate(sets) for b in sets[:k]]
    if not any(shared):
        return ()
    return (
        "Some data sets are about the same things: between these, transfer is not "
        "transfer to new things.",
    )
