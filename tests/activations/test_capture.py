from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from activations.oracle import (
    PROMPTS,
    TOLERANCE,
    TokenCount,
    assert_close,
    final,
    hook_count,
    load,
    residuals,
)
from tiny import ARCHITECTURES

import interp
from interp.activations import batching, rows
from interp.errors import (
    ConfigError,
    MissingSiteError,
    PromptError,
    ShapeError,
    UnknownSiteError,
)
from interp.models.attention import IMPLEMENTATION
from interp.progress import using


@pytest.fixture(scope="module")
def model():
    return load("llama")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_ragged_batches_equal_one_prompt_at_a_time(architecture, monkeypatch):
    monkeypatch.setattr(batching, "FREE_PADDING", 1000)
    model = load(architecture)
    ids = model.tokenize(PROMPTS).ids
    count = TokenCount(model)
    every = interp.capture(model, PROMPTS, positions="all", token_budget=200)
    # One batch: the shortest prompt is padded beyond the sliding windows of 8 tokens.
    assert count.passes == [(len(ids), max(map(len, ids)))]
    assert min(map(len, ids)) + 8 < max(map(len, ids))
    last = interp.capture(
        model,
        PROMPTS,
        sites=["resid_post.*", "final_norm", "logits"],
        token_budget=200,
    )
    mean = interp.capture(model, PROMPTS, positions="mean", token_budget=200)
    for i, row in enumerate(ids):
        wanted = residuals(model, row)
        assert_close(every["resid_post"][i, :-1, : len(row)], wanted)
        assert_close(last["resid_post"][i, :-1], wanted[:, -1])
        assert_close(mean["resid_post"][i, :-1], wanted.mean(1))
        norm, logits = final(model, row)
        assert_close(last["final_norm"][i], norm[-1])
        assert_close(last["logits"][i], logits[-1])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_batch_changes_no_value_at_any_site(architecture, monkeypatch):
    monkeypatch.setattr(batching, "FREE_PADDING", 1000)
    model = load(architecture)
    sites = model.architecture.sites
    together = interp.capture(model, PROMPTS, sites=sites, positions="all")
    for i, prompt in enumerate(PROMPTS[:3]):
        alone = interp.capture(model, [prompt], sites=sites, positions="all")
        n = alone.lengths[0]
        for site in sites:
            found = together[site][i, :n]
            if site.component == "pattern":
                assert not found[..., n:].any()
                found = found[..., :n]
            assert_close(found, alone[site][0])


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gemma2", "bloom"])
def test_patterns_equal_those_of_eager_attention(architecture):
    model = load(architecture)
    acts = interp.capture(model, PROMPTS, sites="pattern.*", positions="last")
    model.hf.set_attn_implementation("eager")
    for i, row in enumerate(model.tokenize(PROMPTS).ids):
        with torch.no_grad():
            out = model.hf(torch.tensor([row]), output_attentions=True)
        wanted = torch.stack(out.attentions)[:, 0, :, -1]
        assert_close(acts["pattern"][i, :, :, : len(row)], wanted)
        assert not acts["pattern"][i, :, :, len(row) :].any()


def test_attention_is_as_before_after_patterns_were_captured(model):
    before = model.hf.config._attn_implementation
    interp.capture(model, PROMPTS, sites="pattern.*")
    assert model.hf.config._attn_implementation == before != IMPLEMENTATION


def test_rows_come_back_in_the_order_of_the_prompts(model):
    forwards = interp.capture(model, PROMPTS, token_budget=20)
    backwards = interp.capture(model, PROMPTS[::-1], token_budget=40)
    assert_close(forwards["resid_post"], backwards["resid_post"].flip(0))


def test_the_model_is_left_as_it_was(model):
    ids = torch.tensor([model.tokenize(PROMPTS[0]).ids[0]])
    with torch.no_grad():
        before = model.hf(ids).logits
    interp.capture(model, PROMPTS, sites=model.architecture.sites, positions="all")
    with torch.no_grad():
        assert torch.equal(model.hf(ids).logits, before)
    assert hook_count(model) == 0


def test_the_forward_pass_ends_after_the_last_site():
    model = load("llama")
    reached = []
    for number, block in enumerate(model.architecture.blocks):
        mlp = block.get_submodule("mlp")
        mlp.register_forward_hook(lambda *_, n=number: reached.append(n))
    interp.capture(model, PROMPTS[:1], sites=["resid_post.0", "z.1"])
    # The second block runs to its z only, and the third not at all.
    assert reached == [0]


def test_the_head_runs_for_the_captured_positions_only():
    model = load("llama")
    shapes = []
    head = model.hf.lm_head
    forward = head.forward
    head.forward = lambda x: shapes.append(x.shape) or forward(x)
    interp.capture(model, PROMPTS, sites="resid_post.*")
    assert shapes == []
    interp.capture(model, PROMPTS[:1], sites="logits")
    assert [shape[1] for shape in shapes] == [1]


