"""Tokens that a neuron promotes: those of whole matrices, and of a planted neuron."""

from typing import Any

import pytest
import torch
from planted_neurons import FREQUENCY_NEURON, planted_model, unigram_counts
from tiny import tiny_model, tiny_tokenizer

import interp
from interp.errors import ConfigError
from interp.models.words import token_words
from interp.neurons import matrices, promoted_tokens


def model_of(hf):
    return interp.load(hf, tokenizer=tiny_tokenizer())


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gemma2"])
def test_tokens_and_weights_are_those_of_a_step_along_the_neuron(
    architecture, monkeypatch
):
    model = model_of(tiny_model(architecture))
    # Several chunks, so that the best of one must survive the next.
    monkeypatch.setattr(matrices, "CHUNK_BYTES", 8 * 32 * 50)
    (found,) = promoted_tokens(model, [7], k=4)
    block: Any = model.architecture.blocks[-1]
    weight = block.get_submodule(model.architecture.map.mlp_down).weight
    weight = weight.detach().double()
    vector = weight[7] if architecture == "gpt2" else weight[:, 7]
    is_gemma = architecture == "gemma2"
    if is_gemma:
        post = block.post_feedforward_layernorm
        vector = vector * (1 + post.weight.detach().double())
    hf: Any = model.hf
    norm = hf.get_submodule(model.architecture.map.final_norm)
    if architecture == "gpt2":
        vector = vector - vector.mean()
    gain = norm.weight.detach().double() + is_gemma
    logits = hf.get_output_embeddings().weight.detach().double() @ (vector * gain)
    logits = logits - logits.mean()
    for sign, names, weights in (
        (1, found.up, found.up_weights),
        (-1, found.down, found.down_weights),
    ):
        best = (sign * logits).topk(4)
        assert weights == pytest.approx((sign * best.values).tolist(), abs=1e-9)
        assert names == token_words(model.tokenizer, best.indices.tolist())


def test_a_planted_frequency_neuron_raises_the_frequent_tokens():
    hf = planted_model()
    model = model_of(hf)
    (found,) = promoted_tokens(model, [FREQUENCY_NEURON], k=5)
    frequent = unigram_counts(hf).topk(5).indices.tolist()
    assert found.up == token_words(model.tokenizer, frequent)


def test_a_neuron_that_is_not_there_is_refused():
    model = model_of(tiny_model("llama"))
    with pytest.raises(ConfigError, match=r"\[48\]"):
        promoted_tokens(model, [0, 48])
    assert promoted_tokens(model, []) == ()
    assert torch.is_inference_mode_enabled() is False
