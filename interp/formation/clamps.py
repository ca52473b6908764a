"""Holding a part of the computation at a value, in training and in evaluation.

A clamp replaces what a site computed by a value before anything reads it. In training
the gradients are those of the clamped network: nothing flows into what was replaced,
and, unless `detach` is set, they do flow through a value that was itself computed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from interp.errors import ConfigError, ShapeError, UnknownSiteError, closest
from interp.formation.batches import Batch
from interp.formation.network import NetworkConfig, Parameters, site_names


Index = tuple[int | slice, ...]
ALL = slice(None)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClampContext:
    """What a value that is computed may look at.

    Attributes:
        value: What the site computed.
        sites: What was computed before it, with the clamps there.
        batch: The sequences.
        parameters: The weights.
        config: The shape of the network.
    """

    value: Tensor
    sites: Mapping[str, Tensor]
    batch: Batch
    parameters: Parameters
    config: NetworkConfig


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clamp:
    """A value for (a part of) a site, for some of the replicas and of the steps.

    Attributes:
        site: A name of `site_names`.
        value: A number, a tensor that spreads over the site's full shape, or a function
            of `ClampContext` that gives such a tensor.
        index: Which part, over the axes after replica and example: one head of a
            pattern is `(1,)`, its last row `(1, -1)`. All by default.
        replicas: Which replicas; all by default.
        start: First step of training at which it holds.
        stop: First step at which it does not any more; never by default.
        strength: Share of the value; the rest is what was computed.
        detach: Whether gradients stop at a value that was computed.
    """

    site: str
    value: float | Tensor | Callable[[ClampContext], Tensor]
    index: Index = ()
    replicas: tuple[int, ...] | None = None
    start: int = 0
    stop: int | None = None
    strength: float = 1.0
    detach: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise ConfigError(
                f"A clamp of {self.site!r} has strength {self.strength}.",
                expected="It lies between 0 and 1.",
            )
        if self.stop is not None and self.stop <= self.start:
            raise ConfigError(
                f"A clamp of {self.site!r} stops at step {self.stop} and starts at "
                f"{self.start}.",
                expected="It stops later than it starts.",
            )

    def holds_at(self, step: int | None) -> bool:
        """Whether it holds at a step; without a step it holds."""
        if step is None:
            return True
        return self.start <= step and (self.stop is None or step < self.stop)


def check_clamps(clamps: Sequence[Clamp], config: NetworkConfig) -> None:
    """Refuse a clamp of a site that the network does not have.

    Raises:
        UnknownSiteError: The message names the site and the nearest one.
    """
    known = site_names(config)
    for clamp in clamps:
        if clamp.site not in known:
            raise UnknownSiteError(
                f"There is no site {clamp.site!r} in this network.",
                expected=f"Sites: {', '.join(known)}.",
                remedy=closest(clamp.site, known),
            )


def held_value(clamp: Clamp, context: ClampContext) -> Tensor:
    """What a site holds under a clamp.

    Args:
        clamp: The clamp.
        context: What was computed so far.

    Raises:
        ShapeError: If the value or the index does not fit the site.
    """
    computed = context.value
    if isinstance(clamp.value, Tensor):
        value = clamp.value
    elif callable(clamp.value):
        value = clamp.value(context)
    else:
        value = torch.tensor(float(clamp.value))
    value = value.detach() if clamp.detach else value
    try:
        chosen = _mask(clamp, computed.shape).to(computed.device)
        value = value.to(computed.device, computed.dtype).expand(computed.shape)
    except (IndexError, RuntimeError) as error:
        raise ShapeError(
            f"A clamp of {clamp.site!r} does not fit: index {clamp.index}, replicas "
            f"{clamp.replicas}, value {tuple(value.shape)}.",
            expected=f"The site is {tuple(computed.shape)}; the index counts from the"
            " third axis.",
        ) from error
    if clamp.strength < 1:
        value = clamp.strength * value + (1 - clamp.strength) * computed
    return torch.where(chosen, value, computed)


def _mask(clamp: Clamp, shape: torch.Size) -> Tensor:
    """True where the clamp holds, with axes of 1 where it holds for all or none."""
    replicas = torch.zeros(shape[0], dtype=torch.bool)
    replicas[list(range(shape[0]) if clamp.replicas is None else clamp.replicas)] = True
    replicas = replicas.reshape(-1, *[1] * (len(shape) - 1))
    if not clamp.index:
        return replicas
    part = torch.zeros(shape[2:], dtype=torch.bool)
    part[clamp.index] = True
    return replicas & part
