"""Module paths of a model, read from TransformerLens' architecture adapters.

The only file that touches TransformerLens' internals. The adapter is built from the
config alone and never wraps or changes the model; all that is taken from it is data: an
`ArchitectureMap` of dotted paths. For `interp.interchange` two of its objects are made
here as well: a bridge around a twin of the model, and a cache.
"""

import copy
import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from interp.models.paths import ArchitectureMap, Fused, submodule


logger = logging.getLogger("interp.models")


def map_from_adapter(hf: PreTrainedModel) -> ArchitectureMap | None:
    """The paths of a model's parts by its TransformerLens adapter.

    Args:
        hf: A loaded model; only its config and the shapes of one block are read.

    Returns:
        The map, or None where TransformerLens has no adapter for the architecture or
        the adapter names modules that this model does not have.

    Source:
        TransformerLens 4.3, `ArchitectureAdapterFactory` and `component_mapping`.
    """
    architecture = type(hf).__name__
    try:
        mapping = _component_mapping(hf, architecture)
        return _read_mapping(hf, mapping)
    except Exception as error:  # an adapter may fail in any way on a new config
        logger.info("no TransformerLens adapter for %s: %s", architecture, error)
        return None


def bridge_around(hf: PreTrainedModel, tokenizer: Any, name: str) -> Any:
    """A `TransformerBridge` on the weights of a model that stays as it is.

    A bridge puts modules of its own in the place of the model's and may switch its
    attention, so it gets a second tree of modules with the same tensors in it.

    Args:
        hf: The model.
        tokenizer: Its tokenizer, or None.
        name: What the bridge calls the model.

    Source:
        TransformerLens 4.3, `build_bridge_from_module`.
    """
    from transformer_lens.model_bridge.sources._bridge_builder import (
        build_bridge_from_module,
    )

    shared: dict[int, Any] = {
        id(tensor): tensor for tensor in (*hf.parameters(), *hf.buffers())
    }
    twin = copy.deepcopy(hf, shared)
    # A tokenizer that lies nowhere cannot be read again, which the bridge does.
    is_stored = bool(getattr(tokenizer, "init_kwargs", {}).get("name_or_path"))
    return build_bridge_from_module(
        twin,
        type(hf).__name__,
        hf_config=twin.config,
        tokenizer=tokenizer if is_stored else None,
        model_name=name,
    )


def activation_cache(values: Mapping[str, Tensor], bridge: Any) -> Any:
    """TransformerLens' `ActivationCache` of values `[batch, ...]` by hook name."""
    from transformer_lens.ActivationCache import ActivationCache

    return ActivationCache(dict(values), bridge, has_batch_dim=True)


def _component_mapping(hf: PreTrainedModel, architecture: str) -> dict[str, Any]:
    from transformer_lens.factories.architecture_adapter_factory import (
        ArchitectureAdapterFactory,
    )
    from transformer_lens.model_bridge.sources._bridge_builder import (
        build_bridge_config_from_hf,
    )

    config = build_bridge_config_from_hf(
        hf.config, architecture, str(hf.config.name_or_path), torch.float32
    )
    adapter = ArchitectureAdapterFactory.select_architecture_adapter(config)
    if adapter.component_mapping is None:
        raise LookupError("the adapter has no component mapping")
    return dict(adapter.component_mapping)


