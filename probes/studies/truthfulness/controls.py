"""Vectors that mean nothing, or mean truth elsewhere, to add instead of a direction."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.results.truthfulness import Control
from probes.studies.truthfulness.readout import fit, shuffled_direction
from probes.studies.truthfulness.steering import Vectors, random_vectors


# A control that is closer than this to the direction it is to control is none.
ALIKE = 0.4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawn:
    """One vector of a control, at unit length.

    Attributes:
        condition: Of what kind.
        draw: Which of several.
        vector: The vector, or one for each data set.
        orthogonal: Whether its part along the truth direction was taken out.
    """

    condition: Control
    draw: int
    vector: Vectors
    orthogonal: bool = False


def control_vectors(
    rows: Float[Tensor, "example d_model"],
    truth: Float[Tensor, " d_model"],
    labels: Bool[np.ndarray, " example"],
    sources: Sequence[str],
    *,
    draws: int,
    seed: int,
) -> Iterator[Drawn]:
    """Every kind of control for a truth direction, so many of each.

    Where truth is what activations differ in most, vectors from shuffled labels and
    from the covariance point along it, one way or the other. Such a one is followed by
    itself without its part along the truth direction.

    Args:
        rows: Training activations where the direction is read.
        truth: The direction, of any length.
        labels: Of the training statements.
        sources: The data set of each training statement.
        draws: How many of each kind.
        seed: Feeds them.
    """
    plain = random_vectors(draws, 1.0, rows.shape[-1], seed=seed)
    spread = covariance_vectors(rows, draws, seed=seed)
    elsewhere = dataset_directions(rows, labels, sources)
    truth = _unit(truth)
    for draw in range(draws):
        yield Drawn(condition="random", draw=draw, vector=plain[draw])
        shuffled = _unit(shuffled_direction(rows, labels, seed=seed + draw))
        kinds: tuple[tuple[Control, Tensor], ...] = (
            ("covariance", spread[draw]), ("shuffled", shuffled),
        )  # fmt: skip
        for condition, vector in kinds:
            yield Drawn(condition=condition, draw=draw, vector=vector)
            along = vector @ truth
            if abs(along) > ALIKE:
                rest = _unit(vector - along * truth)
                yield Drawn(
                    condition=condition, draw=draw, vector=rest, orthogonal=True
                )
        if draw + 1 < len(elsewhere):
            names = tuple(elsewhere)
            others = (*names[draw + 1 :], *names[: draw + 1])
            vectors = {
                name: elsewhere[other]
                for name, other in zip(names, others, strict=True)
            }
            yield Drawn(condition="dataset", draw=draw, vector=vectors)


def covariance_vectors(
    rows: Float[Tensor, "example d_model"], n: int, *, seed: int
) -> Float[Tensor, "draw d_model"]:
    """Random unit vectors that are spread as activations are.

    A random mixture of centred activations is a normal draw with their covariance.

    Args:
        rows: The activations.
        n: How many.
        seed: Feeds them.
    """
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(n, len(rows), generator=generator)
    centred = rows.float() - rows.float().mean(0)
    return _unit(mixing @ centred)


def dataset_directions(
    rows: Float[Tensor, "example d_model"],
    labels: Bool[np.ndarray, " example"],
    sources: Sequence[str],
) -> dict[str, Float[Tensor, " d_model"]]:
    """The unit truth direction of each data set; none unless all of them have one.

    Args:
        rows: Training activations.
        labels: Which are true.
        sources: The data set of each.
    """
    found = {}
    names = np.asarray(sources, dtype=object)
    for name in dict.fromkeys(sources):
        at = np.flatnonzero(names == name)
        if labels[at].all() or not labels[at].any():
            return {}
        own = fit(rows[torch.from_numpy(at)][:, None], labels[at])
        found[name] = _unit(own.direction[0])
    return found if len(found) > 1 else {}


def _unit(vector: Float[Tensor, "*draw d_model"]) -> Float[Tensor, "*draw d_model"]:
    return torch.nn.functional.normalize(vector, dim=-1)
