from typing import Any

import numpy as np
import pytest
import torch
from planted_neurons import (
    ENTROPY_NEURON,
    FREQUENCY_NEURON,
    planted_model,
    planted_prompts,
    unigram_counts,
)
from tiny import tiny_model, tiny_tokenizer
from transformers import AutoConfig, AutoModelForCausalLM

import interp
from interp.edits import clamp
from interp.errors import ConfigError, PromptError, SelfCheckError, ShapeError
from interp.neurons import (
    effects,
    frequency_cosines,
    own_token_counts,
    token_counts,
    unigram_direction,
)


# Every kind of path to the logits: Conv1D, parallel, post-norm with soft cap, post-norm
# alone, layers in the block, a head with bias, one key head, residual inside the MLP.
KINDS = (
    "gpt2",
    "gpt_neox",
    "llama",
    "gemma2",
    "olmo2",
    "opt",
    "phi",
    "falcon",
    "bloom",
)
PROMPTS = [[7, 50, 81, 9, 200, 33, 64], [12, 13, 300, 41], [99, 17, 25, 160, 8]]
NEURONS = [3, 40, 17]


def log_probs(model, ids):
    with torch.no_grad():
        logits = model.hf(input_ids=torch.tensor([ids])).logits[0]
    return logits.double().log_softmax(-1)[1:-1]


def hooked(model, neuron, value):
    """Loss, entropy, KL and arg-max changes from hooked forward passes."""
    rows = [[], [], [], []]
    for ids in PROMPTS:
        clean = log_probs(model, ids)
        with clamp(model, {f"mlp_post.{model.n_layers - 1}": ([neuron], value)}):
            ablated = log_probs(model, ids)
        targets = torch.tensor(ids[2:])[:, None]
        p = clean.exp()
        rows[0].append((clean - ablated).gather(1, targets)[:, 0])
        rows[1].append((p * clean).sum(1) - (ablated.exp() * ablated).sum(1))
        rows[2].append((p * (clean - ablated)).sum(1))
        rows[3].append(clean.argmax(1) != ablated.argmax(1))
    return [torch.cat(parts).numpy() for parts in rows]


@pytest.mark.parametrize("architecture", KINDS)
def test_total_effects_are_those_of_hooked_ablation(architecture):
    model = interp.load(tiny_model(architecture))
    done = effects(model, PROMPTS, NEURONS)
    for place, neuron in enumerate(NEURONS):
        loss, entropy, kl, moved = hooked(model, neuron, float(done.mean[place]))
        assert np.abs(loss).max() > 1e-3
        np.testing.assert_allclose(done.loss_total[place], loss, atol=1e-5)
        np.testing.assert_allclose(done.entropy_total[place], entropy, atol=1e-5)
        np.testing.assert_allclose(done.kl[place], kl, atol=1e-5)
        np.testing.assert_array_equal(done.argmax_changed[place], moved)


def test_the_mean_is_that_of_the_predicting_tokens():
    model = interp.load(tiny_model("llama"))
    done = effects(model, PROMPTS, NEURONS)
    acts = interp.capture(model, PROMPTS, sites="mlp_post.2", positions="all")
    rows = [acts["mlp_post"][i, 0, 1 : len(p) - 1] for i, p in enumerate(PROMPTS)]
    expected = torch.cat(rows)[:, NEURONS].mean(0)
    np.testing.assert_allclose(done.mean, expected, rtol=1e-5)
    assert done.groups.tolist() == [0] * 5 + [1] * 2 + [2] * 3


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_direct_effects_keep_the_scale_of_the_clean_stream(architecture):
    hf: Any = tiny_model(architecture)
    model = interp.load(hf)
    done = effects(model, PROMPTS, NEURONS)
    last = model.n_layers - 1
    paths = model.architecture.map
    norm: Any = hf.get_submodule(str(paths.final_norm))
    block: Any = model.architecture.blocks[-1]
    down = block.get_submodule(str(paths.mlp_down)).weight
    rows = down.T if architecture == "llama" else down
    losses = []
    for ids in PROMPTS:
        sites = [f"resid_post.{last}", f"mlp_post.{last}"]
        acts = interp.capture(model, [ids], sites=sites, positions="all")
        x = acts[f"resid_post.{last}"][0, 1:-1].double()
        a = acts[f"mlp_post.{last}"][0, 1:-1, NEURONS[0]].double()
        moved = x + (float(done.mean[0]) - a)[:, None] * rows[NEURONS[0]].double()
        bias = 0.0
        if architecture == "gpt2":
            x = x - x.mean(-1, keepdim=True)
            moved = moved - moved.mean(-1, keepdim=True)
            bias = norm.bias.double()
        eps = norm.eps if architecture == "gpt2" else norm.variance_epsilon
        scale = (x.square().mean(-1, keepdim=True) + eps).sqrt()
        logits = (moved / scale * norm.weight.double() + bias) @ (
            hf.lm_head.weight.double().T
        )
        targets = torch.tensor(ids[2:])[:, None]
        clean = log_probs(model, ids).gather(1, targets)[:, 0]
        losses.append(clean - logits.log_softmax(-1).gather(1, targets)[:, 0])
    expected = torch.cat(losses).detach().numpy()
    np.testing.assert_allclose(done.loss_direct[0], expected, atol=1e-5)
    assert np.abs(done.loss_total[0] - expected).max() > 1e-3


