"""The tensors of a checkpoint by the names that they have in the model."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from safetensors import safe_open
from torch import Tensor
from transformers import PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import (
    WeightConverter,
    WeightRenaming,
    rename_source_key,
)

from interp.errors import ModelNotFoundError, UnsupportedModelError
from interp.models.checkpoint import INDEX, SINGLE, weight_files
from interp.neurons.matrices import FiledMatrix, Matrix


# What can be computed with as it stands; anything else is quantised.
DTYPES = {"F64", "F32", "F16", "BF16"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensors:
    """Where each tensor of a model lies in its files.

    Attributes:
        name: What a message calls the model.
        files: The file of each stored tensor.
        keys: The stored names of each name in the model; several where loading would
            put one together from parts.
    """

    name: str
    files: Mapping[str, Path]
    keys: Mapping[str, tuple[str, ...]]

    def __contains__(self, name: str) -> bool:
        return name in self.keys

    def file(self, name: str) -> Path:
        """The file that holds a tensor."""
        return self.files[self._key(name)]

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor that can be read as it stands.

        Raises:
            UnsupportedModelError: If it is absent or quantised.
            ModelNotFoundError: If its file is absent.
        """
        key = self._key(name)
        with safe_open(self._path(key), framework="pt") as opened:
            part = opened.get_slice(key)
            if part.get_dtype() in DTYPES:
                return tuple(part.get_shape())
            raise UnsupportedModelError(
                f"The tensor {key} of {self.name} is stored as {part.get_dtype()}.",
                expected=f"One of {', '.join(sorted(DTYPES))}.",
                remedy="Use the model as it was before it was quantised.",
            )

    def read(self, name: str) -> Float[Tensor, "..."]:
        """A whole tensor, in the type it is stored in."""
        self.shape(name)
        key = self._key(name)
        with safe_open(self._path(key), framework="pt") as opened:
            # A copy, because the mapping of the file would stay with the tensor.
            return opened.get_tensor(key).clone()

    def matrix(self, name: str) -> Matrix:
        """A matrix whose rows are read when they are asked for."""
        n, width = self.shape(name)
        key = self._key(name)
        return FiledMatrix(file=self._path(key), key=key, shape=(n, width))

    def _key(self, name: str) -> str:
        keys = self.keys.get(name, ())
        if len(keys) == 1:
            return keys[0]
        if keys:
            what = f"{self.name} stores {name} in {len(keys)} tensors, as {keys[0]}."
        else:
            what = f"The files of {self.name} hold no tensor {name!r}."
        raise UnsupportedModelError(
            what,
            expected="One tensor is read here as it stands.",
            remedy="Load the model with interp.load and pass that.",
        )

    def _path(self, key: str) -> Path:
        path = self.files[key]
        if not path.is_file():
            raise ModelNotFoundError(
                f"{self.name} lacks its weight file {path.name}.",
                expected=f"It holds {key}.",
                remedy="Download or copy it again.",
            )
        return path


def tensors_of(hf: PreTrainedModel, folder: Path, name: str) -> Tensors:
    """The tensors of a checkpoint, named as `transformers` names them when it loads.

    Args:
        hf: The model, which may be without storage.
        folder: Its files.
        name: What a message calls it.
    """
    files = _files(folder)
    keys: dict[str, tuple[str, ...]] = {}
    for key, renamed in _renamed(hf, files):
        keys[renamed] = (*keys.get(renamed, ()), key)
    return Tensors(name=name, files=files, keys=keys)


def _renamed(hf: PreTrainedModel, files: Iterable[str]) -> Iterable[tuple[str, str]]:
    # Older checkpoints call their tensors otherwise ("embed_out" for "lm_head"), leave
    # the model's prefix out or have another one; transformers knows how it reads them.
    mapping = get_model_conversion_mapping(hf)
    renamings = [entry for entry in mapping if isinstance(entry, WeightRenaming)]
    converters = [entry for entry in mapping if isinstance(entry, WeightConverter)]
    state = hf.state_dict()
    for key in files:
        renamed, _ = rename_source_key(
            key, renamings, converters, hf.base_model_prefix, state
        )
        if renamed not in state and key in state:
            renamed = key
        yield key, renamed


def _files(folder: Path) -> dict[str, Path]:
    single = folder / SINGLE
    if single.is_file():
        with safe_open(single, framework="pt") as opened:
            return dict.fromkeys(opened.keys(), single)
    places = weight_files(folder / INDEX)
    return {key: folder / file for key, file in places.items()}
