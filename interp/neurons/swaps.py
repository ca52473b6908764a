"""Neurons of one model put into another of its shape while a block runs."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from interp.errors import ConfigError, IncompatibleError, UnsupportedModelError
from interp.models.language_model import LanguageModel
from interp.neurons.output import Parts, output_of, parts_of


@contextmanager
def swapped_neurons(
    model: LanguageModel, donor: LanguageModel, neurons: Sequence[int]
) -> Iterator[None]:
    """Run a model with the weights of some last-layer neurons taken from another one.

    Each neuron's incoming weights and biases (of gated MLPs: both projections) and its
    output vector are replaced together. The model's own tensors are put back when the
    block ends, also by an exception; another thread's forward pass waits.

    Args:
        model: The model to run.
        donor: The model whose neurons are put in; of the same shape.
        neurons: Which neurons of the last MLP.

    Raises:
        IncompatibleError: If the models differ in shape.
        UnsupportedModelError: If the neurons' incoming weights were not found.
        ConfigError: If there is no such neuron.

    Example:
        >>> from tiny import tiny_model
        >>> base = LanguageModel(hf=tiny_model("llama", 0))
        >>> post = LanguageModel(hf=tiny_model("llama", 1))
        >>> with swapped_neurons(base, post, [3, 5]):
        ...     logits = base.hf(input_ids=torch.tensor([[5, 6, 7]])).logits
    """
    places = _places(model)
    others = _places(donor)
    require_same_neurons(model, donor)
    wrong = [n for n in neurons if not 0 <= n < model_width(places)]
    if wrong:
        raise ConfigError(
            f"There is no neuron {wrong[0]}.",
            expected=f"The last MLP has the neurons 0 to {model_width(places) - 1}.",
        )
    new: list[tuple[nn.Module, str, Tensor]] = []
    for place, other in zip(places, others, strict=True):
        index = torch.as_tensor(
            [row for n in neurons for row in place.rows(n)], dtype=torch.long
        )
        for name, axis in place.axes.items():
            old = _tensor(place.module, name)
            given = _tensor(other.module, name).detach().to(old.device, old.dtype)
            index = index.to(old.device)
            part = given.index_select(axis, index)
            new.append((place.module, name, old.detach().index_copy(axis, index, part)))
    with _in_place(model, new):
        yield


def require_same_neurons(first: LanguageModel, second: LanguageModel) -> None:
    """Refuse models whose last MLPs, norms or vocabularies do not fit each other.

    Raises:
        IncompatibleError: If they differ in a size.
    """
    for name in ("n_layers", "d_model", "d_mlp", "d_vocab"):
        one, other = getattr(first, name), getattr(second, name)
        if one != other:
            raise IncompatibleError(
                f"{first.name!r} has {name} {one} and {second.name!r} has {other}.",
                expected="Neurons are compared by number, so the models must be of one "
                "family.",
            )


def distance_moved(model: LanguageModel, other: LanguageModel) -> tuple[float, float]:
    """How far apart two models' last MLPs and final gains are, relative to the first.

    Args:
        model: The model whose weights are the unit.
        other: A model of the same shape.

    Returns:
        The length of the difference over the length of the weights, for all that
        `swapped_neurons` swaps, and for the gain of the final norm.

    Example:
        >>> from tiny import tiny_model
        >>> model = LanguageModel(hf=tiny_model("llama"))
        >>> distance_moved(model, model)
        (0.0, 0.0)
    """
    moved = whole = 0.0
    for place, given in zip(_places(model), _places(other), strict=True):
        for name in place.axes:
            old = _tensor(place.module, name).detach()
            new = _tensor(given.module, name).detach().to(old.device)
            moved += float((new.double() - old.double()).square().sum())
            whole += float(old.double().square().sum())
    gain, new_gain = (output_of(one).final_norm.gain.cpu() for one in (model, other))
    return (moved / whole) ** 0.5, float((new_gain - gain).norm() / gain.norm())


def matched_controls(
    norm: Float[np.ndarray, " neuron"],
    chosen: Int[np.ndarray, " chosen"],
    *,
    draws: int,
    seed: int,
    nearest: int = 8,
) -> Int[np.ndarray, "draw chosen"]:
    """As many other neurons of about the same norm as the chosen ones, drawn at random.

    Each chosen neuron is matched by one of those `nearest` to it in norm that are not
    chosen nor taken yet in this draw.

    Args:
        norm: Of all neurons.
        chosen: Which neurons need a match.
        draws: How many times.
        seed: Feeds the draws.
        nearest: How many of nearest norm a match is drawn from.

    Raises:
        ConfigError: If there are not enough other neurons.

    Example:
        >>> norm = np.array([1.0, 5.0, 5.1, 9.0])
        >>> matched_controls(norm, np.array([1]), draws=1, seed=0, nearest=1).tolist()
        [[2]]
    """
    rest = np.setdiff1d(np.arange(norm.size), chosen)
    if rest.size < chosen.size:
        raise ConfigError(
            f"{chosen.size} of {norm.size} neurons are chosen.",
            expected="At least as many must be left as controls.",
        )
    rng = np.random.default_rng(seed)
    table = np.empty((draws, chosen.size), np.int32)
    for draw in range(draws):
        free = rest.copy()
        for place, neuron in enumerate(chosen):
            order = np.argsort(np.abs(norm[free] - norm[neuron]), kind="stable")
            taken = rng.choice(free[order[:nearest]])
            table[draw, place] = taken
            free = free[free != taken]
    return table


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Place:
    """A projection into or out of the last MLP's neurons.

    Attributes:
        module: The module.
        axes: Along which axis of each of its parameters the neurons are.
        columns: Which rows belong to each neuron, where a projection computes gate
            and up-projection at once.
    """

    module: nn.Module
    axes: Mapping[str, int]
    columns: tuple[tuple[int, ...], ...] | None = None
    n_neurons: int

    def rows(self, neuron: int) -> tuple[int, ...]:
        if self.columns is None:
            return (neuron,)
        return tuple(part[neuron] for part in self.columns)


def model_width(places: Sequence[_Place]) -> int:
    """How many neurons there are."""
    return places[0].n_neurons


def _places(model: LanguageModel) -> list[_Place]:
    architecture = model.architecture
    parts: Parts = parts_of(architecture, model.name)
    n = output_of(model).n_neurons
    block = architecture.blocks[-1]
    paths = architecture.map
    down_axis = 0 if isinstance(parts.down, Conv1D) else 1
    places = [_Place(module=parts.down, axes={"weight": down_axis}, n_neurons=n)]
    if paths.mlp_pre is None and (gate := architecture.fused_gate) is not None:
        fused = block.get_submodule(gate.path)
        places.append(_incoming(fused, n, gate.columns))
        return places
    if paths.mlp is None:
        inside = [block.get_submodule(paths.mlp_pre)] if paths.mlp_pre else []
    else:
        inside = list(block.get_submodule(paths.mlp).modules())
    for module in inside:
        if module is parts.down or _out_width(module) != n:
            continue
        places.append(_incoming(module, n))
    if len(places) == 1:
        raise UnsupportedModelError(
            f"The incoming weights of the last MLP of {model.name} were not found.",
            remedy="`interp doctor MODEL` lists what was.",
        )
    return places


def _incoming(
    module: nn.Module, n: int, columns: tuple[tuple[int, ...], ...] | None = None
) -> _Place:
    axis = 1 if isinstance(module, Conv1D) else 0
    axes = {"weight": axis}
    if getattr(module, "bias", None) is not None:
        axes["bias"] = 0
    return _Place(module=module, axes=axes, columns=columns, n_neurons=n)


def _out_width(module: nn.Module) -> int | None:
    if isinstance(module, nn.Linear):
        return module.out_features
    return module.nf if isinstance(module, Conv1D) else None


def _tensor(module: nn.Module, name: str) -> Tensor:
    value = getattr(module, name)
    assert isinstance(value, Tensor)
    return value


@contextmanager
def _in_place(
    model: LanguageModel, new: Sequence[tuple[nn.Module, str, Tensor]]
) -> Iterator[None]:
    # The parameters belong to the module and not to the thread: others wait.
    with model.lock:
        old = [(module, name, module._parameters[name]) for module, name, _ in new]
        try:
            for module, name, value in new:
                module._parameters[name] = nn.Parameter(value, requires_grad=False)
            yield
        finally:
            for module, name, value in old:
                module._parameters[name] = value
