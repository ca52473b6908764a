"""The sizes of a model, read from its config, whatever the architecture calls them."""

from dataclasses import dataclass
from typing import Any

from interp.errors import UnsupportedModelError


# The config says the same thing under many names. In each row the name that is more
# specific to this library's meaning comes first.
_N_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_N_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads")
_D_MODEL = ("hidden_size", "n_embd", "d_model", "dim")
_D_MLP = (
    "ffn_hidden_size",
    "ffn_dim",
    "n_inner",
    "intermediate_size",
    "d_ff",
    "d_inner",
    "moe_intermediate_size",
)
_CONTEXT = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_len")
# Position-free attention biases (ALiBi) set no limit, whatever the config says.
_WITHOUT_LIMIT = frozenset({"bloom"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimensions:
    """How large the parts of a model are.

    Attributes:
        n_kv_heads: Key-value heads; fewer than `n_heads` where queries share them.
        d_mlp: Width of the MLP; of one expert where there are experts.
        d_vocab: Rows of the embedding, which may exceed the tokenizer's vocabulary.
        context_length: The longest prompt, or None where nothing limits it.
    """

    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_head: int
    d_mlp: int
    d_vocab: int
    context_length: int | None


def dimensions_of(config: Any) -> Dimensions:
    """The sizes that a Hugging Face config states.

    Args:
        config: A `transformers` config; of a multimodal model the text part is read.

    Raises:
        UnsupportedModelError: If a size is not stated under any known name.
    """
    text = config.get_text_config(decoder=True)
    d_model = _required(text, _D_MODEL)
    n_heads = _required(text, _N_HEADS)
    return Dimensions(
        n_layers=_required(text, _N_LAYERS),
        n_heads=n_heads,
        n_kv_heads=_n_kv_heads(text, n_heads),
        d_model=d_model,
        d_head=_first(text, ("head_dim", "kv_channels", "v_head_dim"))
        or d_model // n_heads,
        d_mlp=_d_mlp(text, d_model),
        d_vocab=_required(text, ("vocab_size",)),
        context_length=None
        if text.model_type in _WITHOUT_LIMIT or getattr(text, "alibi", False)
        else _first(text, _CONTEXT),
    )


def _n_kv_heads(config: Any, n_heads: int) -> int:
    if config.model_type == "falcon" and not config.new_decoder_architecture:
        # Falcon's config counts `num_kv_heads` as all heads here, and does not use it.
        return 1 if config.multi_query else n_heads
    stated = _first(config, ("num_key_value_heads", "num_kv_heads", "n_head_kv"))
    return stated or (1 if getattr(config, "multi_query", False) else n_heads)


def _d_mlp(config: Any, d_model: int) -> int:
    if _first(config, ("num_experts", "num_local_experts", "n_routed_experts")):
        expert = _first(config, ("moe_intermediate_size",))
        if expert:
            return expert
    # GPT-2, Bloom and MPT leave the width out where it is four times the model's.
    return _first(config, _D_MLP) or 4 * d_model


def _first(config: Any, names: tuple[str, ...]) -> int | None:
    for name in names:
        value = getattr(config, name, None)
        if isinstance(value, list | tuple) and value:
            # A few architectures state a width per layer; the widest is reported.
            value = max(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None


def _required(config: Any, names: tuple[str, ...]) -> int:
    value = _first(config, names)
    if value is None:
        raise UnsupportedModelError(
            f"The config of a {config.model_type!r} model does not state its sizes.",
            expected=f"One of: {', '.join(names)}.",
            remedy="Add it to config.json.",
        )
    return value