def test_edits_are_seen():
    model = load("llama")
    vector = torch.randn(32, generator=torch.Generator().manual_seed(0))
    plain = interp.capture(model, PROMPTS, sites="resid_post.1")
    with interp.steer(model, vector, site="resid_post.1", strength=2.0):
        steered = interp.capture(model, PROMPTS, sites="resid_post.1")
    assert_close(steered["resid_post.1"], plain["resid_post.1"] + 2.0 * vector)


def test_an_edit_of_each_prompt_meets_its_own_prompt():
    model = load("llama")
    values = torch.randn(len(PROMPTS), 32, generator=torch.Generator().manual_seed(0))
    with interp.patch(model, {"resid_post.1": ("last", values)}):
        acts = interp.capture(model, PROMPTS, sites="resid_post.1", token_budget=30)
    assert_close(acts["resid_post.1"], values)


def test_two_threads_do_not_see_each_other():
    model = load("llama")
    parts = [PROMPTS[:2], PROMPTS[2:]] * 4
    alone = [interp.capture(model, part)["resid_post"] for part in parts]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda part: interp.capture(model, part), parts))
    for wanted, found in zip(alone, together, strict=True):
        assert torch.equal(found["resid_post"], wanted)
    assert hook_count(model) == 0


def test_no_hook_remains_after_an_exception(model):
    def explode(description, total, unit):
        raise KeyboardInterrupt

    class Exploding:
        def advance(self, amount=1, note=""):
            raise KeyboardInterrupt

        def close(self):
            pass

    for display in (explode, lambda *_: Exploding()):
        with using(display), pytest.raises(KeyboardInterrupt):
            interp.capture(model, PROMPTS, sites=["resid_mid.*", "pattern.*", "logits"])
        assert hook_count(model) == 0
        assert model.hf.config._attn_implementation != IMPLEMENTATION


def test_progress_counts_every_prompt(model):
    seen = []

    class Counting:
        def advance(self, amount=1, note=""):
            seen.append(amount)

        def close(self):
            seen.append("closed")

    with using(lambda *what: seen.append(what) or Counting()):
        interp.capture(model, PROMPTS, token_budget=30)
    assert seen[0] == ("capture", len(PROMPTS), "prompts")
    assert sum(seen[1:-1]) == len(PROMPTS)
    assert seen[-1] == "closed"


def test_rows_do_not_share_memory_with_the_activations(model):
    acts = interp.capture(model, PROMPTS, sites="resid_post.*", positions="last")
    stored = acts["resid_post"].untyped_storage().nbytes()
    assert stored == len(PROMPTS) * 3 * 32 * 4


def test_rows_can_be_used_in_training(model):
    rows = interp.capture(model, PROMPTS)["resid_post.1"]
    weight = torch.zeros(32, requires_grad=True)
    (rows @ weight).sum().backward()
    assert weight.grad is not None
    assert_close(weight.grad, rows.sum(0))


def test_rows_are_kept_in_the_dtype_that_was_asked_for(model):
    full = interp.capture(model, PROMPTS)["resid_post"]
    half = interp.capture(model, PROMPTS, dtype="bfloat16")["resid_post"]
    assert full.dtype == torch.float32
    assert half.dtype == torch.bfloat16
    assert torch.equal(half, full.to(torch.bfloat16))


def test_a_component_whose_layers_differ_in_shape_is_not_stacked():
    model = load("llama")
    # The last block's MLP is made twice as wide.
    with torch.no_grad():
        mlp = model.hf.model.layers[2].mlp
        for name in ("gate_proj", "up_proj"):
            weight = getattr(mlp, name).weight
            getattr(mlp, name).weight = torch.nn.Parameter(torch.cat([weight, weight]))
        down = mlp.down_proj.weight
        mlp.down_proj.weight = torch.nn.Parameter(torch.cat([down, down], dim=1) / 2)
    acts = interp.capture(model, PROMPTS, sites="mlp_post.*", positions=-1)
    assert acts["mlp_post.0"].shape == (5, 48)
    assert acts["mlp_post.2"].shape == (5, 96)
    alone = interp.capture(model, PROMPTS, sites="mlp_post.0")
    assert_close(acts["mlp_post.0"], alone["mlp_post.0"])
    with pytest.raises(ShapeError, match=r"differ in shape.*mlp_post.0"):
        acts["mlp_post"]


def test_sites_without_a_layer_have_no_layer_axis(model):
    acts = interp.capture(model, PROMPTS, sites=["embed", "final_norm", "logits"])
    assert acts["embed"].shape == acts["final_norm"].shape == (5, 32)
    assert acts["logits"].shape == (5, 320)


def test_one_text_stands_for_a_list_of_one(model):
    one = interp.capture(model, PROMPTS[0])
    assert len(one) == 1
    assert_close(one["resid_post"], interp.capture(model, PROMPTS[:1])["resid_post"])


