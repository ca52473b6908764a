from dataclasses import replace

import pytest
import torch

from interp.errors import ConfigError, ShapeError, UnknownSiteError
from interp.formation import (
    Clamp,
    NetworkConfig,
    few_shot_labels,
    forward,
    holding,
    losses,
    new_parameters,
)


FEW = NetworkConfig(
    symbols=5, outputs=5, d_item=16, heads=4, d_model=16, symbol_std=0.5
)


def generators(count):
    return [torch.Generator().manual_seed(i) for i in range(count)]


@pytest.fixture
def few_shot():
    return few_shot_labels(d_item=16).train.sample(generators(2), 6)


@pytest.fixture
def few_parameters():
    return new_parameters(FEW, [0, 1])


def test_a_clamp_holds_its_part_and_nothing_else(network, repeats):
    batch = repeats.sample(generators(2), 3)
    parameters = new_parameters(network, [0, 1])
    held = Clamp(site="block.0.attn.z", index=(2, 1), value=3.0, replicas=(1,))
    free = forward(parameters, network, batch).sites["block.0.attn.z"]
    run = forward(parameters, network, batch, clamps=[held])
    z = run.sites["block.0.attn.z"]
    assert (z[1, :, 2, 1] == 3).all()
    z = z.clone()
    z[1, :, 2, 1] = free[1, :, 2, 1]
    assert torch.equal(z, free)


def test_a_clamp_leaves_other_replicas_alone(network, repeats):
    batch = repeats.sample(generators(2), 3)
    parameters = new_parameters(network, [0, 1])
    held = holding.ablate(0, [0, 1], replicas=(1,))
    free = forward(parameters, network, batch).logits
    logits = forward(parameters, network, batch, clamps=held).logits
    assert torch.equal(logits[0], free[0])
    assert not torch.allclose(logits[1], free[1])


def test_strength_mixes_the_value_with_what_was_computed(network, repeats):
    batch = repeats.sample(generators(1), 3)
    parameters = new_parameters(network, [0])
    held = Clamp(site="embedding", value=2.0, strength=0.25)
    free = forward(parameters, network, batch).sites["embedding"]
    mixed = forward(parameters, network, batch, clamps=[held]).sites["embedding"]
    torch.testing.assert_close(mixed, 0.25 * 2 + 0.75 * free)


def test_a_clamp_holds_from_its_start_until_its_stop(network, repeats):
    batch = repeats.sample(generators(1), 3)
    parameters = new_parameters(network, [0])
    held = Clamp(site="embedding", value=0.0, start=5, stop=7)

    def holds(step):
        run = forward(parameters, network, batch, clamps=[held], step=step)
        return bool((run.sites["embedding"] == 0).all())

    assert [holds(step) for step in (4, 5, 6, 7, None)] == [0, 1, 1, 0, 1]


@pytest.mark.parametrize("detach", [True, False])
def test_gradients_flow_through_a_computed_value_unless_detached(
    network, repeats, detach
):
    batch = repeats.sample(generators(1), 3)
    parameters = new_parameters(network, [0])
    matrix = parameters["block.0.attn.w_v"].requires_grad_()
    # The first layer is read through the clamp alone.
    held = Clamp(
        site="block.1.resid_pre",
        value=lambda context: context.sites["block.0.attn.out"],
        detach=detach,
    )
    run = forward(parameters, network, batch, clamps=[held])
    (gradient,) = torch.autograd.grad(
        losses(run.logits, batch).sum() + 0 * matrix.sum(), matrix
    )
    assert bool(gradient.any()) is not detach


def test_nothing_flows_into_what_a_clamp_replaced(network, repeats):
    batch = repeats.sample(generators(1), 3)
    parameters = new_parameters(network, [0])
    matrix = parameters["block.0.attn.w_q"].requires_grad_()
    held = holding.previous_token(0, [0])
    run = forward(parameters, network, batch, clamps=held)
    (gradient,) = torch.autograd.grad(losses(run.logits, batch).sum(), matrix)
    width = network.width
    assert not gradient[..., :width].any()
    assert gradient[..., width:].any()


def test_previous_token_heads_attend_one_back(network, repeats):
    batch = repeats.sample(generators(1), 3)
    held = holding.previous_token(0, [1], strength=0.75)
    run = forward(new_parameters(network, [0]), network, batch, clamps=held)
    pattern = run.sites["block.0.attn.pattern"][0, 0, 1]
    assert pattern.diagonal(-1).unique().tolist() == [0.75]
    torch.testing.assert_close(pattern.sum(-1), torch.ones(len(pattern)))


def test_heads_without_a_previous_token_never_look_there(network, repeats):
    batch = repeats.sample(generators(1), 3)
    held = holding.no_previous_token(0, [1])
    run = forward(new_parameters(network, [0]), network, batch, clamps=held)
    pattern = run.sites["block.0.attn.pattern"][0, 0]
    assert pattern[1].diagonal(-1).max() == 0
    assert pattern[0].diagonal(-1).min() > 0


def test_matching_heads_look_where_the_answer_stands_on_repeats(network, repeats):
    batch = repeats.sample(generators(1), 5)
    held = holding.match(1, [0])
    run = forward(new_parameters(network, [0]), network, batch, clamps=held)
    pattern = run.sites["block.1.attn.pattern"][0, :, 0]
    for example, tokens in enumerate(batch.symbols[0].tolist()):
        for query, token in enumerate(tokens):
            places = [k for k in range(1, query + 1) if tokens[k - 1] == token]
            if places:
                at = pattern[example, query, places]
                torch.testing.assert_close(at.sum(), torch.tensor(1.0))
                # Where they look stands the next token.
                assert {tokens[k] for k in places} == {
                    int(batch.targets[0, example, query])
                }


