"""The directions and probes of the study as values that others can use."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.data import Splits, Statements
from interp.directions import Direction, Probe
from interp.provenance import Provenance
from interp.results.truthfulness import ROLES
from probes.fitted import class_means
from probes.studies.directions import of_role, with_class_means
from probes.studies.truthfulness.probing import ProbeTable
from probes.studies.truthfulness.readout import fit
from probes.studies.truthfulness.two_by_two import Table


Rows = Float[Tensor, "example layer d_model"]
POSITION = "last"


def found_directions(
    rows: Sequence[Rows],
    read: Sequence[Rows],
    statements: Statements,
    splits: Splits,
    table: Table,
    provenance: Provenance,
) -> dict[str, Direction]:
    """Each model's difference of means at its best layer, by the name of its file.

    Args:
        rows: Activations of each model as they are.
        read: The same as they were fitted, perhaps centred.
        statements: What they are of.
        splits: Has the training statements.
        table: Has the best layer of each model.
        provenance: Names the models.
    """
    train = torch.from_numpy(splits.train)
    labels = statements.labels[splits.train]
    found: dict[str, Direction] = {}
    for role, own, plain, layer in zip(ROLES, read, rows, table.best, strict=True):
        vector = fit(own[train], labels).direction[layer]
        if not vector.any():
            continue
        direction = with_class_means(
            vector,
            plain[train, layer],
            labels,
            site=f"resid_post.{layer}",
            position=POSITION,
            rule="mean of true minus mean of false statements",
        )
        found[f"truth-{role}"] = of_role(direction, provenance, role)
    return found


def found_probes(
    rows: Sequence[Rows],
    statements: Statements,
    splits: Splits,
    tables: Sequence[ProbeTable],
    *,
    provenance: Provenance,
    centred: bool = False,
) -> dict[str, Probe]:
    """Each model's probe of each kind at its best layer, by the name of its file.

    They read activations as they are. Where the fit saw centred ones, a single text has
    no mean of its own, and the mean of the training statements is taken out.

    Args:
        rows: Activations of each model as they are.
        statements: What they are of.
        splits: Has the training statements.
        tables: The probes of each model.
        provenance: Names the models.
        centred: Whether the probes were fitted to centred activations.
    """
    train = torch.from_numpy(splits.train)
    training = statements.take(splits.train)
    found: dict[str, Probe] = {}
    for role, own, table in zip(ROLES, rows, tables, strict=True):
        for best in table.best:
            row = table.rows[best.row]
            here = own[train, row.layer].double().numpy()
            weights = np.array(best.weights, dtype=np.float32)
            exact = weights.astype(np.float64)
            shift = float(here.mean(0) @ exact) if centred else 0.0
            probe = Probe(
                weights=weights,
                intercept=best.intercept - shift,
                kind=row.probe,
                rule="true rather than false statement",
                site=f"resid_post.{row.layer}",
                position=POSITION,
                **class_means(here @ exact + best.intercept - shift, training.labels),
                data=training.name,
                fingerprint=training.fingerprint,
                validation_auroc=row.validation_auroc,
                test_auroc=row.auroc,
                converged=row.converged,
            )
            found[f"{row.probe}-{role}"] = of_role(probe, provenance, role)
    return found
