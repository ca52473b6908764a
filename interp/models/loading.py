"""`load`: a causal language model from a hub, a folder or memory, or one clear error.

The Hugging Face model is loaded by `transformers` itself and never changed. What this
module adds is refusal: every file is inspected first, code in a checkpoint never runs
unless asked for, and weights that do not fit the config are an error, where
`transformers` would draw them at random and warn.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import utils as hub_utils
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

# The module by its name: when TransformerLens was imported first, `transformers.utils`
# has no attribute for it.
from transformers.utils import logging as transformers_logging

from interp.errors import (
    ConfigError,
    ModelNotFoundError,
    OutOfMemoryError,
    UnsupportedModelError,
    closest,
)
from interp.models.checkpoint import Checkpoint, exists, inspect_folder
from interp.models.hub import fetch
from interp.models.language_model import LanguageModel
from interp.models.options import check_attention, device_map_of, dtype_of
from interp.models.safety import check_supported, needs_code


logger = logging.getLogger("interp.models")

# How many tensors a message names.
NAMED_TENSORS = 4


def load(
    source: str | Path | PreTrainedModel,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    revision: str | None = None,
    device: str = "auto",
    dtype: str | torch.dtype = "auto",
    trust_remote_code: bool = False,
    attn: str | None = None,
    backend: str = "native",
    remote: bool = False,
) -> LanguageModel:
    """The causal language model that `source` names, unmodified and in eval mode.

    Its logits are bit-equal to those of `AutoModelForCausalLM.from_pretrained`. Weights
    are read from safetensors only. A model without a tokenizer loads; it then takes
    token ids and no text.

    Args:
        source: A hub id, a folder in Hugging Face format, or a model that is already
            loaded (it is put into eval mode, and the remaining options but `tokenizer`
            do not apply).
        tokenizer: Used instead of the one that lies with the model.
        revision: A branch, tag or commit of a hub repository.
        device: `"auto"` is the first CUDA device if there is one and the CPU otherwise;
            else `"cpu"`, `"cuda"`, `"cuda:1"`, `"mps"`, or `"balanced"` to spread the
            layers over all CUDA devices.
        dtype: `"auto"` is the checkpoint's own; else `"float32"`, `"float16"`,
            `"bfloat16"` or `"float64"`.
        trust_remote_code: Whether Python code that comes with the model may run.
        attn: The attention implementation; None is the default of `transformers`.
        backend: `"native"`, or `"nnsight"` to have nnsight run the model (extra
            `nnsight`): capture, edits and generation are the same, attention patterns
            cannot be had.
        remote: With `backend="nnsight"`, run it on NDIF, with the key in NDIF_API_KEY
            (and the address in NDIF_HOST). Only config and tokenizer are fetched, and
            the options about weights do not apply.

    Raises:
        ModelNotFoundError: If there is no such model, revision or folder, or a file
            of it is missing.
        ModelAccessError: If the repository is gated or private.
        OfflineError: If the hub cannot be reached and the cache has no copy.
        UnsafeModelError: If its weights are pickled, or it needs remote code.
        UnsupportedModelError: If it is no causal language model, or is damaged.
        ConfigError: If an option has no such value here.
        OutOfMemoryError: If it does not fit.

    Example:
        >>> from tiny import tiny_model, tiny_tokenizer
        >>> load(tiny_model("llama"), tokenizer=tiny_tokenizer())
        LanguageModel(..., 3 layers, d_model 32, float32 on cpu)
    """
    _check_backend(source, backend, remote, trust_remote_code)
    if remote:
        from interp.models.traced import remote_model

        return remote_model(str(source), revision=revision, tokenizer=tokenizer)
    if isinstance(source, PreTrainedModel):
        name = source.config.name_or_path or type(source).__name__
        model = LanguageModel(hf=source.eval(), tokenizer=tokenizer, name=name)
    else:
        model = _from_files(
            source,
            tokenizer=tokenizer,
            revision=revision,
            device=device,
            dtype=dtype,
            trust_remote_code=trust_remote_code,
            attn=attn,
        )
    if backend == "native":
        return model
    from interp.models.traced import traced

    return traced(model)


def _from_files(
    source: str | Path,
    *,
    tokenizer: PreTrainedTokenizerBase | None,
    revision: str | None,
    device: str,
    dtype: str | torch.dtype,
    trust_remote_code: bool,
    attn: str | None,
) -> LanguageModel:
    """A model from a folder or a hub, each of its files inspected first."""
    device_map = device_map_of(device)
    torch_dtype = dtype_of(dtype)
    check_attention(attn, trust_remote_code)
    commit = None
    name = str(source)
    if is_local(source):
        folder = Path(source).expanduser()
        refuse_revision(folder, revision)
    else:
        snapshot = fetch(name, revision, code=trust_remote_code)
        folder, commit = snapshot.folder, snapshot.commit
    checkpoint = inspect_folder(folder, name)
    check_supported(checkpoint, name, trust_remote_code=trust_remote_code)
    with quiet():
        hf = _model(
            checkpoint,
            name,
            dtype=torch_dtype,
            device_map=device_map,
            trust_remote_code=trust_remote_code,
            attn_implementation=attn,
        )
        if tokenizer is None:
            tokenizer = tokenizer_of(checkpoint, name, trust_remote_code)
    return LanguageModel(
        hf=hf.eval(),
        tokenizer=tokenizer,
        name=name,
        revision=revision,
        commit=commit,
        folder=folder,
    )


def _check_backend(
    source: object, backend: str, remote: bool, trust_remote_code: bool
) -> None:
    if backend not in ("native", "nnsight"):
        raise ConfigError(
            f"backend is {backend!r}.",
            expected="'native' or 'nnsight'.",
            remedy=closest(backend, ["native", "nnsight"]),
        )
    if remote and backend != "nnsight":
        raise ConfigError(
            "remote=True was asked for with the native backend.",
            expected="NDIF is reached through nnsight.",
            remedy="Add backend='nnsight'.",
        )
    if remote and (isinstance(source, PreTrainedModel) or trust_remote_code):
        raise ConfigError(
            "remote=True was asked for with a model in memory or code of its own.",
            expected="A hub id of a model that NDIF runs and transformers knows.",
            remedy="Give the hub id, or use remote=False.",
        )


def is_local(source: str | Path) -> bool:
    """Whether a source is a folder rather than a hub id."""
    if isinstance(source, Path):
        return True
    # A hub id has at most one slash and starts with none of these.
    if source.startswith((".", "/", "~")) or source.count("/") > 1:
        return True
    return source != "" and exists(Path(source))


def refuse_revision(folder: Path, revision: str | None) -> None:
    """Raise if a revision was asked of a folder.

    Raises:
        ModelNotFoundError: If one was; it names the folder inside that may be meant.
    """
    if revision is None:
        return
    nested = folder / revision
    raise ModelNotFoundError(
        f"A revision ({revision!r}) was asked of the folder {str(folder)!r}.",
        expected="Only hub repositories have revisions.",
        remedy=f"Load {str(nested)!r}." if nested.is_dir() else "Leave it out.",
    )


def _model(
    checkpoint: Checkpoint, name: str, *, trust_remote_code: bool, **options: Any
) -> PreTrainedModel:
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            checkpoint.folder,
            local_files_only=not trust_remote_code,
            trust_remote_code=trust_remote_code,
            use_safetensors=True,
            # Both are refused below, with the names of the tensors.
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **options,
        )
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemoryError(
            f"{name} does not fit into the memory of the device.",
            remedy="Use dtype='bfloat16', device='balanced' or a smaller model.",
        ) from error
    except Exception as error:  # checkpoints can be wrong in any way
        raise UnsupportedModelError(
            f"{name} cannot be loaded: {first_line(error)}.",
            expected="A causal language model of the installed transformers "
            f"({transformers.__version__}).",
            remedy="Check its config.json and weights, or update transformers.",
        ) from error
    hf, info = loaded
    _refuse_misfits(name, info)
    return hf


def _refuse_misfits(name: str, info: dict[str, Any]) -> None:
    missing = sorted(info["missing_keys"])
    shapes = sorted((str(key), *shape) for key, *shape in info["mismatched_keys"])
    if missing or shapes:
        tensors = [f"{key} (absent)" for key in missing]
        tensors += [
            f"{key} ({list(found)} in the file, {list(wanted)} in the model)"
            for key, found, wanted in shapes
        ]
        shown = ", ".join(tensors[:NAMED_TENSORS])
        shown += ", ..." if len(tensors) > NAMED_TENSORS else ""
        raise UnsupportedModelError(
            f"The weights of {name} do not fit its config: {len(tensors)} tensors "
            f"are absent or of another shape: {shown}.",
            expected="Every tensor of the model must come from the checkpoint.",
            remedy="Check that config.json and the weights belong together.",
        )
    if unused := sorted(info["unexpected_keys"]):
        logger.warning(
            "%s: %d tensors of the checkpoint are not part of the model: %s",
            name,
            len(unused),
            ", ".join(unused[:NAMED_TENSORS]),
        )


def tokenizer_of(
    checkpoint: Checkpoint, name: str, trust_remote_code: bool
) -> PreTrainedTokenizerBase | None:
    """The tokenizer that lies with a checkpoint; None, with a warning, without one.

    Raises:
        UnsafeModelError: If it needs code that may not run.
        UnsupportedModelError: If its files cannot be read.
    """
    if not checkpoint.has_tokenizer:
        logger.warning("%s has no tokenizer: it reads token ids, not text.", name)
        return None
    try:
        return AutoTokenizer.from_pretrained(
            checkpoint.folder,
            local_files_only=not trust_remote_code,
            trust_remote_code=trust_remote_code,
        )
    except Exception as error:  # as above
        if "trust_remote_code" in str(error):
            raise needs_code(name, "tokenizer_config.json names it") from error
        raise UnsupportedModelError(
            f"The tokenizer of {name} cannot be loaded: {first_line(error)}.",
            remedy="Give one with tokenizer=..., or remove its files to use token ids.",
        ) from error


def first_line(error: BaseException) -> str:
    """What kind of error it is and the first line of what it says."""
    text = str(error).strip().partition("\n")[0].rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the log of `transformers` to errors and hide its bars, inside the block."""
    log = transformers_logging
    verbosity = log.get_verbosity()
    bars, no_hub_bars = (
        log.is_progress_bar_enabled(),
        hub_utils.are_progress_bars_disabled(),
    )
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()
        if no_hub_bars:
            hub_utils.disable_progress_bars()
