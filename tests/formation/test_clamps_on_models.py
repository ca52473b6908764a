"""The lab's clamps on language models, against hooks and edits written by hand."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from hand_built import hand_built
from tiny import tiny_model

import interp
from interp.edits.planting import unedited
from interp.errors import PromptError, ShapeError
from interp.formation import Batch, Clamp, clamped, forward, holding, new_parameters


IDS = torch.tensor([[5, 6, 7, 5, 6, 9, 11], [12, 5, 5, 8, 30, 31, 5]])


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def model(request):
    return interp.load(tiny_model(request.param))


@pytest.fixture(scope="module")
def llama():
    return interp.load(tiny_model("llama"))


def logits(model, ids=IDS):
    with torch.no_grad():
        return model.hf(input_ids=ids, use_cache=False).logits


def seen(model, site, ids=IDS):
    """What a site of the running model holds, by a hook after all others."""
    kept = []
    look = interp.edits.Clamp(site=site, value=lambda x: kept.append(x) or x)
    with interp.edit(model, look):
        logits(model, ids)
    return kept[0].transpose(1, 2) if site.startswith("pattern") else kept[0]


def lagged(length, strength=1.0):
    rows = strength * torch.diag(torch.ones(length - 1), -1)
    rows += (1 - strength) * torch.eye(length)
    rows[0] = torch.eye(length)[0]
    return rows


def test_an_ablated_head_is_one_that_a_hook_silences(model):
    def silence(module, args):
        mixed = args[0].clone()
        mixed[..., 3 * model.d_head :] = 0
        return (mixed, *args[1:])

    point = model.architecture.point("z.1")
    handle = point.module.register_forward_pre_hook(silence)
    by_hook = logits(model)
    handle.remove()
    with interp.clamp(model, {"z.1": (3, 0.0)}):
        by_edit = logits(model)
    free = logits(model)
    with clamped(model, holding.ablate(1, [3])):
        held = logits(model)
    torch.testing.assert_close(held, by_hook, atol=1e-5, rtol=0)
    torch.testing.assert_close(held, by_edit, atol=1e-5, rtol=0)
    assert not torch.allclose(held, free, atol=1e-2)
    assert torch.equal(logits(model), free)


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_a_head_attends_to_the_previous_token(model, strength):
    free = seen(model, "pattern.1")
    (clamp,) = holding.previous_token(1, [2])
    with clamped(model, [replace(clamp, strength=strength)]):
        held = seen(model, "pattern.1")
    wanted = strength * lagged(7) + (1 - strength) * free[:, 2]
    torch.testing.assert_close(held[:, 2], wanted, atol=1e-6, rtol=0)
    others = [0, 1, 3]
    torch.testing.assert_close(held[:, others], free[:, others], atol=1e-6, rtol=0)


def test_the_share_of_the_previous_token_is_that_of_the_preset(llama):
    with clamped(llama, holding.previous_token(0, [0], strength=0.75)):
        held = seen(llama, "pattern.0")
    torch.testing.assert_close(held[:, 0], lagged(7, 0.75).expand(2, 7, 7))


def test_a_held_pattern_is_what_the_head_mixes_values_by(llama):
    values = seen(llama, "v.0")
    with clamped(llama, holding.previous_token(0, [3])):
        mixed = seen(llama, "z.0")
    # Two query heads share each key-value head.
    before = torch.cat([values[:, :1, 1], values[:, :-1, 1]], dim=1)
    torch.testing.assert_close(mixed[:, :, 3], before, atol=1e-6, rtol=0)


@pytest.fixture
def circuit():
    return hand_built(n_tokens=12, n_positions=37)


def accuracy(model):
    """How often the hand-built circuit names the next token of what repeats."""
    generator = torch.Generator().manual_seed(0)
    blocks = torch.stack([torch.randperm(11, generator=generator) for _ in range(6)])
    first = torch.full((6, 1), 11)
    ids = torch.cat([first, blocks, blocks, blocks], dim=1)
    guesses = logits(model, ids)[:, 12:-1].argmax(-1)
    return (guesses == ids[:, 13:]).double().mean().item()


def test_the_hand_built_circuit_lives_on_its_previous_token_head(circuit):
    held = holding.previous_token(0, [0])
    assert accuracy(circuit) == 1
    with clamped(circuit, held):
        assert accuracy(circuit) == 1
    with clamped(circuit, holding.ablate(0, [0])):
        assert accuracy(circuit) < 0.3
    # Without its queries the head looks everywhere; held, it works as before.
    with torch.no_grad():
        circuit.hf.transformer.h[0].attn.c_attn.weight[:, : circuit.d_head] = 0
    assert accuracy(circuit) < 0.3
    with clamped(circuit, held):
        assert accuracy(circuit) == 1


def test_the_hand_built_circuit_works_with_its_matching_held(circuit):
    ids = torch.cat([torch.tensor([11]), torch.arange(9).repeat(2)])[None]
    known = Batch(
        symbols=ids[None],
        targets=torch.full_like(ids, -1)[None],
        periods=torch.tensor([[9]]),
    )
    with clamped(circuit, holding.ablate(0, [0])):
        assert (logits(circuit, ids)[0, 10:-1].argmax(-1) != ids[0, 11:]).any()
    held = (*holding.ablate(0, [0]), *holding.match(1, [0]))
    with clamped(circuit, held, batch=known):
        assert (logits(circuit, ids)[0, 10:-1].argmax(-1) == ids[0, 11:]).all()
        with pytest.raises(PromptError, match="not what the model was run on"):
            logits(circuit, ids + (ids == 3))


def test_clamps_hold_from_their_start_to_their_stop(llama):
    (clamp,) = holding.previous_token(0, [0], start=5, stop=7)
    free = logits(llama)

    def changes(step):
        with clamped(llama, [clamp], step=step):
            return not torch.equal(logits(llama), free)

    assert [changes(step) for step in (4, 5, 6, 7, None)] == [0, 1, 1, 0, 1]


def hooks(model):
    return [
        (len(module._forward_pre_hooks), len(module._forward_hooks))
        for module in model.hf.modules()
    ]


def test_nothing_is_left_behind(model):
    free, before = logits(model), hooks(model)
    attention = model.hf.config._attn_implementation
    clamps = [
        *holding.previous_token(0, [0]),
        Clamp(site="embedding", value=lambda context: 2 * context.value),
        Clamp(site="block.2.mlp.out", value=0.0),
    ]
    with clamped(model, clamps):
        assert not torch.allclose(logits(model), free)
        assert hooks(model) != before
        with unedited(model):
            # Watched patterns are another kernel, equal up to rounding.
            torch.testing.assert_close(logits(model), free)
    assert torch.equal(logits(model), free)
    clamps.append(Clamp(site="block.1.attn.z", index=(0, 9), value=0.0))
    with pytest.raises(ShapeError), clamped(model, clamps):
        logits(model)
    assert torch.equal(logits(model), free)
    assert hooks(model) == before
    assert model.hf.config._attn_implementation == attention


SHAPES = {
    "embedding": ("resid_pre.0", (32,)),
    "block.1.resid_pre": ("resid_pre.1", (32,)),
    "block.1.attn.q": ("q.1", (4, 8)),
    "block.1.attn.k": ("k.1", (2, 8)),
    "block.1.attn.v": ("v.1", (2, 8)),
    "block.1.attn.z": ("z.1", (4, 8)),
    "block.1.attn.out": ("attn_out.1", (32,)),
    "block.1.resid_mid": ("resid_mid.1", (32,)),
    "block.1.mlp.post": ("mlp_post.1", (48,)),
    "block.1.mlp.out": ("mlp_out.1", (32,)),
    "block.1.resid_post": ("resid_post.1", (32,)),
    "logits": ("logits", (320,)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_each_site_holds_its_part_and_nothing_else(llama, name):
    site, inner = SHAPES[name]
    free = seen(llama, site)
    assert free.shape == (2, 7, *inner)
    part = (slice(2, 4), *(n - 1 for n in inner))
    with clamped(llama, [Clamp(site=name, index=part, value=3.0, strength=0.25)]):
        held = seen(llama, site)
    wanted = free.clone()
    at = (slice(None), *part)
    wanted[at] = 0.25 * 3 + 0.75 * free[at]
    torch.testing.assert_close(held, wanted, atol=1e-6, rtol=0)


def test_a_computed_value_sees_tokens_sizes_and_earlier_sites(llama):
    met = []

    def value(context):
        met.append(context)
        assert set(context.sites) == {"embedding", "block.1.attn.z"}
        return context.sites["embedding"] * 2

    clamps = [
        Clamp(site="block.1.attn.z", value=1.0),
        Clamp(site="block.2.resid_pre", value=value),
    ]
    with clamped(llama, clamps, reads=["embedding"]):
        held = seen(llama, "resid_pre.2")
    torch.testing.assert_close(held, 2 * seen(llama, "resid_pre.0"))
    (context,) = met
    assert torch.equal(context.batch.symbols, IDS[None])
    assert (context.config.layers, context.config.heads) == (3, 4)
    assert (context.sites["block.1.attn.z"] == 1).all()


def test_the_embedding_comes_before_the_first_block_in_whatever_order(llama):
    def more(context):
        assert (context.sites["embedding"] == 2).all()
        return context.value + 1

    clamps = [
        Clamp(site="block.0.resid_pre", value=more, replicas=(0,)),
        Clamp(site="embedding", value=2.0),
    ]
    with clamped(llama, clamps):
        assert (seen(llama, "resid_pre.0") == 3).all()


def test_a_value_sees_nothing_of_the_pass_before(llama):
    known = []

    def value(context):
        known.append(set(context.sites))
        return context.value

    with clamped(
        llama, [Clamp(site="block.1.attn.out", value=value)], reads=["embedding"]
    ):
        logits(llama)
        logits(llama)
    assert known == [{"embedding"}] * 2


def test_of_two_clamps_at_a_site_the_later_sees_the_earlier(llama):
    clamps = [
        Clamp(site="block.0.attn.out", value=2.0),
        Clamp(site="block.0.attn.out", value=lambda context: context.value * 3),
    ]
    with clamped(llama, clamps):
        assert (seen(llama, "attn_out.0") == 6).all()


def test_the_lab_computes_what_a_graft_from_it_puts_in_place(llama, network):
    shape = replace(network, d_model=32, layers=1)
    theirs = new_parameters(shape, [0])
    held = holding.graft("block.0.resid_post", theirs, shape)
    small = IDS % 12
    with clamped(llama, held):
        found = seen(llama, "resid_post.0", small)
    batch = Batch(symbols=small[None], targets=small[None])
    wanted = forward(theirs, shape, batch).sites["block.0.resid_post"][0]
    torch.testing.assert_close(found, wanted.detach())


@pytest.mark.parametrize("detach", [False, True])
def test_gradients_flow_through_a_computed_value_unless_detached(llama, detach):
    given = torch.randn(1, 4, 32, generator=torch.Generator().manual_seed(0))
    scale = torch.ones((), requires_grad=True)

    def value(context):
        return scale * context.value

    held = Clamp(site="block.2.resid_post", value=value, detach=detach)
    with (
        clamped(llama, [held]),
        interp.edit(llama, interp.edits.Replace(site="resid_pre.0", values=given)),
    ):
        llama.hf(input_ids=IDS[:1, :4]).logits.square().sum().backward()
    llama.hf.zero_grad()
    assert (scale.grad is None) == detach


def test_a_number_holds_in_padded_batches_and_in_generation(llama):
    prompts = [[5, 6, 7, 8], [9, 10]]
    with clamped(llama, holding.ablate(0, [1])):
        found = interp.capture(llama, prompts, sites=["z.0"], positions="last")["z.0"]
        ids = llama.hf.generate(
            torch.tensor([[5, 6, 7]]), max_new_tokens=4, do_sample=False
        )
        slow = torch.tensor([[5, 6, 7]])
        for _ in range(4):
            guess = logits(llama, slow)[:, -1:].argmax(-1)
            slow = torch.cat([slow, guess], dim=1)
    assert (torch.as_tensor(found)[:, 1] == 0).all()
    assert torch.equal(ids, slow[:, : ids.shape[1]])


def test_the_lab_starts_without_transformers():
    code = "import sys, interp.formation; print('transformers' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
