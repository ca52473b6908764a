"""`load`: a causal language model from a hub, a folder or memory."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from interp.models.language_model import LanguageModel


def load(
    source: str | Path | PreTrainedModel,
    *,
    tokenizer: Any = None,
    revision: str | None = None,
    device: str = "auto",
    dtype: str | torch.dtype = "auto",
    trust_remote_code: bool = False,
    attn: str | None = None,
) -> LanguageModel:
    """The causal language model that `source` names, unmodified and in eval mode."""
    if isinstance(source, PreTrainedModel):
        name = source.config._name_or_path or type(source).__name__
        return LanguageModel(hf=source.eval(), tokenizer=tokenizer, name=name)
    hf = AutoModelForCausalLM.from_pretrained(
        source, use_safetensors=True, dtype=dtype, attn_implementation=attn
    )
    if tokenizer is None:
        tokenizer = AutoTokenizer.from_pretrained(source)
    return LanguageModel(
        hf=hf.eval(), tokenizer=tokenizer, name=str(source), revision=revision
    )
