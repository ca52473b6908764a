"""`LanguageModel`: an unmodified Hugging Face model, its tokenizer, facts and lock."""

import threading
import weakref
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessorList

from interp.errors import PromptError
from interp.models.dimensions import Dimensions, dimensions_of
from interp.models.generation import BATCH_SIZE, generate
from interp.models.identity import identity_of
from interp.models.tokens import Prompts, TokenizedPrompts, tokenize
from interp.provenance import ModelRecord


if TYPE_CHECKING:
    from interp.models.architecture import Architecture


# Hooks are global to a module: what one thread plants, another thread's forward pass
# runs. Whoever plants hooks or needs a clean forward holds the lock of the Hugging Face
# model, so two wrappers of one model must share it.
_locks: "weakref.WeakKeyDictionary[torch.nn.Module, threading.RLock]" = (
    weakref.WeakKeyDictionary()
)
_locks_guard = threading.Lock()


def _lock_of(hf: torch.nn.Module) -> threading.RLock:
    with _locks_guard:
        return _locks.setdefault(hf, threading.RLock())


@dataclass(frozen=True, kw_only=True, eq=False)
class LanguageModel:
    """A causal language model as `interp.load` returns it.

    Attributes:
        hf: The `transformers` model, in eval mode and not changed in any way.
        tokenizer: Its tokenizer, or None if it has none; token ids can still be run.
        name: The hub id or folder that was asked for.
        revision: The hub revision that was asked for.
        commit: The hub commit that was loaded, if the model came from a hub.
        folder: The folder that the files were read from.
    """

    hf: Any
    tokenizer: Any = None
    name: str = ""
    revision: str | None = None
    commit: str | None = None
    folder: Path | None = None

    @cached_property
    def dimensions(self) -> Dimensions:
        return dimensions_of(self.hf.config)

    @cached_property
    def architecture(self) -> "Architecture":
        """Where each site of this model is."""
        from interp.models.architecture import architecture_of

        return architecture_of(self.hf)

    @cached_property
    def lock(self) -> threading.RLock:
        """Held around plant-run-remove; shared by all wrappers of the same `hf`."""
        return _lock_of(self.hf)

    @property
    def n_layers(self) -> int:
        return self.dimensions.n_layers

    @property
    def n_heads(self) -> int:
        return self.dimensions.n_heads

    @property
    def n_kv_heads(self) -> int:
        return self.dimensions.n_kv_heads

    @property
    def d_model(self) -> int:
        return self.dimensions.d_model

    @property
    def d_head(self) -> int:
        return self.dimensions.d_head

    @property
    def d_mlp(self) -> int:
        return self.dimensions.d_mlp

    @property
    def d_vocab(self) -> int:
        return self.dimensions.d_vocab

    @property
    def context_length(self) -> int | None:
        return self.dimensions.context_length

    @property
    def device(self) -> torch.device:
        """Where token ids go: the device of the embedding."""
        return self.hf.get_input_embeddings().weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.hf.dtype

    def tokenize(
        self, prompts: Prompts, *, chat: bool = False, offsets: bool = False
    ) -> TokenizedPrompts:
        """Token ids of each prompt, never padded; see `interp.models.tokens`."""
        return tokenize(
            self.tokenizer,
            prompts,
            d_vocab=self.d_vocab,
            context_length=self.context_length,
            chat=chat,
            offsets=offsets,
        )

    def generate(
        self,
        prompts: Prompts,
        *,
        max_new_tokens: int = 64,
        temperature: float = 0.0,
        seed: int = 0,
        chat: bool = False,
        batch_size: int = BATCH_SIZE,
    ) -> list[str]:
        """What the model writes after each prompt; see `interp.models.generation`."""
        if self.tokenizer is None:
            raise PromptError(
                "The model has no tokenizer, so it cannot write text.",
                remedy="Use interp.models.generation.generate, which gives token ids.",
            )
        generations = generate(
            self,
            prompts,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            seed=seed,
            chat=chat,
            batch_size=batch_size,
        )
        return list(generations.texts or ())

    def complete(
        self,
        ids: Int[Tensor, "batch pos"],
        mask: Int[Tensor, "batch pos"],
        settings: GenerationConfig,
        processors: LogitsProcessorList,
    ) -> Int[Tensor, "batch all_pos"]:
        """Padded prompts with what transformers' `generate` writes behind them."""
        with torch.inference_mode():
            return self.hf.generate(
                ids.to(self.device),
                attention_mask=mask.to(self.device),
                generation_config=settings,
                logits_processor=processors,
            )

    def identity(self, *, hashes: bool = True) -> ModelRecord:
        """What this model is, exactly, for provenance; see `interp.models.identity`."""
        return identity_of(self, hashes=hashes)

    def __repr__(self) -> str:
        at = f"@{self.revision}" if self.revision else ""
        return (
            f"LanguageModel({self.name}{at}, {type(self.hf).__name__}, "
            f"{self.n_layers} layers, d_model {self.d_model}, "
            f"{str(self.dtype).removeprefix('torch.')} on {self.device})"
        )
