"""Tiny models with an entropy neuron and a token-frequency neuron made by hand."""

import torch
from jaxtyping import Float, Int
from tiny import VOCAB_SIZE, tiny_model
from torch import Tensor
from transformers import PreTrainedModel


# The one direction of the residual stream that the head does not read.
NULL_DIRECTION = 0
ENTROPY_NEURON, FREQUENCY_NEURON = 5, 11
# Far longer than the other output vectors, which are about one long.
LENGTH = 12.0


def planted_model(seed: int = 0, *, length: float = LENGTH) -> PreTrainedModel:
    """A model whose last MLP holds both neurons.

    The head has no weight on one direction; the entropy neuron writes along it alone.
    The frequency neuron adds to the logits what `unigram_counts` counts.
    """
    model = tiny_model("llama", seed)
    mlp = model.model.layers[-1].mlp
    with torch.no_grad():
        model.lm_head.weight[:, NULL_DIRECTION] = 0
        mlp.down_proj.weight[:, ENTROPY_NEURON] = 0
        mlp.down_proj.weight[NULL_DIRECTION, ENTROPY_NEURON] = length
        mlp.down_proj.weight[:, FREQUENCY_NEURON] = frequency_vector()
    return model


def frequency_vector() -> Float[Tensor, " d_model"]:
    """What the frequency neuron writes."""
    generator = torch.Generator().manual_seed(7)
    vector = torch.randn(32, generator=generator)
    vector[NULL_DIRECTION] = 0
    return 3.0 * vector / vector.norm()


def unigram_counts(model: PreTrainedModel) -> Int[Tensor, " vocab"]:
    """Counts whose logarithms are what the frequency neuron adds to the logits."""
    gain = model.model.norm.weight.detach()
    logits = model.lm_head.weight.detach() @ (gain * frequency_vector())
    return (1e7 * logits.double().softmax(0)).round().long()


def planted_prompts(n: int = 12, length: int = 9) -> list[list[int]]:
    """Prompts of random tokens."""
    generator = torch.Generator().manual_seed(3)
    rows = torch.randint(6, VOCAB_SIZE, (n, length), generator=generator)
    return rows.tolist()
