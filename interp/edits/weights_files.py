"""An edited model as an ordinary Hugging Face folder."""

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import GenerationConfig
from transformers.utils import logging as transformers_log

from interp import atomic
from interp.edits.orthogonalise import PostNorm, logit_error, orthogonalise
from interp.edits.shortcuts import Vector
from interp.errors import InterpError, UnwritableError
from interp.models.language_model import LanguageModel


# Beside the model: what was done to it. No loader reads it.
RECORD = "orthogonalised.json"


def save_model(
    model: LanguageModel, folder: str | Path, *, record: dict[str, Any] | None = None
) -> Path:
    """Write a model as config, safetensors, tokenizer and generation settings.

    The folder appears whole or not at all. `interp.load` and `AutoModelForCausalLM`
    read it.

    Args:
        model: The model; it is not changed.
        folder: A folder that does not exist yet, or is empty.
        record: What else is to be known about it, written as JSON beside it.

    Returns:
        The folder.

    Raises:
        UnwritableError: If the folder has something in it, or cannot be written.
        DiskFullError: If there is no room.

    Example:
        >>> from tiny import tiny_model
        >>> target = getfixture("tmp_path") / "saved"
        >>> _ = save_model(LanguageModel(hf=tiny_model("llama")), target)
        >>> sorted(path.name for path in target.iterdir())
        ['config.json', 'generation_config.json', 'model.safetensors']
    """
    folder = Path(folder).expanduser()
    require_free(folder)
    with model.lock, atomic.replacing_folder(folder) as beside, _quiet():
        own = model.hf.generation_config
        # Many checkpoints bring settings that transformers loads but refuses to save.
        model.hf.generation_config = GenerationConfig()
        try:
            with _clear(folder, beside):
                model.hf.save_pretrained(beside)
        finally:
            model.hf.generation_config = own
        if own is not None:
            text = own.to_json_string(use_diff=True)
            (beside / "generation_config.json").write_text(text, encoding="utf-8")
        if model.tokenizer is not None:
            with _clear(folder, beside):
                model.tokenizer.save_pretrained(beside)
        if record is not None:
            (beside / RECORD).write_text(atomic.json_text(record), encoding="utf-8")
        # Another process may have made it meanwhile.
        require_free(folder)
    return folder


def save_orthogonalised(
    model: LanguageModel,
    direction: Vector | Sequence[Vector],
    folder: str | Path,
    *,
    post_norm: PostNorm = "widen",
) -> LanguageModel:
    """Write a model that cannot write a direction; see `orthogonalise`.

    Beside the model lies `orthogonalised.json`, with the model it came from and how far
    its logits are from those under ablation.

    Args:
        model: The model; it is not changed.
        direction: One direction, or several whose span is removed.
        folder: A folder that does not exist yet, or is empty.
        post_norm: See `orthogonalise`.

    Returns:
        The edited model as it is in memory.

    Raises:
        UnwritableError: If the folder has something in it, or cannot be written.
        DiskFullError: If there is no room.
        IncompatibleError: See `orthogonalise`, as for all other errors.

    Example:
        >>> import interp, torch
        >>> from tiny import tiny_model
        >>> target = getfixture("tmp_path") / "harmless"
        >>> model = LanguageModel(hf=tiny_model("llama"))
        >>> edited = save_orthogonalised(model, torch.ones(32), target)
        >>> interp.load(target).n_layers
        3
    """
    # Before the work, which takes minutes for a large model.
    require_free(Path(folder).expanduser())
    edited = orthogonalise(model, direction, post_norm=post_norm)
    record = {
        "model": model.name,
        "revision": model.revision,
        "commit": model.commit,
        "post_norm": post_norm,
        "d_model": edited.d_model,
        "largest_logit_difference": logit_error(edited, model, direction),
    }
    save_model(edited, folder, record=record)
    return edited


def require_free(folder: Path) -> None:
    """Refuse a folder in which something is.

    Raises:
        UnwritableError: If there is a file, or a folder that is not empty.
    """
    with atomic.clear_errors(folder):
        is_taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    if is_taken:
        raise UnwritableError(
            f"{str(folder)!r} exists and is not empty.",
            expected="A model is written to a folder of its own.",
            remedy="Name another folder, or remove this one.",
        )


@contextmanager
def _clear(folder: Path, beside: Path) -> Iterator[None]:
    """What `transformers` says when it cannot write, as an error with a remedy."""
    try:
        with atomic.clear_errors(folder, beside=beside):
            yield
    except InterpError:
        raise
    except Exception as error:  # safetensors has an error type of its own for the disk
        with atomic.clear_errors(folder):
            raise _as_os_error(error) from error


def _as_os_error(error: Exception) -> OSError:
    text = str(error)
    code = next((c for c in (errno.ENOSPC, errno.EFBIG) if f"os error {c}" in text), 0)
    return OSError(code, text.strip().partition("\n")[0])


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the log of `transformers` to errors, and hide its bars, inside the block."""
    verbosity = transformers_log.get_verbosity()
    had_bars = transformers_log.is_progress_bar_enabled()
    transformers_log.set_verbosity_error()
    transformers_log.disable_progress_bar()
    try:
        yield
    finally:
        transformers_log.set_verbosity(verbosity)
        if had_bars:
            transformers_log.enable_progress_bar()
