"""A model without its weights: config and tokenizer, parameters on the meta device.

Such a model has every shape and site of the loaded one and computes nothing, so what a
run would hold and cost can be said before a weight is read or fetched.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoConfig, AutoModelForCausalLM

from interp.errors import UnsupportedModelError
from interp.models import hub
from interp.models.checkpoint import Checkpoint, inspect_folder
from interp.models.language_model import LanguageModel
from interp.models.loading import (
    first_line,
    is_local,
    quiet,
    refuse_revision,
    tokenizer_of,
)
from interp.models.options import device_map_of, dtype_of
from interp.models.safety import check_supported


_STORED_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}
# In inference mode the first two are not taken apart into the third.
_ASK_FOR_A_VALUE = (
    torch.ops.aten.is_nonzero.default,
    torch.ops.aten.item.default,
    torch.ops.aten._local_scalar_dense.default,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outline:
    """What is known of a model before its weights are read.

    Attributes:
        model: The model on the meta device: shapes, sites and tokenizer.
        counted: The same with the plainest attention and experts, whose every
            multiplication is a matrix product that can be counted.
        device: Where it would run.
        n_parameters: How many parameters it has.
        file_bytes: The size of its weight files.
        download_bytes: How much of that is not on this machine.
    """

    model: LanguageModel
    counted: LanguageModel
    device: str
    n_parameters: int
    file_bytes: int
    download_bytes: int

    @property
    def weight_bytes(self) -> int:
        """What the weights take in memory."""
        return self.n_parameters * self.model.dtype.itemsize


def outline(
    source: str | Path,
    *,
    revision: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    trust_remote_code: bool = False,
) -> Outline:
    """The shapes, tokenizer and file sizes of a model; no weight is read or fetched.

    Args:
        source: A hub id or a folder, as for `interp.load`.
        revision: A branch, tag or commit of a hub repository.
        device: Where it would run.
        dtype: How the weights would be held.
        trust_remote_code: Whether Python code that comes with the model may run.

    Raises:
        InterpError: What `interp.load` raises before it reads weights.

    Example:
        >>> from tiny import saved_tiny_model
        >>> found = outline(saved_tiny_model(getfixture("tmp_path") / "m"))
        >>> found.model.device.type, found.weight_bytes == 4 * found.n_parameters
        ('meta', True)
    """
    device = device_map_of(device) or "cpu"
    name = str(source)
    commit = None
    sizes: Mapping[str, int] = {}
    if is_local(source):
        folder = Path(source).expanduser()
        refuse_revision(folder, revision)
        checkpoint = inspect_folder(folder, name)
    else:
        found = hub.fetch(name, revision, code=trust_remote_code, weights=())
        folder, commit = found.folder, found.commit
        checkpoint = hub.without_weights(folder, name)
        sizes = hub.weight_sizes(name, commit)
    check_supported(checkpoint, name, trust_remote_code=trust_remote_code)
    with quiet():
        tokenizer = tokenizer_of(checkpoint, name, trust_remote_code)
        hf, plain = _without_weights(checkpoint, name, dtype, trust_remote_code)
    model = LanguageModel(
        hf=hf, tokenizer=tokenizer, name=name, revision=revision, commit=commit
    )
    here = {path.name: path.stat().st_size for path in checkpoint.weights}
    return Outline(
        model=model,
        counted=replace(model, hf=plain),
        device=device,
        n_parameters=sum(parameter.numel() for parameter in hf.parameters()),
        file_bytes=sum({**sizes, **here}.values()),
        download_bytes=sum(size for key, size in sizes.items() if key not in here),
    )


class ShapesOnly(TorchDispatchMode):
    """Inside the block, a model on the meta device that asks for a value hears "yes".

    Where transformers looks at values before a forward pass it asks whether everything
    is ordinary: one sequence a row, nothing packed.
    """

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func in _ASK_FOR_A_VALUE and args[0].is_meta:
            return 1
        return func(*args, **(kwargs or {}))


def _without_weights(
    checkpoint: Checkpoint, name: str, dtype: str, trust_remote_code: bool
) -> tuple[Any, Any]:
    """The model as it would run, and with the plainest attention."""
    try:
        options = {"trust_remote_code": trust_remote_code}
        found: list[Any] = []
        for attention in ({}, {"attn_implementation": "eager"}):
            config = AutoConfig.from_pretrained(
                checkpoint.folder, local_files_only=not trust_remote_code, **options
            )
            held = _held_dtype(checkpoint, config, dtype)
            with torch.device("meta"):
                hf = AutoModelForCausalLM.from_config(
                    config, dtype=held, **options, **attention
                )
            found.append(_shapes_only(hf))
    except Exception as error:  # as in `load`: configs can be wrong in any way
        raise UnsupportedModelError(
            f"{name} cannot be built from its config: {first_line(error)}.",
            remedy="Check its config.json, or update transformers.",
        ) from error
    return found[0], found[1]


def _shapes_only(hf: Any) -> Any:
    """Leave out what looks at values, which there are none of on the meta device."""
    for module in hf.modules():
        if hasattr(module, "warn_if_padding_and_no_attention_mask"):
            module.warn_if_padding_and_no_attention_mask = _says_nothing
    if hasattr(hf, "set_experts_implementation"):
        # The others choose rows by value, or ask for a dtype.
        hf.set_experts_implementation("batched_mm")
    return hf.eval()


def _says_nothing(*_: object) -> None:
    """In the place of a warning of transformers about padding."""


def _held_dtype(checkpoint: Checkpoint, config: Any, dtype: str) -> torch.dtype:
    """The dtype in which `load` would hold the weights."""
    wanted = dtype_of(dtype)
    if isinstance(wanted, torch.dtype):
        return wanted
    if isinstance(stated := getattr(config, "dtype", None), torch.dtype):
        return stated
    for file in checkpoint.weights:
        with safe_open(file, framework="numpy") as opened:
            for key in opened.keys():  # noqa: SIM118 - not a mapping
                stored = opened.get_slice(key).get_dtype()
                if stored in _STORED_DTYPES:
                    return _STORED_DTYPES[stored]
    return torch.float32
