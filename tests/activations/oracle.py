"""One prompt at a time through the Hugging Face model: what capture must equal."""

import numpy as np
import torch
from tiny import tiny_model, tiny_tokenizer
from torch import Tensor

import interp
from interp.models.language_model import LanguageModel


# Float32 rounding over four layers, with other kernels, relative to the largest value.
TOLERANCE = 1e-5
PROMPTS = [
    "The city of Paris is in the",
    "the",
    "x y z and not the city of Paris in the city of the city",
    "Paris",
    "is the city not Paris",
]


def load(architecture: str, *, tokenizer: bool = True, **overrides) -> LanguageModel:
    return interp.load(
        tiny_model(architecture, **overrides),
        tokenizer=tiny_tokenizer() if tokenizer else None,
    )


def residuals(model: LanguageModel, ids) -> Tensor:
    """`resid_post` of all layers but the last: `[layer, pos, d_model]`."""
    with torch.no_grad():
        out = model.hf(torch.tensor([list(ids)]), output_hidden_states=True)
    return torch.stack(out.hidden_states[1:-1])[:, 0]


def final(model: LanguageModel, ids) -> tuple[Tensor, Tensor]:
    """The final norm's output and the logits: `[pos, d_model]`, `[pos, d_vocab]`."""
    with torch.no_grad():
        out = model.hf(torch.tensor([list(ids)]), output_hidden_states=True)
    return out.hidden_states[-1][0], out.logits[0]


def few_shot(n: int = 9, *, length: int = 30, seed: int = 0) -> list[list[int]]:
    """Prompts with a common beginning and ends of different lengths."""
    random = np.random.default_rng(seed)
    start = random.integers(3, 300, length).tolist()
    return [
        [*start, *random.integers(3, 300, int(random.integers(2, 12))).tolist()]
        for _ in range(n)
    ]


def assert_close(found: Tensor, wanted: Tensor) -> None:
    scale = max(1.0, float(wanted.abs().max()))
    torch.testing.assert_close(found, wanted, rtol=0, atol=TOLERANCE * scale)


def hook_count(model: LanguageModel) -> int:
    """Hooks on the model, without those that transformers itself leaves there."""
    return sum(
        not hook.__module__.startswith("transformers.")
        for module in model.hf.modules()
        for hooks in (module._forward_hooks, module._forward_pre_hooks)
        for hook in hooks.values()
    )


class TokenCount:
    """Counts the tokens that the model really computes."""

    def __init__(self, model: LanguageModel) -> None:
        self.passes: list[tuple[int, int]] = []
        embedding = model.hf.get_input_embeddings()
        # In place of a hook: hooks of others turn short cuts off.
        self._forward = embedding.forward
        embedding.forward = self._counted

    def _counted(self, ids: Tensor) -> Tensor:
        self.passes.append((ids.shape[0], ids.shape[1]))
        return self._forward(ids)

    @property
    def tokens(self) -> int:
        return sum(batch * pos for batch, pos in self.passes)
