"""Two directions, however they were found, against the activations they live in."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.directions.direction import Direction, cosine
from interp.directions.grams import ledoit_wolf, shrunk_precision
from interp.directions.means import checked_labels
from interp.directions.nulls import BAND, TIE, CosineNull, Whitening, isotropic_null
from interp.errors import ConfigError, DataError, ShapeError


Rows = Float[Tensor, "example d_model"] | Float[np.ndarray, "example d_model"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CosineComparison:
    """The cosine of two directions, and those of directions without a meaning.

    Attributes:
        estimate: The cosine.
        isotropic: Of random vectors of as many dimensions, in closed form.
        covariance: Of pairs of random vectors drawn from the covariance of the
            activations. A few directions with most of the variance make this null much
            wider than the isotropic one; whitened, the two are alike.
        whitened: Whether vectors were whitened.
        shrinkage: How far the covariance was shrunk; NaN if nothing was whitened.
    """

    estimate: float
    isotropic: CosineNull
    covariance: CosineNull
    whitened: bool
    shrinkage: float


def compare_directions(
    a: Direction | Float[np.ndarray, "..."],
    b: Direction | Float[np.ndarray, "..."],
    activations: Rows,
    *,
    labels: object = None,
    whitening: Whitening = None,
    draws: int = 1000,
    seed: int = 0,
) -> CosineComparison:
    """The cosine of two given directions, beside the nulls that need no refit.

    For differences of means, `cosine_test` says more: it fits them again for permuted
    labels.

    Args:
        a: A direction or vector, found in any way.
        b: Another one.
        activations: What the covariance is taken of.
        labels: If given, two classes within which the covariance is taken.
        whitening: None for the plain cosine; "ledoit-wolf", or a number from 0 to 1 for
            the share of a multiple of the identity in the covariance.
        draws: How many random pairs.
        seed: Feeds them.

    Raises:
        ShapeError: If directions and activations are of different dimensions.
        DataError: If activations are not finite, or the covariance is singular.
        ConfigError: If the shrinkage or the count is out of range.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(200, 3)) * [9.0, 1.0, 1.0]
        >>> up, side = np.array([1.0, 1.0, 0.0]), np.array([1.0, -1.0, 0.0])
        >>> test = compare_directions(up, side, rows, whitening="ledoit-wolf")
        >>> abs(cosine(up, side)) < 1e-9, test.estimate < -0.5
        (True, True)
    """
    if draws < 1:
        raise ConfigError(f"{draws} draws were asked for.", expected="1 or more.")
    rows = _centred(activations, labels)
    vectors = np.stack(
        [
            np.asarray(one.unit if isinstance(one, Direction) else one, np.float64)
            for one in (a, b)
        ]
    )
    plain = cosine(vectors[0], vectors[1])
    if vectors.shape[1] != rows.shape[1]:
        raise ShapeError(
            f"Directions of {vectors.shape[1]} dimensions were compared.",
            expected=f"The activations have {rows.shape[1]}.",
        )
    weights = np.random.default_rng(seed).normal(size=(2, draws, len(rows)))
    first, second = torch.from_numpy(weights).to(rows.device) @ rows
    held = torch.from_numpy(vectors).to(rows.device)
    shrinkage = float("nan")
    if whitening is not None:
        shrinkage = (
            ledoit_wolf(rows) if whitening == "ledoit-wolf" else float(whitening)
        )
        root = shrunk_precision(rows, shrinkage)
        first, second, held = first @ root, second @ root, held @ root
    found = torch.cosine_similarity(first, second, dim=-1).cpu().numpy()
    estimate = plain
    if whitening is not None:
        estimate = float(torch.cosine_similarity(held[0], held[1], dim=0))
    low, median, high = (np.asarray(q) for q in np.quantile(found, BAND))
    reached = int((found >= estimate - TIE).sum())
    return CosineComparison(
        estimate=estimate,
        isotropic=isotropic_null(estimate, d_model=rows.shape[1]),
        covariance=CosineNull(
            low=low, median=median, high=high, p=np.asarray((1 + reached) / (1 + draws))
        ),
        whitened=whitening is not None,
        shrinkage=shrinkage,
    )


def _centred(activations: Rows, labels: object) -> Float[Tensor, "example d_model"]:
    """Rows in float64, around their mean or around those of their classes."""
    rows = (
        activations.detach()
        if isinstance(activations, Tensor)
        else torch.from_numpy(np.array(activations))
    )
    rows = rows.cpu().double() if rows.device.type == "mps" else rows.double()
    n_bad = int((~rows.isfinite()).any(1).sum())
    if n_bad:
        raise DataError(
            f"{n_bad} of {len(rows)} examples have activations that are not finite.",
            remedy="Leave them out, or load the model with dtype='float32'.",
        )
    if labels is None:
        return rows - rows.mean(0)
    positive = torch.from_numpy(checked_labels(labels, len(rows))).to(rows.device)
    means = torch.stack([rows[~positive].mean(0), rows[positive].mean(0)])
    return rows - means[positive.long()]
