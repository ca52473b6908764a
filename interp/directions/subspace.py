"""`Subspace`: several directions at once, where one is not enough."""

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from jaxtyping import Float

from interp.directions.nulls import BAND, CosineNull
from interp.errors import ConfigError, DataError, ShapeError
from interp.sites import parse


# float32 rows of 10 000 entries are orthonormal to about this.
ORTHONORMAL_TOLERANCE = 1e-4
# Overlaps of subspaces in float32 that differ by less are equal.
TIE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subspace:
    """A subspace of activation space, and where it was found.

    Attributes:
        basis: Orthonormal rows, the most important first.
        singular: The singular value of each row, in the units of what it was made of;
            empty if unknown.
        explained: The part of the sum of all squared singular values that each row has,
            those that were left out included; empty if unknown.
        names: What it was made of, in words: directions, classes or components.
        rule: In words how it was made.
        site: The site in the short spelling; empty if unknown or several.
        position: The token position, as it was asked for.
        n_examples: How many examples it was made of.
        model: The name of the model.
        weights: What identifies its weights: a commit or a hash.
        revision: The commit of the hub that the model was loaded at.
        template: The hash of the model's chat template, or the name of another one.

    Example:
        >>> plane = Subspace(basis=np.eye(3)[:2], site="resid_post.1")
        >>> plane.rank, plane.layer
        (2, 1)
    """

    basis: Float[np.ndarray, "rank d_model"]
    singular: tuple[float, ...] = ()
    explained: tuple[float, ...] = ()
    names: tuple[str, ...] = ()
    rule: str = ""
    site: str = ""
    position: str = ""
    n_examples: int = 0
    model: str = ""
    weights: str = ""
    revision: str = ""
    template: str = ""

    def __post_init__(self) -> None:
        basis = np.array(self.basis, dtype=np.float32)
        if basis.ndim != 2 or not basis.size:
            raise ShapeError(
                f"A subspace was given with the shape {list(basis.shape)}.",
                expected="[rank, d_model].",
            )
        exact = basis.astype(np.float64)
        with np.errstate(all="ignore"):  # said below, in words
            off = np.abs(exact @ exact.T - np.eye(len(exact))).max()
        if not off <= ORTHONORMAL_TOLERANCE:
            raise DataError(
                f"The rows of a subspace are off orthonormal by {off:.3g}.",
                expected="Rows of length 1 at right angles.",
                remedy="Use interp.directions.span(vectors).",
            )
        for name in ("singular", "explained"):
            values = getattr(self, name)
            if values and (len(values) != len(basis) or not np.isfinite(values).all()):
                raise DataError(
                    f"A subspace of rank {len(basis)} was given with {name}={values}.",
                    expected="One finite number for each row.",
                )
        basis.setflags(write=False)
        object.__setattr__(self, "basis", basis)

    @property
    def rank(self) -> int:
        """How many dimensions it has."""
        return len(self.basis)

    @property
    def layer(self) -> int | None:
        """The layer of the site; None where there is no site, or one without layers."""
        return parse(self.site).layer if self.site else None

    def __repr__(self) -> str:
        at = f" at {self.site}" if self.site else ""
        return f"Subspace(rank {self.rank} of {self.basis.shape[1]}{at}: {self.rule})"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SubspaceTest:
    """How much two subspaces have in common.

    Attributes:
        angles: The principal angles in radians, the largest first.
        overlap: The mean squared cosine of the angles: 1 if one lies in the other, 0 if
            they are at right angles.
        null: The overlaps of random subspaces of the same ranks.
    """

    angles: Float[np.ndarray, " angle"]
    overlap: float
    null: CosineNull


def principal_angles(
    a: Subspace, b: Subspace, *, draws: int = 1000, seed: int = 0
) -> SubspaceTest:
    """The principal angles between two subspaces, beside those of random ones.

    Args:
        a: One subspace.
        b: Another one of the same activation space.
        draws: How many random pairs of the same ranks.
        seed: Feeds them.

    Raises:
        ShapeError: If they are of different dimensions.
        ConfigError: If nothing is to be drawn.

    Source:
        Björck & Golub (1973).

    Example:
        >>> plane, line = (Subspace(basis=np.eye(4)[rows]) for rows in ([0, 1], [1]))
        >>> test = principal_angles(plane, line)
        >>> test.angles.tolist(), test.overlap
        ([0.0], 1.0)
    """
    d_model = a.basis.shape[1]
    if b.basis.shape[1] != d_model:
        raise ShapeError(
            f"Subspaces of {d_model} and {b.basis.shape[1]} dimensions were compared.",
            expected="Subspaces of models with the same d_model.",
        )
    if draws < 1:
        raise ConfigError(f"{draws} draws were asked for.", expected="1 or more.")
    # SciPy takes columns, and finds small angles by their sine.
    angles = scipy.linalg.subspace_angles(
        a.basis.T.astype(np.float64), b.basis.T.astype(np.float64)
    )
    overlap = float(np.square(np.cos(angles)).mean())
    rng = np.random.default_rng(seed)
    few, many = sorted((a.rank, b.rank))
    # Only the angle matters: one subspace may stay on the first axes.
    null = np.empty(draws)
    for row in range(draws):
        basis = np.linalg.qr(rng.normal(size=(d_model, few)))[0]
        null[row] = np.square(basis[:many]).sum() / few
    low, median, high = (np.asarray(q) for q in np.quantile(null, BAND))
    reached = int((null >= overlap - TIE).sum())
    return SubspaceTest(
        angles=angles,
        overlap=overlap,
        null=CosineNull(
            low=low, median=median, high=high, p=np.asarray((1 + reached) / (1 + draws))
        ),
    )
