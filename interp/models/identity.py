"""What a model is, exactly: hashes of weights, config, tokenizer and chat template.

The hash of the weights is over the safetensors files, so a hub repository and a copy
of it agree. It is computed when asked for, and a file is hashed again only when its
size or time of change differs. Weights edited in memory after loading are not seen.
"""

import hashlib
import json
import re
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from interp.models.checkpoint import inspect_folder
from interp.provenance import ModelRecord


if TYPE_CHECKING:
    from interp.models.language_model import LanguageModel


# Facts about the session or the library, not about the model.
_NOT_CONFIG = frozenset(
    {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache"}
)


def identity_of(model: "LanguageModel", *, hashes: bool = True) -> ModelRecord:
    """The facts that two runs must share to have used the same model.

    Args:
        model: Any loaded model. Of one that was made in memory the tensors themselves
            are hashed.
        hashes: Whether to fill them in; the weights of a large model take seconds.
    """
    device = model.device
    record = ModelRecord(
        name=model.name,
        revision=model.commit or "",
        dtype=str(model.dtype).removeprefix("torch."),
        attention=str(model.hf.config._attn_implementation),
        device=torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else device.type,
    )
    if not hashes:
        return record
    template = getattr(model.tokenizer, "chat_template", None)
    return replace(
        record,
        weights_hash=_weights_hash(model),
        config_hash=_config_hash(model.hf.config),
        tokenizer_hash=_tokenizer_hash(model.tokenizer),
        template_hash=_hash_json(template) if template else "",
    )


def _weights_hash(model: "LanguageModel") -> str:
    if model.folder is None:
        return _tensors_hash(model.hf)
    files = inspect_folder(model.folder, model.name).weights
    if len(files) == 1:
        return _file_hash(files[0])
    return _hash_json([[file.name, _file_hash(file)] for file in files])


def _file_hash(file: Path) -> str:
    target = file.resolve()
    # The Hugging Face cache names a large file by its SHA-256.
    if target.parent.name == "blobs" and re.fullmatch(r"[0-9a-f]{64}", target.name):
        return target.name
    status = target.stat()
    return _hash_once(target, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1024)
def _hash_once(file: Path, size: int, changed: int) -> str:
    del size, changed  # they are part of the key: another file under the same name
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _tensors_hash(hf: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(hf.state_dict().items()):
        if tensor.is_meta:  # offloaded: not here to be read
            return ""
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = tensor.detach().cpu().contiguous().flatten()
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _config_hash(config: Any) -> str:
    fields = config.to_diff_dict()
    return _hash_json({k: v for k, v in fields.items() if k not in _NOT_CONFIG})


def _tokenizer_hash(tokenizer: Any) -> str:
    if tokenizer is None:
        return ""
    if getattr(tokenizer, "is_fast", False):
        state = json.loads(tokenizer.backend_tokenizer.to_str())
        # The last call leaves its settings behind in these two.
        state.pop("truncation", None)
        state.pop("padding", None)
    else:
        state = tokenizer.get_vocab()
    special = {key: str(value) for key, value in tokenizer.special_tokens_map.items()}
    return _hash_json([state, special])


def _hash_json(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