def _read_mapping(hf: PreTrainedModel, mapping: dict[str, Any]) -> ArchitectureMap:
    blocks = mapping["blocks"]
    parts: dict[str, Any] = dict(blocks.submodules)
    block = submodule(hf, f"{blocks.name}.0")
    attn = parts["attn"]
    attn_name = attn.name
    inner = dict(attn.submodules)
    fused_qkv = _fused(block, attn, attn_name, inner.get("qkv"))
    mlp = parts.get("mlp")
    mlp_parts = dict(mlp.submodules) if mlp is not None else {}
    mlp_name = mlp.name if mlp is not None else None
    fused_gate = _fused_gate(block, mlp, mlp_name)
    # In a mixture of experts "gate" is the router, and the experts' inner
    # activations are never materialised one token at a time.
    is_moe = mlp is not None and type(mlp).__name__.startswith("MoE")
    router = _join(mlp_name, mlp_parts.get("gate")) if is_moe else None
    gate = "gate" if "gate" in mlp_parts else "in"
    if is_moe:
        dense_gate = "dense_gate" if "dense_gate" in mlp_parts else "dense_in"
        mlp_pre = _join(mlp_name, mlp_parts.get(dense_gate))
        mlp_down = _join(mlp_name, mlp_parts.get("dense_out"))
    else:
        mlp_pre = None if fused_gate else _join(mlp_name, mlp_parts.get(gate))
        mlp_down = _join(mlp_name, mlp_parts.get("out"))
    return ArchitectureMap(
        source="TransformerLens adapter",
        blocks=blocks.name,
        embed=mapping["embed"].name,
        final_norm=_name(mapping.get("ln_final")),
        unembed=_name(mapping.get("unembed")),
        attn=attn_name,
        attn_post_norm=_name(parts.get("ln1_post")),
        mlp=mlp_name,
        mlp_norm=_name(parts.get("ln2")),
        mlp_post_norm=_name(parts.get("ln2_post")),
        q=None if fused_qkv else _join(attn_name, inner.get("q")),
        k=None if fused_qkv else _join(attn_name, inner.get("k")),
        v=None if fused_qkv else _join(attn_name, inner.get("v")),
        fused_qkv=fused_qkv,
        o=_join(attn_name, inner.get("o")),
        mlp_pre=mlp_pre,
        fused_gate=fused_gate,
        mlp_down=mlp_down,
        router=router,
        parallel=type(blocks).__name__ == "ParallelBlockBridge",
    )


def _name(component: Any) -> str | None:
    return None if component is None else component.name


def _join(parent: str | None, component: Any) -> str | None:
    if component is None or component.name is None:
        return None
    return component.name if parent is None else f"{parent}.{component.name}"


class _IndexProbe:
    """Stands in for a module whose fused weight is replaced by its row numbers.

    The adapter's own splitting code, applied to a weight that holds its row numbers,
    tells which output columns belong to which part, whatever the layout.
    """

    def __init__(self, original: nn.Module, fused_name: str) -> None:
        fused = submodule(original, fused_name)
        rows_first = isinstance(fused, nn.Linear)
        shape = _weight(fused).shape
        n_columns = shape[0] if rows_first else shape[1]
        columns = torch.arange(n_columns, dtype=torch.float32)
        weight = columns[:, None] if rows_first else columns[None, :]
        stand_in = nn.Module()
        stand_in.weight = weight.expand(*shape).clone()
        stand_in.bias = columns.clone()
        for name in ("nf", "nx", "in_features", "out_features"):
            if hasattr(fused, name):
                setattr(stand_in, name, getattr(fused, name))
        self._original = original
        setattr(self, fused_name, stand_in)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


def _weight(module: nn.Module) -> Tensor:
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight


def _columns(linear: Any) -> tuple[int, ...]:
    weight = linear.weight.detach()
    by_row = weight[:, 0] if isinstance(linear, nn.Linear) else weight[0]
    return tuple(int(column) for column in by_row)


def _fused(block: nn.Module, attn: Any, attn_name: str, qkv: Any) -> Fused | None:
    if qkv is None or qkv.name is None:
        return None
    module = submodule(block, attn_name)
    path = f"{attn_name}.{qkv.name}"
    try:
        parts = attn.split_qkv_matrix(_IndexProbe(module, qkv.name))
        return Fused(path=path, columns=tuple(_columns(part) for part in parts))
    except (RuntimeError, AttributeError, TypeError):
        # TransformerLens 4.3 splits Falcon's new decoder as if it had one key head.
        return _fused_by_model(module, submodule(module, qkv.name), path)


def _fused_by_model(
    module: nn.Module, projection: nn.Module, path: str
) -> Fused | None:
    """The layout by the model's own head splitting, where it has a method for it."""
    split: Any = getattr(module, "_split_heads", None)
    if split is None:
        return None
    n_columns = _weight(projection).shape[0]
    numbers = torch.arange(n_columns, dtype=torch.float32)[None, None]
    parts = [part.flatten().tolist() for part in split(numbers)]
    # Keys and values come back repeated for every query head that shares them.
    return Fused(
        path=path,
        columns=tuple(tuple(dict.fromkeys(map(int, part))) for part in parts),
    )


def _fused_gate(block: nn.Module, mlp: Any, mlp_name: str | None) -> Fused | None:
    if not hasattr(mlp, "split_gate_up_matrix") or mlp_name is None:
        return None
    probe = _IndexProbe(submodule(block, mlp_name), "gate_up_proj")
    parts = mlp.split_gate_up_matrix(probe)
    return Fused(
        path=f"{mlp_name}.gate_up_proj",
        columns=tuple(_columns(part) for part in parts),
    )
