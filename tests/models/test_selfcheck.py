"""The self-check passes where it should and fails where a belief is wrong."""

import pytest
import torch
from tiny import ARCHITECTURES, tiny_model
from transformers import AutoModelForCausalLM, GraniteConfig

from interp.models.language_model import LanguageModel
from interp.models.selfcheck import check, writes_add_up


def failed(result):
    return {c.name for c in result.checks if not c.passed}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_tiny_architecture_passes(name):
    result = check(LanguageModel(hf=tiny_model(name), name=name))
    assert failed(result) == set()
    assert {"sum of writes", "causality", "editing"} <= {c.name for c in result.checks}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_passes_with_its_own_tolerance(dtype):
    hf = tiny_model("llama").to(dtype)
    assert failed(check(LanguageModel(hf=hf))) == set()


def test_scaled_residuals_fail_the_sum_of_writes():
    config = GraniteConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=320,
        residual_multiplier=0.2,
    )
    torch.manual_seed(0)
    model = LanguageModel(hf=AutoModelForCausalLM.from_config(config).eval())
    assert not writes_add_up(model).passed
    assert "sum of writes" in failed(check(model))


def test_a_bidirectional_model_fails_causality(monkeypatch):
    hf = tiny_model("gpt2")
    for layer in range(3):
        attention = hf.get_submodule(f"transformer.h.{layer}.attn")
        original = attention.forward

        def leaky(hidden_states, *args, original=original, **kwargs):
            mixed = hidden_states + hidden_states.mean(1, keepdim=True)
            return original(mixed, *args, **kwargs)

        monkeypatch.setattr(attention, "forward", leaky)
    assert "causality" in failed(check(LanguageModel(hf=hf)))


def test_the_check_leaves_the_model_as_it_was():
    hf = tiny_model("gemma2")
    ids = torch.arange(3, 12)[None]
    with torch.no_grad():
        before = hf(input_ids=ids).logits
        implementation = hf.config._attn_implementation
        check(LanguageModel(hf=hf))
        after = hf(input_ids=ids).logits
    assert torch.equal(before, after)
    assert hf.config._attn_implementation == implementation
