"""Tiny random models of many architectures, and a tiny tokenizer, for tests.

Every weight is drawn so that no part is a no-op: activations are of order one, norm
gains differ from one and biases from zero, so a forgotten one changes the output.
"""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)


BOS, EOS, PAD = "<bos>", "<eos>", "<pad>"
USER, ASSISTANT, END = "<|user|>", "<|assistant|>", "<|end|>"
SPECIAL = (BOS, EOS, PAD, USER, ASSISTANT, END)
WORDS = ("the", " the", " is", " in", " of", " city", " not", " and", " Paris", " The")
VOCAB_SIZE = 320

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)

# Gains well above the usual 0.02: with 32 dimensions a projection then keeps order one.
WEIGHT_STD = 0.2

_ROTARY: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
_EXPERTS: dict[str, Any] = {"num_experts_per_tok": 2}
_CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 128}),
    "gpt_neox": (
        "gpt_neox",
        {
            **_ROTARY,
            "num_key_value_heads": None,
            "rotary_pct": 0.5,
            "use_parallel_residual": True,
        },
    ),
    "gpt_neox_sequential": (
        "gpt_neox",
        {**_ROTARY, "num_key_value_heads": None, "use_parallel_residual": False},
    ),
    "llama": ("llama", _ROTARY),
    "mistral": ("mistral", {**_ROTARY, "sliding_window": 8}),
    "qwen2": ("qwen2", _ROTARY),
    "qwen3": ("qwen3", {**_ROTARY, "head_dim": 12}),
    "gemma2": (
        "gemma2",
        {
            **_ROTARY,
            "num_hidden_layers": 4,
            "head_dim": 12,
            "query_pre_attn_scalar": 12,
            "sliding_window": 8,
            "attn_logit_softcapping": 5.0,
            "final_logit_softcapping": 3.0,
        },
    ),
    "olmo2": ("olmo2", {**_ROTARY, "num_hidden_layers": 4}),
    "opt": (
        "opt",
        {
            "hidden_size": 32,
            "word_embed_proj_dim": 32,
            "ffn_dim": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "max_position_embeddings": 128,
        },
    ),
    "phi": (
        "phi",
        {**_ROTARY, "num_key_value_heads": None, "partial_rotary_factor": 0.5},
    ),
    "mixtral": (
        "mixtral",
        {**_ROTARY, **_EXPERTS, "num_local_experts": 4, "sliding_window": None},
    ),
    "qwen3_moe": (
        "qwen3_moe",
        {
            **_ROTARY,
            **_EXPERTS,
            "num_experts": 4,
            "moe_intermediate_size": 24,
            "head_dim": 12,
            "decoder_sparse_step": 1,
            "norm_topk_prob": True,
        },
    ),
    "falcon": (
        "falcon",
        {
            "hidden_size": 32,
            "ffn_hidden_size": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "multi_query": True,
            "parallel_attn": True,
            "new_decoder_architecture": False,
            "bias": True,
        },
    ),
    "falcon_new": (
        "falcon",
        {
            "hidden_size": 32,
            "ffn_hidden_size": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_kv_heads": 2,
            "new_decoder_architecture": True,
        },
    ),
    "bloom": ("bloom", {"hidden_size": 32, "n_layer": 3, "n_head": 4}),
    "stablelm": ("stablelm", {**_ROTARY, "partial_rotary_factor": 0.5}),
}
ARCHITECTURES: list[str] = list(_CONFIGS)


def tiny_config(architecture: str, **overrides: Any) -> Any:
    """The config of a tiny model; `overrides` replace its fields."""
    model_type, fields = _CONFIGS[architecture]
    fields = {
        "vocab_size": VOCAB_SIZE,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 2,
        **fields,
        **overrides,
    }
    return AutoConfig.for_model(model_type, **fields)


def tiny_model(architecture: str, seed: int = 0, **overrides: Any) -> PreTrainedModel:
    """A random model of 3 or 4 layers in float32 and eval mode, the same for a seed."""
    with torch.random.fork_rng(devices=[]):
        model = AutoModelForCausalLM.from_config(tiny_config(architecture, **overrides))
    model = model.to(torch.float32).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator) * WEIGHT_STD
            # Gains stay around one and biases around zero: only matrices are redrawn.
            parameter.copy_(parameter + noise if parameter.ndim == 1 else noise)
    return model


def tiny_tokenizer(*, chat: bool = True) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer for any text: BOS in front, and a simple chat template."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*SPECIAL, *alphabet])}
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        pieces = list(word.replace(" ", "Ġ"))
        left = pieces[0]
        for right in pieces[1:]:
            if (left, right) not in merges:
                merges.append((left, right))
            left += right
            vocabulary.setdefault(left, len(vocabulary))
    assert len(vocabulary) <= VOCAB_SIZE
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single=f"{BOS} $A", special_tokens=[(BOS, vocabulary[BOS])]
            ),
        ]
    )
    tokenizer.add_special_tokens(list(SPECIAL))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        model_max_length=128,
    )
    if chat:
        fast.chat_template = CHAT_TEMPLATE
    return fast


def saved_tiny_model(
    folder: Path, architecture: str = "llama", *, seed: int = 0, **overrides: Any
) -> Path:
    """A folder in Hugging Face format: safetensors, config and tokenizer."""
    target = Path(folder) / architecture
    tiny_model(architecture, seed, **overrides).save_pretrained(target)
    tiny_tokenizer().save_pretrained(target)
    return target


def write_config(folder: Path, **fields: object) -> None:
    """Change fields of the config of a saved model."""
    file = folder / "config.json"
    config = json.loads(file.read_text())
    config.update(fields)
    file.write_text(json.dumps(config))
