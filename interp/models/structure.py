"""Module paths of a model that TransformerLens has no adapter for, by its structure.

The blocks are the largest list of modules; inside one, the parts are recognised by the
names that nearly all decoders use. What this finds is a guess: the self-check of
`interp doctor` tells whether it holds.
"""

from collections.abc import Iterable, Set
from typing import NamedTuple

from torch import nn
from transformers import PreTrainedModel

from interp.errors import UnsupportedModelError
from interp.models.paths import ArchitectureMap


_ATTENTION = ("self_attn", "self_attention", "attention", "attn", "attn.attention")
_MLP = ("mlp", "feed_forward", "ffn", "block_sparse_moe", "moe")
_OUT = ("o_proj", "out_proj", "c_proj", "dense", "wo", "o")
_DOWN = ("down_proj", "c_proj", "dense_4h_to_h", "fc2", "fc_out", "w2", "wo", "out")
_PRE = ("gate_proj", "c_fc", "dense_h_to_4h", "fc1", "fc_in", "w1", "wi", "in")
_NORMS = ("norm", "ln_f", "final_layernorm", "final_layer_norm", "ln_out", "norm_f")
_ROUTER = ("gate", "router")
# Before the MLP, unless the block has a norm behind it: then one of these names stands
# behind attention.
_MLP_NORMS = ("post_attention_layernorm", "ln_2", "ln_mlp", "final_layer_norm", "norm2")
_BEFORE_MLP, _BEHIND_ATTENTION, _BEHIND_MLP = (
    "pre_feedforward_layernorm",
    "post_attention_layernorm",
    "post_feedforward_layernorm",
)
# Settings that say whether attention and MLP are added at once.
_PARALLEL = ("use_parallel_residual", "parallel_attn")


def map_from_structure(hf: PreTrainedModel) -> ArchitectureMap:
    """The paths of a model's parts by common names and by shape.

    Raises:
        UnsupportedModelError: If there is no list of blocks with an attention module.
    """
    blocks_path = _blocks(hf)
    # The blocks of a hybrid do not all have the same parts.
    block = _names(*hf.get_submodule(blocks_path).children())
    trunk_path = blocks_path.rpartition(".")[0]
    attn = _first(block, _ATTENTION)
    if attn is None:
        raise UnsupportedModelError(
            f"Cannot find the attention module in the blocks of {type(hf).__name__}.",
            expected=f"Looked for {', '.join(_ATTENTION)} in {blocks_path}.",
            remedy="Only decoder models with attention in every block are supported.",
        )
    mlp = _first(block, _MLP)
    embeddings = hf.get_input_embeddings()
    unembed = hf.get_output_embeddings()
    norm = _first(_names(hf.get_submodule(trunk_path)), _NORMS)
    norms = _branch_norms(block)
    return ArchitectureMap(
        source="structure",
        blocks=blocks_path,
        embed=_path_of(hf, embeddings),
        final_norm=None if norm is None else f"{trunk_path}.{norm}".lstrip("."),
        unembed=None if unembed is None else _path_of(hf, unembed),
        attn=attn,
        attn_post_norm=norms.behind_attention,
        mlp=mlp,
        mlp_norm=norms.before_mlp,
        mlp_post_norm=norms.behind_mlp,
        q=_below(block, attn, ("q_proj", "query", "wq", "q")),
        k=_below(block, attn, ("k_proj", "key", "wk", "k")),
        v=_below(block, attn, ("v_proj", "value", "wv", "v")),
        o=_below(block, attn, _OUT),
        # Some blocks hold the layers of the MLP themselves.
        mlp_pre=_first(block, ("fc1",)) if mlp is None else _below(block, mlp, _PRE),
        mlp_down=_first(block, ("fc2",)) if mlp is None else _below(block, mlp, _DOWN),
        router=_below(block, mlp, _ROUTER),
        parallel=_is_parallel(hf, norms),
    )


class _BranchNorms(NamedTuple):
    """The norms of a block beside the one that its attention reads."""

    behind_attention: str | None
    before_mlp: str | None
    behind_mlp: str | None


def _branch_norms(names: Set[str]) -> _BranchNorms:
    if _BEHIND_MLP in names:
        behind = _BEHIND_ATTENTION if _BEHIND_ATTENTION in names else None
        before = _BEFORE_MLP if _BEFORE_MLP in names else None
        return _BranchNorms(behind, before, _BEHIND_MLP)
    before = next((name for name in _MLP_NORMS if name in names), None)
    return _BranchNorms(None, before, None)


def _is_parallel(hf: PreTrainedModel, norms: _BranchNorms) -> bool:
    """Whether attention and MLP read the same stream, so that there is no middle."""
    config = hf.config.get_text_config()
    said = [bool(getattr(config, name)) for name in _PARALLEL if hasattr(config, name)]
    # One norm for both branches; nothing in between could be read.
    shares_norm = norms.before_mlp is None and norms.behind_mlp is None
    return any(said) if said else shares_norm


def _blocks(hf: PreTrainedModel) -> str:
    n_layers = getattr(hf.config.get_text_config(), "num_hidden_layers", None)
    lists = [
        (name, module)
        for name, module in hf.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == n_layers
    ]
    if not lists:
        raise UnsupportedModelError(
            f"Cannot find the decoder blocks of {type(hf).__name__}.",
            expected=f"A list of {n_layers} blocks, as its config says.",
            remedy="Only decoder models with a list of blocks are supported.",
        )
    largest = max(lists, key=lambda item: sum(p.numel() for p in item[1].parameters()))
    return largest[0]


def _names(*modules: nn.Module) -> Set[str]:
    """The paths of everything that one of the modules has."""
    return {name for module in modules for name, _ in module.named_modules()}


def _first(known: Set[str], names: Iterable[str]) -> str | None:
    return next((name for name in names if name in known), None)


def _below(known: Set[str], parent: str | None, names: Iterable[str]) -> str | None:
    if parent is None:
        return None
    return _first(known, (f"{parent}.{name}" for name in names))


def _path_of(hf: PreTrainedModel, target: nn.Module) -> str:
    return next(name for name, module in hf.named_modules() if module is target)
