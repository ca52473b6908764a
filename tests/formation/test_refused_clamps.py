"""Clamps that a language model cannot hold are refused in one line."""

import pytest
import torch
from tiny import tiny_model

import interp
from interp.errors import (
    ConfigError,
    MissingSiteError,
    PromptError,
    ShapeError,
    UnknownSiteError,
)
from interp.formation import Clamp, clamped, holding


IDS = torch.tensor([[5, 6, 7, 5, 6, 9, 11], [12, 5, 5, 8, 30, 31, 5]])


@pytest.fixture(scope="module")
def llama():
    return interp.load(tiny_model("llama"))


def logits(model):
    with torch.no_grad():
        return model.hf(input_ids=IDS, use_cache=False).logits


def test_what_means_positions_is_refused_where_slots_are_none(llama):
    padded = torch.ones_like(IDS)
    padded[1, :2] = 0
    first = Clamp(site="block.0.attn.z", index=(0,), value=0.0)
    for clamp in (*holding.previous_token(0, [0]), first):
        with clamped(llama, [clamp]):
            with pytest.raises(PromptError, match="forward is padded"):
                llama.hf(input_ids=IDS, attention_mask=padded)
            with pytest.raises(PromptError, match="reads a piece"):
                llama.hf.generate(IDS[:1], max_new_tokens=3, do_sample=False)
    with (
        clamped(llama, holding.previous_token(0, [0])),
        pytest.raises(PromptError, match="run on embeddings"),
    ):
        llama.hf(inputs_embeds=torch.ones(1, 3, 32))


@pytest.mark.parametrize(
    ("clamp", "error", "words"),
    [
        (Clamp(site="block.0.attn.patern", value=0.0), UnknownSiteError, "Did you"),
        (Clamp(site="block.3.attn.z", value=0.0), UnknownSiteError, "i from 0 to 2"),
        (Clamp(site="z.0", value=0.0), UnknownSiteError, "There is no site 'z.0'"),
        (holding.no_previous_token(0, [0])[0], MissingSiteError, "attn.pattern"),
        (
            holding.perfect_previous_token_input(1)[1],
            MissingSiteError,
            "Hold 'block.1.attn.q' instead",
        ),
        (holding.ablate(0, [0], replicas=(2,))[0], ConfigError, "is one replica"),
    ],
)
def test_what_a_model_does_not_have_is_one_line(llama, clamp, error, words):
    with pytest.raises(error) as caught, clamped(llama, [clamp]):
        pass
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("clamps", "error", "words"),
    [
        (holding.ablate(0, [9]), ShapeError, "does not fit"),
        (holding.preserve("v", [1]), ConfigError, "sites="),
        (holding.match(1, [0]), ConfigError, "knows where its answers are"),
        (holding.copy(1, 0), UnknownSiteError, "reads="),
    ],
)
def test_what_cannot_be_computed_on_a_model_is_one_line(llama, clamps, error, words):
    with clamped(llama, clamps), pytest.raises(error) as caught:
        logits(llama)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("architecture", ["bloom", "falcon"])
def test_patterns_that_cannot_be_edited_say_so(architecture):
    model = interp.load(tiny_model(architecture))
    free = logits(model)
    words = "can be read but not edited"
    with (
        pytest.raises(MissingSiteError, match=words),
        clamped(model, holding.previous_token(0, [0])),
    ):
        pass
    with clamped(model, holding.ablate(1, [2])):
        held = logits(model)
    with interp.clamp(model, {"z.1": (2, 0.0)}):
        torch.testing.assert_close(held, logits(model), atol=1e-5, rtol=0)
    assert not torch.allclose(held, free, atol=1e-3)
    assert torch.equal(logits(model), free)
