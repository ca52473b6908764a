"""`Direction`: a unit vector of a model's activations, with what makes it usable."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from interp.errors import DataError, ShapeError
from interp.provenance import ModelRecord
from interp.sites import parse


# float32 vectors of 10 000 entries have norm 1 to about this.
UNIT_TOLERANCE = 1e-4
SIGN_RULE = "mean of label 1 minus mean of label 0"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Direction:
    """A direction, how far its classes are apart along it, and where it was found.

    Attributes:
        unit: The vector of length 1.
        scale: The distance of the class means along `unit`: what strength 1 adds.
        site: The site in the short spelling; empty if unknown.
        position: The token position, as it was asked for.
        rule: In words what the positive end is.
        negative_mean: Mean projection of the examples with label 0.
        positive_mean: Mean projection of the examples with label 1.
        n_negative: Examples with label 0.
        n_positive: Examples with label 1.
        model: The name of the model.
        weights: What identifies its weights: a commit or a hash.
        revision: The commit of the hub that the model was loaded at.
        template: The hash of the model's chat template, or the name of another one;
            empty if there is none.

    Example:
        >>> up = Direction.from_vector(np.array([0.0, 2.0]), site="resid_post.3")
        >>> up.scale, up.unit.tolist()
        (2.0, [0.0, 1.0])
    """

    unit: Float[np.ndarray, " d_model"]
    scale: float = 1.0
    site: str = ""
    position: str = ""
    rule: str = SIGN_RULE
    negative_mean: float | None = None
    positive_mean: float | None = None
    n_negative: int = 0
    n_positive: int = 0
    model: str = ""
    weights: str = ""
    revision: str = ""
    template: str = ""

    def __post_init__(self) -> None:
        unit = np.array(self.unit, dtype=np.float32)
        check_vector(unit, self.site)
        norm = float(np.linalg.norm(unit.astype(np.float64)))
        if abs(norm - 1) > UNIT_TOLERANCE or not np.isfinite(self.scale):
            raise DataError(
                f"A direction was given with length {norm:.6g} and scale {self.scale}.",
                expected="Length 1, and a finite scale.",
                remedy="Use Direction.from_vector(vector).",
            )
        unit.setflags(write=False)
        object.__setattr__(self, "unit", unit)

    @classmethod
    def from_vector(
        cls,
        vector: Float[np.ndarray, "..."],
        *,
        site: str = "",
        position: str = "",
    ) -> "Direction":
        """The direction of a vector `[d_model]`, with its length as scale.

        Raises:
            DataError: If the vector is zero or has values that are not finite.
            ShapeError: If it is no vector.
        """
        held = np.asarray(vector, dtype=np.float64)
        check_vector(held, site)
        norm = float(np.linalg.norm(held))
        if norm == 0:
            raise DataError(
                "A vector of length 0 has no direction.",
                remedy="Use examples whose activations differ between the classes.",
            )
        return cls(unit=held / norm, scale=norm, site=site, position=position)

    @property
    def vector(self) -> Float[np.ndarray, " d_model"]:
        """The difference of means: `scale * unit`."""
        return np.float32(self.scale) * self.unit

    @property
    def layer(self) -> int | None:
        """The layer of the site; None where there is no site, or one without layers.

        Example:
            >>> Direction.from_vector(np.ones(2), site="resid_post.3").layer
            3
        """
        return parse(self.site).layer if self.site else None

    def of_model(self, record: ModelRecord) -> "Direction":
        """The same direction, with the model that a record tells.

        Captured activations know the name of their model but not its hashes, which can
        take longer than a capture: `direction.of_model(model.identity())`.
        """
        return replace(self, **source_of(record))

    def __repr__(self) -> str:
        at = f" at {self.site}" if self.site else ""
        place = f", {self.position}" if self.position else ""
        return (
            f"Direction({len(self.unit)} dimensions{at}{place},"
            f" scale {self.scale:.4g}: {self.rule})"
        )


def source_of(record: ModelRecord | None) -> dict[str, str]:
    """The model of a record, as the fields of a direction or subspace."""
    if record is None:
        return {}
    return {
        "model": record.name,
        "weights": record.weights_hash or record.revision,
        "revision": record.revision,
        "template": record.template_hash,
    }


def cosine(
    a: Direction | Float[np.ndarray, "..."],
    b: Direction | Float[np.ndarray, "..."],
) -> float:
    """The cosine of the angle between two directions or vectors, in float64.

    Raises:
        ShapeError: If they have different dimensions.
        DataError: If one is zero or not finite.

    Example:
        >>> cosine(np.array([1.0, 0.0]), np.array([1.0, 1.0]))
        0.7071...
    """
    first, second = (
        one if isinstance(one, Direction) else Direction.from_vector(one)
        for one in (a, b)
    )
    if first.unit.shape != second.unit.shape:
        raise ShapeError(
            f"Directions of {len(first.unit)} and {len(second.unit)} dimensions were"
            " compared.",
            expected="Directions of models with the same d_model.",
        )
    return float(np.dot(_exact(first.unit), _exact(second.unit)))


def _exact(unit: np.ndarray) -> np.ndarray:
    held = unit.astype(np.float64)
    return held / np.linalg.norm(held)


def check_vector(vector: np.ndarray, site: str) -> None:
    """Refuse what is no finite vector.

    Raises:
        ShapeError: If it has other than one axis, or no entries.
        DataError: If it is not finite.
    """
    at = f" at {site!r}" if site else ""
    if vector.ndim != 1 or not len(vector):
        raise ShapeError(
            f"A direction{at} was given with the shape {list(vector.shape)}.",
            expected="One vector, [d_model].",
        )
    n_bad = int((~np.isfinite(vector)).sum())
    if n_bad:
        raise DataError(
            f"A direction{at} has {n_bad} of {len(vector)} values that are not finite.",
            remedy="Leave out the examples with NaN or infinite activations.",
        )
