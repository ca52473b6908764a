import pytest
import torch
from activations.oracle import PROMPTS, TokenCount, assert_close, few_shot, load
from tiny import ARCHITECTURES

import interp
from interp.activations.prefix import plan_prefix
from interp.errors import OutOfMemoryError
from interp.positions import resolve


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_shared_prefix_changes_no_captured_value(architecture):
    model = load(architecture)
    prompts = few_shot()
    # Every site; several batches, so that the cache is used more than once.
    sites = [s for s in model.architecture.sites if s.component != "pattern"]
    arguments = {"sites": sites, "positions": [-1, -2]}
    count = TokenCount(model)
    shared = interp.capture(model, prompts, token_budget=30, **arguments)
    assert count.passes[0] == (1, 30)
    assert len(count.passes) > 3
    assert count.tokens < sum(map(len, prompts)) / 2
    full = interp.capture(model, prompts, shared_prefix=False, **arguments)
    for site in sites:
        assert_close(shared[site], full[site])


def test_few_shot_prompts_cost_a_fraction():
    model = load("llama", num_hidden_layers=1)
    prompts = few_shot(200, length=100)
    count = TokenCount(model)
    interp.capture(model, prompts)
    assert count.tokens * 5 <= sum(map(len, prompts))


@pytest.mark.parametrize("positions", ["all", "mean", 0, [3, -1]])
def test_a_position_within_the_prefix_is_captured_all_the_same(positions):
    model = load("llama")
    prompts = few_shot()
    found = interp.capture(model, prompts, positions=positions)
    wanted = interp.capture(model, prompts, positions=positions, shared_prefix=False)
    assert_close(found["resid_post"], wanted["resid_post"])


def test_patterns_of_few_shot_prompts_show_every_key():
    model = load("mistral")
    prompts = few_shot()
    found = interp.capture(model, prompts, sites="pattern.*")
    wanted = interp.capture(model, prompts, sites="pattern.*", shared_prefix=False)
    assert found["pattern"].shape == wanted["pattern"].shape
    assert_close(found["pattern"], wanted["pattern"])


def test_an_edit_reaches_the_prefix_too():
    model = load("llama")
    prompts = few_shot()
    vector = torch.ones(32)
    with interp.steer(model, vector, site="resid_post.0", strength=1.0):
        found = interp.capture(model, prompts)
        wanted = interp.capture(model, prompts, shared_prefix=False)
        plain = interp.capture(model, prompts[:1])
    assert_close(found["resid_post"], wanted["resid_post"])
    assert_close(found["resid_post"][:1], plain["resid_post"])


def test_a_model_whose_cache_cannot_be_shared_is_run_in_full():
    model = load("llama")
    prompts = few_shot()
    wanted = interp.capture(model, prompts, shared_prefix=False)
    forward = model.hf.forward

    def without_cache(input_ids=None, attention_mask=None, use_cache=False):
        return forward(input_ids, attention_mask=attention_mask, use_cache=False)

    model.hf.forward = without_cache
    assert_close(interp.capture(model, prompts)["resid_post"], wanted["resid_post"])

    def ignoring(input_ids=None, attention_mask=None, use_cache=False, **ignored):
        return forward(input_ids, attention_mask=attention_mask, use_cache=False)

    model.hf.forward = ignoring
    assert_close(interp.capture(model, prompts)["resid_post"], wanted["resid_post"])


def test_a_prefix_is_shared_only_where_it_pays():
    long = [(*range(100), 200, i) for i in range(4)]
    assert plan_prefix(long, resolve("last", long)) == 101
    assert plan_prefix(long, resolve([50, -1], long)) == 50
    assert plan_prefix(long, resolve("all", long)) == 0
    assert plan_prefix(long[:1], resolve("last", long[:1])) == 0
    short = [(1, 2, 3, *range(i, i + 40)) for i in range(4)]
    assert plan_prefix(short, resolve("last", short)) == 0
    # Seven tokens are too few, whatever they save.
    few = [(*range(7), i) for i in range(50)]
    assert plan_prefix(few, resolve("last", few)) == 0


def test_identical_prompts_keep_their_last_token():
    model = load("llama")
    prompt = model.tokenize(PROMPTS[2]).ids[0]
    found = interp.capture(model, [prompt] * 3)
    assert_close(
        found["resid_post"][2], interp.capture(model, [prompt])["resid_post"][0]
    )


def test_a_prefix_that_does_not_fit_is_a_clear_error(monkeypatch):
    model = load("llama")

    def run_out(*args, **kwargs):
        raise torch.OutOfMemoryError("injected")

    monkeypatch.setattr(model.hf.model.layers[0], "forward", run_out)
    with pytest.raises(OutOfMemoryError, match="does not fit into memory: injected"):
        interp.capture(model, few_shot())
