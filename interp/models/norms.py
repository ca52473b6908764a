"""A normalisation as plain numbers: gain, bias, epsilon, and whether it centres.

They are found by what the module does to known vectors, not by its class: that covers
gains stored as `1 + weight`, LayerNorms without weights, and architectures yet to come.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.errors import UnsupportedModelError


# A constant vector this large makes every usual epsilon vanish in float32.
LARGE = 1024.0
# Small enough that a wrong epsilon (1e-5 for 1e-6) would show.
SMALL = 0.01
# Norms compute in float32; a wrong formula is off by order one.
TOLERANCE = 1e-4
SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Norm:
    """RMSNorm, or LayerNorm where it `centres`, in float64.

    Attributes:
        gain: What the normalised vector is multiplied with, entry by entry.
        bias: What is added then.
        eps: What is added to the mean square.
        centres: Whether the mean over the vector's entries is taken off first.
    """

    gain: Float[Tensor, " d_model"]
    bias: Float[Tensor, " d_model"]
    eps: float
    centres: bool

    def centred(self, x: Float[Tensor, "*batch d_model"]) -> Tensor:
        """The vectors without their mean, where the norm takes it off."""
        return x - x.mean(-1, keepdim=True) if self.centres else x

    def scale(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch"]:
        """What the vectors are divided by."""
        return (self.centred(x).square().mean(-1) + self.eps).sqrt()

    def apply(self, x: Float[Tensor, "*batch d_model"]) -> Tensor:
        """The normalised vectors.

        Example:
            >>> one = torch.ones(2, dtype=torch.float64)
            >>> norm = Norm(gain=one, bias=0 * one, eps=0.0, centres=True)
            >>> norm.apply(torch.tensor([3.0, 1.0], dtype=torch.float64)).tolist()
            [1.0, -1.0]
        """
        return self.centred(x) / self.scale(x)[..., None] * self.gain + self.bias

    def folded(self, vectors: Float[Tensor, "*batch d_model"]) -> Tensor:
        """Read-out vectors that give the same logits from the not yet scaled stream.

        Multiplied with the gain and, where the norm centres, freed of their mean.
        """
        return self.centred(vectors * self.gain.to(vectors.dtype))

    def folded_in(self, vectors: Float[Tensor, "*batch d_model"]) -> Tensor:
        """What vectors become behind the norm, but for what it divides by."""
        return self.centred(vectors) * self.gain.to(vectors.dtype)

    def to(self, device: torch.device) -> "Norm":
        """The same on another device."""
        return Norm(
            gain=self.gain.to(device),
            bias=self.bias.to(device),
            eps=self.eps,
            centres=self.centres,
        )


def norm_of(
    module: nn.Module, parameters: Mapping[str, Tensor], *, width: int, name: str
) -> Norm:
    """What a normalisation module does, with the given parameters in its place.

    Args:
        module: The module; neither run through its hooks nor changed, and it may be
            without storage (on the meta device).
        parameters: Its parameters by name.
        width: How long its vectors are.
        name: What a message calls it.

    Raises:
        UnsupportedModelError: If it is neither a LayerNorm nor an RMSNorm.

    Example:
        >>> norm = norm_of(nn.RMSNorm(4, eps=1e-6), {"weight": torch.ones(4)},
        ...                width=4, name="norm")
        >>> norm.centres, norm.gain.tolist()
        (False, [1.0, 1.0, 1.0, 1.0])
    """
    bare = _without_hooks(module, parameters)
    constant = torch.full((width,), LARGE)
    above, below = _run(bare, constant), _run(bare, -constant)
    bias, gain = (above + below) / 2, (above - below) / 2
    # A norm that takes the mean off sees nothing of a constant vector.
    centres = bool(gain.abs().max() <= TOLERANCE * (1 + bias.abs().max()))
    generator = torch.Generator().manual_seed(SEED)
    probes = torch.randn(2, width, generator=generator).sign() * (
        0.5 + torch.rand(2, width, generator=generator)
    )
    if centres:
        standard = _standard(LARGE * probes[0])
        # Where an entry is close to the mean, the other probe tells more.
        other = _standard(LARGE * probes[1])
        first = (_run(bare, LARGE * probes[0]) - bias) / standard
        second = (_run(bare, LARGE * probes[1]) - bias) / other
        gain = torch.where(standard.abs() >= other.abs(), first, second)
    found = Norm(
        gain=_exact(gain, parameters.get("weight")),
        bias=_exact(bias, parameters.get("bias")),
        eps=_epsilon(module),
        centres=centres,
    )
    for probe in (probes[0], SMALL * probes[1]):
        expected, actual = found.apply(probe.double()), _run(bare, probe)
        if (expected - actual).abs().max() > TOLERANCE * (1 + actual.abs().max()):
            raise UnsupportedModelError(
                f"The {name} ({type(module).__name__}) is neither a LayerNorm nor an "
                "RMSNorm.",
                expected="Closed forms and folded weights are for these two.",
                remedy="Use hooks instead, such as interp.clamp.",
            )
    return found


def _exact(
    probed: Float[Tensor, " d_model"], stored: Tensor | None
) -> Float[Tensor, " d_model"]:
    """The stored values, or one more than these, where that is what was probed.

    Probing is exact to float32 only.
    """
    candidates = [torch.zeros_like(probed), torch.ones_like(probed)]
    if stored is not None and stored.shape == probed.shape:
        held = stored.detach().to("cpu", torch.float64)
        candidates += [held, held + 1]
    for candidate in candidates:
        if torch.allclose(candidate, probed, rtol=TOLERANCE, atol=TOLERANCE / 10):
            return candidate
    return probed


def _epsilon(module: nn.Module) -> float:
    for attribute in ("variance_epsilon", "eps", "epsilon"):
        value = getattr(module, attribute, None)
        if isinstance(value, float):
            return value
    return 0.0


def _without_hooks(module: nn.Module, parameters: Mapping[str, Tensor]) -> nn.Module:
    """A stand-in with the module's code and other parameters."""
    bare = type(module).__new__(type(module))
    bare.__dict__.update(module.__dict__)
    # Where layers lie on several devices, accelerate puts in a `forward` that moves
    # what enters, and runs the module with its own weights.
    bare.__dict__.pop("forward", None)
    bare.__dict__["_parameters"] = {
        key: parameters[key].detach().to("cpu", torch.float32)
        if key in parameters
        else None
        for key in module._parameters
    }
    return bare


def _run(bare: nn.Module, vector: Tensor) -> Tensor:
    with torch.no_grad():
        # `forward` itself, because calling the module would run hooks.
        return bare.forward(vector[None, None].float())[0, 0].double()


def _standard(vector: Tensor) -> Tensor:
    vector = vector.double()
    centred = vector - vector.mean()
    return centred / centred.square().mean().sqrt()
