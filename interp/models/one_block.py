"""The first block of a model, made from its config, to see what its code does.

Its weights are neither drawn nor read, so that it takes no memory and no time however
large the model is; the model itself is not run, so that no edit, device or thread comes
into it. What a projection "says" is put in the place of its output.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel
from transformers.initialization import no_init_weights

from interp.models.paths import ArchitectureMap


class _Arrived(Exception):
    """What reached the place that was watched."""


class OneBlock:
    """The embedding and the first block of a model, on the CPU, in float32.

    Args:
        hf: The model; its class and config are read.
        paths: Where its parts are.
    """

    def __init__(self, hf: PreTrainedModel, paths: ArchitectureMap) -> None:
        config = copy.deepcopy(hf.config)
        text = config.get_text_config(decoder=True)
        text.num_hidden_layers = 1
        if isinstance(kinds := getattr(text, "layer_types", None), list):
            text.layer_types = kinds[:1]
        # Kernels that need a device would not run here.
        config._attn_implementation = "eager"
        made: Any = type(hf)
        # Memory that is neither drawn nor read is not taken either.
        with no_init_weights():
            self._hf = made(config).eval()
        for module in self._hf.modules():
            # Norms of queries and keys would hide the numbers; they move no column.
            if "norm" in type(module).__name__.lower():
                module.forward = _unchanged
        self._block = self._hf.get_submodule(f"{paths.blocks}.0")

    def run(
        self,
        path: str,
        said: Float[Tensor, "row pos column"],
        *,
        until: str,
    ) -> tuple[Tensor, DynamicCache]:
        """What enters `until` and what is in the cache when `path` says `said`.

        Raises:
            LookupError: If the block never runs `until`.
        """
        cache = DynamicCache()

        def arrive(module: nn.Module, args: tuple, kwargs: dict) -> None:
            raise _Arrived(args[0] if args else next(iter(kwargs.values())))

        module = self._block.get_submodule(path)
        module.forward = _says(said)
        handle = self._block.get_submodule(until).register_forward_pre_hook(
            arrive, with_kwargs=True
        )
        ids = torch.zeros(said.shape[:2], dtype=torch.long)
        try:
            with torch.no_grad():
                self._hf(input_ids=ids, past_key_values=cache, use_cache=True)
        except _Arrived as arrived:
            return arrived.args[0].reshape(*said.shape[:2], -1), cache
        finally:
            handle.remove()
            del module.forward
        raise LookupError(f"{until} never ran")


def _unchanged(value: Tensor, *_: Any, **__: Any) -> Tensor:
    return value


def _says(said: Tensor) -> Callable[[Tensor], Tensor]:
    # Experts and Bloom's relatives see flattened rows.
    return lambda value: said.reshape(*value.shape[:-1], -1)
