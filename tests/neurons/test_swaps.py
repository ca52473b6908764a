import numpy as np
import pytest
import torch
from tiny import tiny_model

import interp
from interp.errors import ConfigError, IncompatibleError, UnsupportedModelError
from interp.neurons import distance_moved, matched_controls, swapped_neurons


IDS = torch.tensor([[7, 50, 81, 9, 200]])
# Conv1D, gated, layers in the block, biases, a post-norm.
KINDS = ("gpt2", "llama", "opt", "gpt_neox", "gemma2", "falcon")


def logits(hf):
    with torch.no_grad():
        return hf(input_ids=IDS).logits


@pytest.mark.parametrize("architecture", KINDS)
def test_swapping_all_neurons_is_swapping_the_last_mlp(architecture):
    base, post = (tiny_model(architecture, seed) for seed in (0, 1))
    whole = tiny_model(architecture, 0)
    model, donor = interp.load(base), interp.load(post)
    paths = model.architecture.map
    inside = f"{paths.blocks}.{model.n_layers - 1}.{paths.mlp or 'fc'}"
    down = f"{paths.blocks}.{model.n_layers - 1}.{paths.mlp_down}.bias"
    donated = post.state_dict()
    state = {
        name: donated[name] if name.startswith(inside) and name != down else value
        for name, value in whole.state_dict().items()
    }
    whole.load_state_dict(state)
    before = logits(base)
    with swapped_neurons(model, donor, range(width_of(model))):
        torch.testing.assert_close(logits(base), logits(whole))
    assert not torch.allclose(logits(whole), before)
    assert torch.equal(logits(base), before)


def width_of(model):
    acts = interp.capture(model, IDS.tolist(), sites=f"mlp_post.{model.n_layers - 1}")
    return acts["mlp_post"].shape[-1]


def test_one_neuron_is_swapped_whole_and_the_others_stay():
    base, post = (tiny_model("llama", seed) for seed in (0, 1))
    model, donor = interp.load(base), interp.load(post)
    mlp, other = base.model.layers[-1].mlp, post.model.layers[-1].mlp
    before = {name: value.clone() for name, value in mlp.state_dict().items()}
    held = dict(mlp.named_parameters())
    with swapped_neurons(model, donor, [7]):
        for name, value in mlp.state_dict().items():
            axis = 1 if name.startswith("down") else 0
            given = other.state_dict()[name]
            moved = (value != before[name]).any(1 - axis)
            assert moved.nonzero().flatten().tolist() == [7]
            assert torch.equal(value.select(axis, 7), given.select(axis, 7))
    for name, value in mlp.named_parameters():
        assert value is held[name]
        assert torch.equal(value, before[name])


def test_an_exception_leaves_the_model_as_it_was():
    base, post = (tiny_model("gpt2", seed) for seed in (0, 1))
    before = logits(base)
    with (
        pytest.raises(ZeroDivisionError),
        swapped_neurons(interp.load(base), interp.load(post), [0, 1]),
    ):
        raise ZeroDivisionError
    assert torch.equal(logits(base), before)


def test_what_does_not_fit_is_refused():
    model = interp.load(tiny_model("llama"))
    wide = interp.load(tiny_model("llama", intermediate_size=64))
    with (
        pytest.raises(IncompatibleError, match="d_mlp"),
        swapped_neurons(model, wide, [1]),
    ):
        pass
    with (
        pytest.raises(ConfigError, match="There is no neuron 48"),
        swapped_neurons(model, model, [48]),
    ):
        pass
    experts = interp.load(tiny_model("mixtral"))
    with (
        pytest.raises(UnsupportedModelError, match="experts"),
        swapped_neurons(experts, experts, [1]),
    ):
        pass


def test_distances_are_relative_lengths():
    base, post = (tiny_model("llama", 0) for _ in range(2))
    with torch.no_grad():
        post.model.norm.weight *= 1.1
        for parameter in post.model.layers[-1].mlp.parameters():
            parameter *= 0.7
    found = distance_moved(interp.load(base), interp.load(post))
    assert found == pytest.approx((0.3, 0.1), rel=1e-5)


def test_controls_are_others_of_about_the_same_norm():
    rng = np.random.default_rng(0)
    norm = rng.uniform(1, 5, size=400)
    chosen = np.argsort(-norm)[20:30]
    draws = matched_controls(norm, chosen, draws=50, seed=0)
    assert draws.shape == (50, 10)
    for draw in draws:
        assert len(set(draw.tolist())) == 10
        assert not set(draw.tolist()) & set(chosen.tolist())
        assert np.abs(norm[draw] - norm[chosen]).max() < 0.3
    assert len({tuple(draw.tolist()) for draw in draws}) > 40
    again = matched_controls(norm, chosen, draws=50, seed=0)
    np.testing.assert_array_equal(draws, again)
    with pytest.raises(ConfigError, match="3 of 4 neurons are chosen"):
        matched_controls(norm[:4], np.arange(3), draws=1, seed=0)
