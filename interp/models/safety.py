"""What a checkpoint's config says about itself, judged before anything is built.

Two questions: would it run code, and is it a causal language model. Both are answered
from the JSON files alone.
"""

from typing import Any

from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)

from interp.errors import UnsafeModelError, UnsupportedModelError, closest
from interp.models.checkpoint import Checkpoint


def check_supported(
    checkpoint: Checkpoint, name: str, *, trust_remote_code: bool
) -> None:
    """Refuse a checkpoint that needs code of its own, or is not a causal model.

    A checkpoint that brings code although `transformers` knows its architecture is read
    without that code.

    Args:
        checkpoint: The files.
        name: What the user called the model.
        trust_remote_code: Whether its code may run.

    Raises:
        UnsafeModelError: If it cannot be used without running its code.
        UnsupportedModelError: If it is not a causal language model.
    """
    config = checkpoint.config
    model_type = config.get("model_type")
    if not isinstance(model_type, str):
        raise UnsupportedModelError(
            f"The config.json of {name} has no model_type.",
            expected="It says which architecture the weights belong to.",
            remedy="Save the model with save_pretrained, which writes it.",
        )
    native = model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    code = config.get("auto_map")
    kernel = _hub_kernel(config)
    if trust_remote_code and (code or kernel):
        return  # what that code makes of it cannot be known from the config
    if code and not native:
        raise needs_code(name, f"config.json names {_some(code)}")
    if kernel:
        raise needs_code(name, f"config.json names the hub kernel {kernel!r}")
    if not native:
        known = model_type in CONFIG_MAPPING
        raise _not_causal(
            f"{name} is a {model_type!r} model, which "
            + ("is not a causal language model." if known else "is unknown here."),
            remedy="" if known else closest(model_type, CONFIG_MAPPING),
        )
    parsed = _parsed(checkpoint, name)
    if getattr(parsed, "is_encoder_decoder", False) or (
        # BERT and its kin are listed as causal models, but only with this switch.
        model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
        and not getattr(parsed, "is_decoder", False)
    ):
        raise _not_causal(
            f"{name} is a {model_type!r} model that reads text in both directions."
        )


def _not_causal(what: str, *, remedy: str = "") -> UnsupportedModelError:
    return UnsupportedModelError(
        what,
        expected="A decoder that predicts the next token, such as llama or gpt2.",
        remedy=remedy or "Choose a causal language model.",
    )


def _parsed(checkpoint: Checkpoint, name: str) -> PreTrainedConfig:
    try:
        return AutoConfig.from_pretrained(
            checkpoint.folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # each architecture checks its config in its own way
        reason = " ".join(str(error).split()).rstrip(".")
        raise UnsupportedModelError(
            f"The config.json of {name} cannot be used: {reason}.",
            remedy="Download or copy it again, or update transformers.",
        ) from error


def needs_code(name: str, why: str) -> UnsafeModelError:
    """The error for a checkpoint that cannot be used without running its code."""
    return UnsafeModelError(
        f"{name} needs Python code that comes with it ({why}).",
        expected="Such code can do anything, so it runs only when asked for.",
        remedy="If you trust it, load with trust_remote_code=True.",
    )


def _some(code: Any) -> str:
    return ", ".join(map(str, code.values())) if isinstance(code, dict) else str(code)


def _hub_kernel(config: dict[str, Any]) -> str | None:
    """A kernel that the config would fetch from a hub: its name has a slash."""
    for key, value in config.items():
        if isinstance(value, dict):
            if found := _hub_kernel(value):
                return found
        elif "attn_implementation" in key and isinstance(value, str) and "/" in value:
            return value
    return None
