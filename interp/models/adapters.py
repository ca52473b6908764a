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
from torch import Tensor
from transformers import PreTrainedModel

from interp.models.paths import ArchitectureMap, submodule


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
    attn = parts["attn"]
    attn_name = attn.name
    inner = dict(attn.submodules)
    mlp = parts.get("mlp")
    mlp_parts = dict(mlp.submodules) if mlp is not None else {}
    mlp_name = mlp.name if mlp is not None else None
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
        mlp_pre = _join(mlp_name, mlp_parts.get(gate))
        mlp_down = _join(mlp_name, mlp_parts.get("out"))
    # Where one projection computes several parts the adapter names parts of its own.
    names = {
        name
        for block in submodule(hf, blocks.name).children()
        for name, _ in block.named_modules()
    }
    q, k, v = (_join(attn_name, inner.get(part)) for part in "qkv")
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
        q=q if q in names else None,
        k=k if k in names else None,
        v=v if v in names else None,
        o=_join(attn_name, inner.get("o")),
        mlp_pre=mlp_pre if mlp_pre in names else None,
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
