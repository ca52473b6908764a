"""`TokenReader`: a direction or a probe as one number for every token."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from interp.directions.direction import Direction, check_vector
from interp.directions.probe import Probe
from interp.errors import ConfigError, DataError, ShapeError
from interp.sites import Site, parse


GAP_UNIT = "class gaps from the midpoint"
# Of a direction that does not know where its classes lie.
LENGTH_UNIT = "lengths of the direction"
LOGIT_UNIT = "probe logit"
PROJECTION_UNIT = "projection"


@runtime_checkable
class LinearReadout(Protocol):
    """What a fitted linear probe has, such as `probes.LinearProbe`."""

    @property
    def weights(self) -> Any: ...

    @property
    def intercept(self) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokenReader:
    """A linear score of the value of one site: `weights @ value + offset`.

    Attributes:
        name: What it is called in results and figures.
        site: Where it reads, in the short spelling.
        weights: One number for each entry of the site's value.
        offset: What is added.
        unit: What one unit of the score is, in words.

    Example:
        >>> up = Direction(unit=np.array([0.0, 1.0]), scale=2.0, site="resid_post.1",
        ...                negative_mean=1.0, positive_mean=3.0)
        >>> reader = reader_of(up, name="up")
        >>> reader.weights.tolist(), reader.offset
        ([0.0, 0.5], -1.0)
    """

    name: str
    site: str
    weights: Float[np.ndarray, " d"]
    offset: float = 0.0
    unit: str = PROJECTION_UNIT

    def __post_init__(self) -> None:
        weights = np.array(self.weights, dtype=np.float32)
        check_vector(weights, self.site)
        if not np.isfinite(self.offset):
            raise DataError(f"The offset of the reader {self.name!r} is {self.offset}.")
        weights.setflags(write=False)
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "site", parse(self.site).short)


def reader_of(
    readout: "TokenReader | Direction | Probe | LinearReadout",
    *,
    name: str = "",
    site: str | Site | None = None,
) -> TokenReader:
    """A reader of a direction or of a probe.

    A direction scores the projection in units of its class gap, centred between the
    class means: the mean positive example has +0.5, the mean negative one -0.5. Where
    the means are not known it is centred at 0. A probe scores its logit.

    Args:
        readout: A `Direction`, or a linear probe with one row of weights.
        name: What the reader is called; by default the kind and the site.
        site: Where it reads; by default the site of the direction or probe.

    Raises:
        ConfigError: If no site is known.
        ShapeError: If a probe has several fits.
        DataError: If the classes of a direction are not apart.

    Example:
        >>> reader_of(Direction.from_vector(np.ones(4), site="resid_post.2")).name
        'direction at resid_post.2'
    """
    if isinstance(readout, TokenReader):
        return readout
    own = readout.site if isinstance(readout, Direction | Probe) else ""
    place = site or own
    if not place:
        raise ConfigError(
            f"No site was given for the reader {name or type(readout).__name__!r}.",
            expected="A fit or plain direction does not know where it was found.",
            remedy="Write site='resid_post.12'.",
        )
    place = place.short if isinstance(place, Site) else parse(place).short
    if isinstance(readout, Direction):
        return _of_direction(readout, name or f"direction at {place}", place)
    kind = (readout.kind if isinstance(readout, Probe) else "") or "probe"
    return _of_probe(readout, name or f"{kind} at {place}", place)


def midpoint(direction: Direction) -> float:
    """The projection half-way between the class means; 0 where they are not known."""
    if direction.negative_mean is None or direction.positive_mean is None:
        return 0.0
    return (direction.negative_mean + direction.positive_mean) / 2


def _has_means(direction: Direction) -> bool:
    return direction.negative_mean is not None and direction.positive_mean is not None


def _of_direction(direction: Direction, name: str, site: str) -> TokenReader:
    if direction.scale == 0:
        raise DataError(
            f"The classes of {name!r} are 0 apart, so its scores have no unit.",
            remedy="Use a direction whose class means differ.",
        )
    return TokenReader(
        name=name,
        site=site,
        weights=direction.unit / np.float32(direction.scale),
        offset=-midpoint(direction) / direction.scale,
        unit=GAP_UNIT if _has_means(direction) else LENGTH_UNIT,
    )


def _of_probe(probe: LinearReadout, name: str, site: str) -> TokenReader:
    weights = _array(probe.weights)
    if weights.ndim < 1 or weights.size != weights.shape[-1]:
        raise ShapeError(
            f"The probe {name!r} has weights of shape {list(weights.shape)}.",
            expected="A reader is one probe: one row of weights.",
            remedy="Choose one site and fit, as in replace(probe, weights=...).",
        )
    threshold = probe.threshold if isinstance(probe, Probe) else 0.0
    return TokenReader(
        name=name,
        site=site,
        weights=weights.reshape(-1).astype(np.float32),
        offset=float(_array(probe.intercept).reshape(-1)[0]) - threshold,
        unit=LOGIT_UNIT,
    )


def _array(values: Any) -> np.ndarray:
    """Numbers as NumPy has them, wherever they are."""
    if hasattr(values, "detach"):
        values = values.detach().to("cpu").double().numpy()
    return np.asarray(values, dtype=np.float64)