def test_matching_heads_look_at_the_right_label(few_shot, few_parameters):
    held = holding.match(1, [2], strength=0.9)
    run = forward(few_parameters, FEW, few_shot, clamps=held)
    row = run.sites["block.1.attn.pattern"][:, :, 2, -1]
    right = row.gather(-1, few_shot.answers[..., None])
    torch.testing.assert_close(right, torch.full_like(right, 0.9))
    torch.testing.assert_close(row[..., 1] + row[..., 3], torch.ones(2, 6))


def test_matching_by_likeness_finds_the_same_item(few_shot, few_parameters):
    held = holding.match_by_likeness(1, [2], temperature=0.02)
    run = forward(few_parameters, FEW, few_shot, clamps=held)
    row = run.sites["block.1.attn.pattern"][:, :, 2, -1]
    assert torch.equal(row.argmax(dim=-1), few_shot.answers)


def test_copying_answers_what_the_head_attends_to(few_shot, few_parameters):
    run = forward(few_parameters, FEW, few_shot, clamps=holding.copy(1, 2))
    scores = run.sites["block.1.attn.scores"][:, :, 2, -1, 1::2]
    labels = few_shot.symbols[..., 1::2]
    shares = run.logits[:, :, -1].softmax(dim=-1).gather(-1, labels)
    torch.testing.assert_close(shares, scores.softmax(dim=-1))


def test_a_perfect_input_holds_the_item_at_its_label(few_shot, few_parameters):
    held = holding.perfect_previous_token_input(1)
    sites = forward(few_parameters, FEW, few_shot, clamps=held).sites
    embedding, keys = sites["embedding"], sites["block.1.attn.k_input"]
    for place in (1, 3):
        assert torch.equal(keys[:, :, place], embedding[:, :, place - 1])
    assert torch.equal(keys[:, :, 4], embedding[:, :, 4])
    assert torch.equal(sites["block.1.attn.v_input"], embedding)


def test_perfect_inputs_and_perfect_copying_leave_matching_alone(few_shot):
    # Queries and keys that read the item as it is, so that it is most like itself.
    config = replace(FEW, heads=1, positions="none")
    parameters = new_parameters(config, [0, 1])
    for part in "qk":
        parameters[f"block.1.attn.w_{part}"] = torch.eye(16).repeat(2, 1, 1)
    held = (*holding.perfect_previous_token_input(1), *holding.copy(1, 0))
    run = forward(parameters, config, few_shot, clamps=held)
    right = run.logits[:, :, -1].argmax(-1) == few_shot.targets[..., -1]
    assert right.all()
    bare = forward(parameters, config, few_shot, clamps=holding.copy(1, 0))
    right = bare.logits[:, :, -1].argmax(-1) == few_shot.targets[..., -1]
    assert not right.all()


@pytest.mark.parametrize("recorded", [True, False])
def test_preserving_all_routes_makes_an_ablation_below_harmless(
    few_shot, few_parameters, recorded
):
    clean = forward(few_parameters, FEW, few_shot)
    sites = clean.sites if recorded else None
    ablated = holding.ablate(0, range(4))
    kept = (
        *holding.preserve("pattern", [1], sites=sites),
        *holding.preserve("v", [1], sites=sites),
    )
    run = forward(few_parameters, FEW, few_shot, clamps=(*ablated, *kept))
    # What is left is the direct path of the ablated heads to the logits.
    name = "block.1.attn.out"
    torch.testing.assert_close(run.sites[name], clean.sites[name])
    bare = forward(few_parameters, FEW, few_shot, clamps=ablated)
    assert not torch.allclose(bare.sites[name], clean.sites[name])


def test_a_graft_of_everything_is_the_other_network(few_shot, few_parameters):
    other = new_parameters(FEW, [7, 8])
    held = holding.graft("block.1.resid_post", other)
    run = forward(few_parameters, FEW, few_shot, clamps=held)
    theirs = forward(other, FEW, few_shot)
    name = "block.1.resid_post"
    assert torch.equal(run.sites[name], theirs.sites[name])
    first = holding.graft("block.0.resid_post", few_parameters)
    same = forward(few_parameters, FEW, few_shot, clamps=first)
    assert torch.equal(same.logits, forward(few_parameters, FEW, few_shot).logits)


def test_a_site_that_is_not_there_is_named(network, repeats):
    batch = repeats.sample(generators(1), 2)
    held = [Clamp(site="block.0.attn.patern", value=0.0)]
    with pytest.raises(UnknownSiteError, match=r"Did you mean 'block\.0\.attn"):
        forward(new_parameters(network, [0]), network, batch, clamps=held)


@pytest.mark.parametrize(
    "wrong", [{"value": torch.zeros(3)}, {"value": 0.0, "index": (99,)}]
)
def test_a_clamp_that_does_not_fit_says_so(network, repeats, wrong):
    batch = repeats.sample(generators(1), 2)
    held = [Clamp(site="block.0.attn.z", **wrong)]
    with pytest.raises(ShapeError, match="does not fit"):
        forward(new_parameters(network, [0]), network, batch, clamps=held)


@pytest.mark.parametrize("wrong", [{"strength": 1.5}, {"start": 4, "stop": 4}])
def test_a_clamp_out_of_range_is_refused(wrong):
    with pytest.raises(ConfigError):
        Clamp(site="embedding", value=0.0, **wrong)
