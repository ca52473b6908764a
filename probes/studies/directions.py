"""The directions and probes that a study found, as files beside its result.

RUN/directions/truth-post.safetensors    and so on, one for each model
RUN/probes/logistic-post.safetensors     one for each model and kind of probe

A result tells what a direction does; the file lets others use it on other prompts.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from interp import atomic
from interp.directions import Direction, Probe, save
from interp.provenance import Provenance
from interp.results.truthfulness import ROLES, Role


FOLDER = "directions"
PROBES_FOLDER = "probes"


def keep(folder: Path, found: Mapping[str, Direction] | Mapping[str, Probe]) -> None:
    """Write directions or probes into a folder, one file for each name.

    Args:
        folder: Made if it is not there and there is something to keep.
        found: What to keep, by name.

    Raises:
        DiskFullError: If the disk is full.
        UnwritableError: If the folder cannot be written.
    """
    if not found:
        return
    with atomic.clear_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for name, value in found.items():
        save(value, folder / f"{name}.safetensors")


Found = TypeVar("Found", Direction, Probe)


def of_role(found: Found, provenance: Provenance, role: Role) -> Found:
    """A direction or probe with the model of a role that a provenance tells of.

    Args:
        found: Of that model.
        provenance: Names base and post, in that order.
        role: Which of them.
    """
    records = dict(zip(ROLES, provenance.models, strict=False))
    return found.of_model(records[role]) if role in records else found


def with_class_means(
    vector: Float[Tensor, " d_model"],
    rows: Float[Tensor, "example d_model"],
    labels: Bool[np.ndarray, " example"],
    *,
    site: str,
    position: str,
    rule: str,
) -> Direction:
    """A difference of means as a direction that knows where its classes lie.

    Args:
        vector: The difference.
        rows: The examples that it was fitted to, not centred.
        labels: Which of them are positive.
        site: Where they were read.
        position: At which token.
        rule: In words what the positive end is.

    Example:
        >>> import torch
        >>> rows = torch.tensor([[1.0, 0.0], [3.0, 0.0]])
        >>> labels = np.array([False, True])
        >>> with_class_means(
        ...     rows[1] - rows[0], rows, labels, site="", position="", rule="b - a"
        ... ).positive_mean
        3.0
    """
    exact = vector.double().numpy()
    scale = float(np.linalg.norm(exact))
    along = rows.double().numpy() @ (exact / scale)
    return Direction(
        unit=exact / scale,
        scale=scale,
        site=site,
        position=position,
        rule=rule,
        negative_mean=float(along[~labels].mean()),
        positive_mean=float(along[labels].mean()),
        n_negative=int((~labels).sum()),
        n_positive=int(labels.sum()),
    )
