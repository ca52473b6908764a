"""Controls that need a model, against Hugging Face itself."""

import numpy as np
import pytest
import torch
from tiny import tiny_model, tiny_tokenizer
from transformers import AutoModelForCausalLM

import interp
from interp.errors import PromptError, UnsupportedModelError
from probes.model_controls import text_log_probability, untrained_like


TEXTS = ["the city of Paris", "Paris is in the city", "is", "the the of not Paris and"]


@pytest.fixture(scope="module", params=["gpt2", "gpt_neox", "llama", "gemma2", "qwen3"])
def model(request):
    return interp.load(tiny_model(request.param), tokenizer=tiny_tokenizer())


def test_the_log_probability_is_hugging_faces_own_loss(model):
    sums = text_log_probability(model, TEXTS)
    means = text_log_probability(model, TEXTS, per_token=True)
    for text, total, mean in zip(TEXTS, sums, means, strict=True):
        ids = torch.tensor([model.tokenize([text]).ids[0]])
        if ids.shape[1] == 1:
            assert total == mean == 0
            continue
        with torch.no_grad():
            loss = float(model.hf(input_ids=ids, labels=ids).loss)
        assert mean == pytest.approx(-loss, abs=2e-5)
        assert total == pytest.approx(-loss * (ids.shape[1] - 1), abs=1e-4)


def test_batches_do_not_change_the_log_probability(model, monkeypatch):
    whole = text_log_probability(model, TEXTS)
    monkeypatch.setattr("probes.model_controls.BYTES_OF_LOGITS", 1)
    np.testing.assert_allclose(text_log_probability(model, TEXTS), whole, atol=1e-4)


def test_an_empty_prompt_is_refused(model):
    with pytest.raises(PromptError, match="has no token"):
        text_log_probability(model, [[]])


def test_an_untrained_model_has_the_shape_and_nothing_else(model):
    state = torch.random.get_rng_state()
    fresh, again = untrained_like(model, seed=3), untrained_like(model, seed=3)
    other = untrained_like(model, seed=4)
    assert torch.equal(torch.random.get_rng_state(), state)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        wanted = AutoModelForCausalLM.from_config(model.hf.config).state_dict()
    changed = []
    for name, value in model.hf.state_dict().items():
        drawn = fresh.hf.state_dict()[name]
        assert drawn.shape == value.shape
        assert drawn.dtype == value.dtype
        assert torch.equal(drawn, wanted[name])
        assert torch.equal(drawn, again.hf.state_dict()[name])
        if value.dim() == 2 and name.endswith("weight"):
            changed.append(not torch.equal(drawn, other.hf.state_dict()[name]))
            assert not torch.equal(drawn, value)
    assert all(changed)
    assert fresh.hf is not model.hf
    assert not fresh.hf.training
    acts = interp.capture(fresh, TEXTS[:2], sites="resid_post.*")
    assert acts["resid_post"].shape[1] == model.n_layers


def test_a_class_that_wants_more_than_a_config_is_refused(model):
    class Awkward(type(model.hf)):
        def __init__(self, config, more):
            super().__init__(config)

    awkward = Awkward(model.hf.config, None)
    with pytest.raises(UnsupportedModelError, match="cannot be made from its config"):
        untrained_like(interp.load(awkward))