def test_token_ids_do_without_a_tokenizer():
    model = load("llama", tokenizer=False)
    acts = interp.capture(model, [[5, 6, 7], [8]])
    assert acts.tokens(0) == ("<7>",)
    assert_close(acts["resid_post"][0, :-1], residuals(model, [5, 6, 7])[:, -1])


def test_half_precision_models_are_captured_in_their_dtype():
    model = load("llama")
    model.hf.to(torch.bfloat16)
    acts = interp.capture(model, PROMPTS, positions="mean", dtype="float32")
    for i, row in enumerate(model.tokenize(PROMPTS).ids):
        wanted = residuals(model, row).float().mean(1)
        # bfloat16 keeps 8 bits; batches of other sizes round elsewhere.
        torch.testing.assert_close(acts["resid_post"][i, :-1], wanted, rtol=0, atol=0.2)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"prompts": []}, PromptError, "no prompt"),
        ({"prompts": [[]]}, PromptError, "Prompt 0 has no token"),
        ({"prompts": [[1] * 129]}, PromptError, "129 tokens.*at most 128.*Shorten"),
        ({"sites": "resid_pst.*"}, UnknownSiteError, "resid_pst.*resid_post"),
        ({"sites": "resid_post.3"}, UnknownSiteError, "3 layers, 0 to 2"),
        ({"sites": "router.*"}, MissingSiteError, "router"),
        ({"sites": []}, UnknownSiteError, "No site"),
        ({"dtype": "int8"}, ConfigError, "int8.*floating-point"),
        ({"dtype": "flaot32"}, ConfigError, "flaot32"),
        ({"device": "cuda:99"}, ConfigError, "cuda:99.*device='cpu'"),
        ({"token_budget": 0}, ConfigError, "token_budget is 0"),
    ],
)
def test_a_wrong_argument_is_one_clear_error(model, arguments, error, says):
    arguments = {"prompts": PROMPTS, **arguments}
    with pytest.raises(error, match=says):
        interp.capture(model, **arguments)


def test_a_module_that_was_replaced_is_found():
    model = load("llama")
    interp.capture(model, PROMPTS, sites="q.1")
    attention = model.hf.model.layers[1].self_attn
    doubled = torch.nn.Linear(32, 32, bias=False)
    doubled.weight = torch.nn.Parameter(2 * attention.q_proj.weight.detach())
    before = interp.capture(model, PROMPTS, sites="q.1")["q.1"]
    attention.q_proj = doubled
    after = interp.capture(model, PROMPTS, sites="q.1")["q.1"]
    assert_close(after, 2 * before)


@pytest.mark.parametrize("positions", ["last", "all", "mean", [0, -1]])
def test_rows_that_cross_from_an_accelerator_are_the_same(positions, monkeypatch):
    model = load("gemma2")
    sites = ["resid_post.*", "z.*", "logits", "pattern.0"]
    arguments = {"sites": sites, "positions": positions, "token_budget": 30}
    straight = interp.capture(model, PROMPTS, **arguments)
    # As if every row had to be shipped, with a batch on its way all the time.
    monkeypatch.setattr(rows, "_arrives", lambda *_: False)
    shipped = interp.capture(model, PROMPTS, **arguments)
    assert straight.values.keys() == shipped.values.keys()
    for name, value in straight.values.items():
        assert torch.equal(shipped.values[name], value)


def test_rows_that_wait_keep_no_activation_alive(monkeypatch):
    model = load("gpt_neox")
    sizes = []

    class Looking(rows._Shipment):
        def __init__(self, staged, index):
            for value in staged.values():
                sizes.append((value.nbytes, value.untyped_storage().nbytes()))
            super().__init__(staged, index)

    monkeypatch.setattr(rows, "_arrives", lambda *_: False)
    monkeypatch.setattr(rows, "_Shipment", Looking)
    # Of equal lengths, so that what is read is a view of the activation.
    interp.capture(model, [[5] * 6] * 4, sites=["resid_post.*", "q.*"])
    assert len(sizes) == 6
    assert all(own == held for own, held in sizes)


def test_a_site_that_never_runs_is_named():
    model = load("llama")
    # A block that goes round its own MLP.
    model.hf.model.layers[2].mlp.forward = lambda x: x
    with pytest.raises(MissingSiteError, match=r"mlp_post.2.*not reached"):
        interp.capture(model, PROMPTS, sites="mlp_post.2")


def test_length_buckets_hardly_pad():
    model = load("gpt_neox", num_hidden_layers=1)
    random = np.random.default_rng(0)
    prompts = [[7] * int(n) for n in random.integers(5, 40, 500)]
    count = TokenCount(model)
    interp.capture(model, prompts, positions=[0])
    assert count.tokens <= 1.05 * sum(map(len, prompts))
    assert len(count.passes) < 30


def test_the_tolerance_of_these_tests_sees_a_wrong_position(model):
    ids = model.tokenize(PROMPTS).ids[0]
    wanted = residuals(model, ids)
    assert (wanted[:, -1] - wanted[:, -2]).abs().max() > 1000 * TOLERANCE