def test_a_planted_entropy_neuron_changes_confidence_and_nothing_else():
    model = interp.load(planted_model())
    done = effects(model, planted_prompts(), [ENTROPY_NEURON, 3])
    # Its vector is where the head does not read: without the norm it does nothing.
    assert np.abs(done.loss_direct[0]).max() < 1e-6
    assert done.mediated()[0] == pytest.approx(1.0, abs=1e-5)
    assert not done.argmax_changed[0].any()
    assert np.abs(done.entropy_total[0]).mean() > 0.05
    assert done.mediated()[1] < 0.5


def test_a_planted_frequency_neuron_acts_along_the_unigram_direction():
    hf = planted_model()
    model = interp.load(hf)
    direction = unigram_direction(unigram_counts(hf))
    cosine = frequency_cosines(model, direction)
    assert np.abs(cosine).argmax() == FREQUENCY_NEURON
    assert cosine[FREQUENCY_NEURON] == pytest.approx(1.0, abs=1e-3)
    done = effects(model, planted_prompts(), [FREQUENCY_NEURON, 3], unigram=direction)
    # The rest of its effect passes through the norm's scale, as any vector's may.
    assert done.frequency_mediated()[0] > 0.5
    assert done.frequency_mediated()[1] < 0.3


def test_frequency_cosines_equal_whole_matrices():
    hf: Any = tiny_model("llama")
    direction = unigram_direction(torch.arange(320))
    gain = hf.model.norm.weight.detach().double()
    down = hf.model.layers[-1].mlp.down_proj.weight.detach().double()
    logits = (hf.lm_head.weight.detach().double() @ (gain[:, None] * down)).T
    logits = logits - logits.mean(1, keepdim=True)
    expected = torch.cosine_similarity(logits, direction[None], dim=1)
    found = frequency_cosines(interp.load(hf), direction)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_restoring_the_frequency_part_is_a_change_of_logits_along_it():
    model = interp.load(tiny_model("gemma2"))
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(320, generator=generator).double()
    done = effects(model, PROMPTS, NEURONS[:1], unigram=direction)
    unit = direction - direction.mean()
    unit = unit / unit.norm()
    losses = []
    for ids in PROMPTS:
        with torch.no_grad():
            clean = model.hf(input_ids=torch.tensor([ids])).logits[0, 1:-1].double()
            site = f"mlp_post.{model.n_layers - 1}"
            with clamp(model, {site: ([NEURONS[0]], float(done.mean[0]))}):
                moved = model.hf(input_ids=torch.tensor([ids])).logits[0, 1:-1]
        back = moved.double() + ((clean - moved.double()) @ unit)[:, None] * unit
        targets = torch.tensor(ids[2:])[:, None]
        change = clean.log_softmax(-1) - back.log_softmax(-1)
        losses.append(change.gather(1, targets)[:, 0])
    np.testing.assert_allclose(
        done.loss_without_frequency[0], torch.cat(losses), atol=1e-5
    )


def test_tokens_are_counted_in_texts_and_in_what_the_model_writes():
    model = interp.load(tiny_model("llama"), tokenizer=tiny_tokenizer())
    counts = token_counts(model, ["the city", "the Paris"])
    the = model.tokenizer.convert_tokens_to_ids("the")
    # The token in front of every text is the tokenizer's own.
    assert (counts[the], counts[0]) == (2, 0)
    assert token_counts(model, [[5, 6], [7, 6]])[[5, 6, 7]].tolist() == [1, 2, 1]
    own = own_token_counts(model, n_texts=6, n_tokens=5, seed=1)
    assert 0 < int(own.sum()) <= 30
    assert torch.equal(own, own_token_counts(model, n_texts=6, n_tokens=5, seed=1))


def test_a_model_that_scales_what_its_branches_add_is_noticed():
    config = AutoConfig.for_model(
        "granite",
        vocab_size=320,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        residual_multiplier=0.3,
        logits_scaling=2.0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        hf: Any = AutoModelForCausalLM.from_config(config).float()
        for parameter in hf.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.3)
    with pytest.raises(SelfCheckError, match="logits without neuron 3"):
        effects(interp.load(hf), PROMPTS, [3])


def test_what_cannot_be_asked_is_refused_in_words():
    model = interp.load(tiny_model("llama"))
    with pytest.raises(ConfigError, match="There is no neuron 48"):
        effects(model, PROMPTS, [3, 48])
    with pytest.raises(ConfigError, match="No neuron was named"):
        effects(model, PROMPTS, [])
    with pytest.raises(ShapeError, match="has 5 entries"):
        effects(model, PROMPTS, [3], unigram=torch.ones(5))
    with pytest.raises(PromptError, match="more than 2 tokens"):
        effects(model, [[5, 6]], [3])
    with pytest.raises(ShapeError, match="No token was counted"):
        unigram_direction(torch.zeros(4, dtype=torch.long))
    with pytest.raises(ConfigError, match="smoothing is 0"):
        unigram_direction(torch.ones(4, dtype=torch.long), smoothing=0.0)
