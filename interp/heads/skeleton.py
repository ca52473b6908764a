"""One model into which the weights of each checkpoint of a series are read.

The first checkpoint is loaded as any model is. Which tensor of its files became which
tensor of the model, bit for bit, is noted, and only if that accounts for every
parameter are later checkpoints read straight into place. Otherwise, as where a library
fuses experts on loading, each is loaded anew and copied.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from interp.errors import IncompatibleError, UnsupportedModelError
from interp.models.checkpoint import inspect_folder
from interp.models.language_model import LanguageModel
from interp.models.loading import load


# How a checkpoint was saved, not what it computes.
_NOT_CONFIG = frozenset(
    {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache"}
)
NAMED_TENSORS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """How the models of a series are loaded; see `interp.load`."""

    device: str = "auto"
    dtype: str = "auto"
    trust_remote_code: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a tensor of the files must be, and the tensor of the model it becomes."""

    into: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Skeleton:
    """A loaded model and where the tensors of its files belong.

    Attributes:
        model: The model. Its hashes are those of what it holds at the time.
        targets: Its tensors by name.
        places: By the name of each tensor in the files; empty if checkpoints have to be
            loaded anew.
        config: What all checkpoints must agree in.
        loading: How each checkpoint is loaded.
    """

    model: LanguageModel
    targets: Mapping[str, Tensor]
    places: Mapping[str, Place]
    config: Mapping[str, Any]
    loading: Loading


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Weights:
    """A checkpoint's tensors in memory, checked, by the tensor they are to replace."""

    tensors: Mapping[str, Tensor]


def build_skeleton(folder: Path, name: str, *, loading: Loading) -> Skeleton:
    """The model of a folder, and how other checkpoints are read into it.

    Args:
        folder: The first checkpoint.
        name: What the series is called.
        loading: How it is loaded.

    Raises:
        InterpError: What `interp.load` raises.
    """
    loaded = _loaded(folder, loading)
    checkpoint = inspect_folder(folder, str(folder))
    # Without a folder its identity is that of the tensors, whatever is read into them.
    model = replace(loaded, name=name, folder=None)
    targets = dict(model.hf.state_dict())
    for key, tensor in targets.items():
        _refuse_infinite(key, tensor, folder)
    return Skeleton(
        model=model,
        targets=targets,
        places=_places(checkpoint.weights, model.hf, targets),
        config=_facts(checkpoint.config),
        loading=loading,
    )


def read_weights(skeleton: Skeleton, folder: Path) -> Weights:
    """The tensors of another checkpoint of the same model; the model stays as it is.

    Args:
        skeleton: The model of the series.
        folder: The checkpoint.

    Raises:
        ModelNotFoundError: If files are missing.
        UnsupportedModelError: If they are damaged, or a tensor is missing or has
            another shape or type than in the first checkpoint.
        IncompatibleError: If its config differs.
    """
    checkpoint = inspect_folder(folder, str(folder))
    facts = _facts(checkpoint.config)
    if facts != skeleton.config:
        differing = sorted(
            key
            for key in {*facts, *skeleton.config}
            if facts.get(key) != skeleton.config.get(key)
        )
        raise IncompatibleError(
            f"The config of {folder.name!r} differs from that of the first checkpoint"
            f" in {', '.join(differing[:NAMED_TENSORS])}.",
            expected="All checkpoints of a series have one config.",
        )
    if not skeleton.places:
        loaded = _loaded(folder, skeleton.loading)
        return Weights(tensors=dict(loaded.hf.state_dict()))
    tensors: dict[str, Tensor] = {}
    for file in checkpoint.weights:
        with safe_open(file, framework="pt") as opened:
            for key in opened.keys():  # noqa: SIM118 - not a mapping
                place = skeleton.places.get(key)
                if place is not None:
                    _check(opened.get_slice(key), place, key, folder)
                    # A copy, so that the disk is read here and not when it is used.
                    tensors[place.into] = opened.get_tensor(key).clone()
                    _refuse_infinite(key, tensors[place.into], folder)
    missing = sorted({p.into for p in skeleton.places.values()} - set(tensors))
    if missing:
        raise UnsupportedModelError(
            f"The weights of {folder.name!r} lack {len(missing)} tensors:"
            f" {', '.join(missing[:NAMED_TENSORS])}.",
            expected="Every tensor that the first checkpoint has.",
            remedy="Download or copy it again.",
        )
    return Weights(tensors=tensors)


def put_in_place(skeleton: Skeleton, weights: Weights) -> None:
    """Give the model a checkpoint's weights, as loading it would.

    Args:
        skeleton: The model of the series.
        weights: What `read_weights` read for it.
    """
    with skeleton.model.lock, torch.no_grad():
        for name, tensor in weights.tensors.items():
            skeleton.targets[name].copy_(tensor)


def _loaded(folder: Path, loading: Loading) -> LanguageModel:
    return load(
        folder,
        device=loading.device,
        dtype=loading.dtype,
        trust_remote_code=loading.trust_remote_code,
    )


def _facts(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in _NOT_CONFIG}


def _check(found: Any, place: Place, key: str, folder: Path) -> None:
    shape, dtype = tuple(found.get_shape()), found.get_dtype()
    if (shape, dtype) != (place.shape, place.dtype):
        raise UnsupportedModelError(
            f"The tensor {key!r} of {folder.name!r} is {dtype}{list(shape)}.",
            expected=f"{place.dtype}{list(place.shape)}, as in the first checkpoint.",
        )


def _refuse_infinite(key: str, tensor: Tensor, folder: Path) -> None:
    # A sum is finite only if all numbers are, and needs no second array.
    if tensor.is_floating_point() and not tensor.sum(dtype=torch.float64).isfinite():
        raise UnsupportedModelError(
            f"The tensor {key!r} of {folder.name!r} holds numbers that are not finite.",
            expected="Training went wrong there, or the file is damaged.",
        )


def _places(
    files: tuple[Path, ...], hf: Any, targets: Mapping[str, Tensor]
) -> dict[str, Place]:
    """Where each tensor of the files went; nothing if that leaves parameters out.

    By name first. What was renamed on loading is found by what it holds, if only one
    tensor of the model holds the same.
    """
    prefix = f"{hf.base_model_prefix}."
    places: dict[str, Place] = {}
    renamed: list[tuple[str, Path]] = []
    for file in files:
        with safe_open(file, framework="pt") as opened:
            for key in opened.keys():  # noqa: SIM118 - not a mapping
                names = (key, prefix + key, key.removeprefix(prefix))
                into = next((name for name in names if name in targets), None)
                if into is None:
                    renamed.append((key, file))
                elif not _same(opened.get_tensor(key), targets[into]):
                    return {}
                else:
                    places[key] = _place(opened.get_slice(key), into)
    for key, file in renamed:
        with safe_open(file, framework="pt") as opened:
            tensor, taken = opened.get_tensor(key), {p.into for p in places.values()}
            free = [name for name in targets if name not in taken]
            alike = [name for name in free if _same(tensor, targets[name])]
            if len(alike) == 1:
                places[key] = _place(opened.get_slice(key), alike[0])
    # Tied weights are one tensor with two names, of which the files hold one.
    filled = {targets[place.into].data_ptr() for place in places.values()}
    if any(parameter.data_ptr() not in filled for parameter in hf.parameters()):
        return {}
    return places


def _same(tensor: Tensor, target: Tensor) -> bool:
    return tensor.shape == target.shape and torch.equal(
        tensor.to(target.device, target.dtype), target
    )


def _place(found: Any, into: str) -> Place:
    return Place(into=into, shape=tuple(found.get_shape()), dtype=found.get_dtype())
