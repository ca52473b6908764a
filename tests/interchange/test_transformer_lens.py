"""Bridges on the same weights, and activation caches out and in."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import saved_tiny_model, tiny_model, tiny_tokenizer

import interp
from interp.errors import (
    ConfigError,
    DataError,
    IncompatibleError,
    ShapeError,
    UnsupportedModelError,
)
from interp.interchange import as_bridge, from_cache, to_cache
from interp.models.language_model import LanguageModel


ARCHITECTURES = ("gpt2", "gpt_neox", "llama", "gemma2", "qwen3", "bloom")
# TransformerLens' own hooks there mean another value, by design of both.
OTHERWISE = {"gemma2": {"logits"}, "bloom": {"embed"}}
IDS = [[5, 6, 7, 9], [8, 9, 10, 3]]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:transformer_lens")


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@cache
def model_of(architecture: str) -> LanguageModel:
    return interp.load(tiny_model(architecture), tokenizer=tiny_tokenizer())


@cache
def bridge_of(architecture: str) -> Any:
    return as_bridge(model_of(architecture))


def theirs(architecture: str) -> Any:
    bridge = bridge_of(architecture)
    with torch.no_grad():
        return bridge.run_with_cache(torch.tensor(IDS), prepend_bos=False)[1]


def ours(architecture: str, ids: list[list[int]] = IDS) -> interp.Activations:
    model = model_of(architecture)
    sites = model.architecture.sites
    return interp.capture(model, ids, sites=sites, positions="all")


def assert_close(found: torch.Tensor, wanted: torch.Tensor, site: object) -> None:
    scale = max(1.0, float(wanted.abs().max()))
    torch.testing.assert_close(
        found, wanted, rtol=0, atol=1e-5 * scale, msg=lambda text: f"{site}: {text}"
    )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_cache_of_theirs_holds_what_we_capture(architecture: str) -> None:
    wanted = ours(architecture)
    found = from_cache(theirs(architecture), model=model_of(architecture), ids=IDS)
    missing = {s.component for s in wanted.sites} - {s.component for s in found.sites}
    assert missing == OTHERWISE.get(architecture, set())
    for site in found.sites:
        assert_close(found[site], wanted[site], site)
    assert found.token_ids == wanted.token_ids
    assert found.layers("resid_post") == wanted.layers("resid_post")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_cache_of_ours_holds_what_theirs_does(architecture: str) -> None:
    cache_of_theirs = theirs(architecture)
    found = to_cache(ours(architecture), bridge=bridge_of(architecture))
    shared = found.keys() & cache_of_theirs.keys()
    assert len(shared) > 20
    for name in shared - {"hook_embed"}:
        assert_close(found[name], cache_of_theirs[name], name)


def test_their_methods_work_on_a_cache_of_ours() -> None:
    found = to_cache(ours("llama"), bridge=bridge_of("llama"))
    stream, labels = found.accumulated_resid(return_labels=True)
    wanted, names = theirs("llama").accumulated_resid(return_labels=True)
    assert labels == names
    assert_close(stream, wanted, "accumulated")


@pytest.mark.parametrize("architecture", ["gpt2", "mixtral"])
def test_there_and_back_is_exact(architecture: str) -> None:
    wanted = ours(architecture, [[5, 6, 7, 9], [8, 3]])
    back = from_cache(
        to_cache(wanted), model=model_of(architecture), ids=wanted.token_ids
    )
    assert back.sites == wanted.sites
    assert torch.equal(back.mask, wanted.mask)
    assert back.tokens(1) == wanted.tokens(1)
    assert list(back.values) == list(wanted.values)
    for name, value in wanted.values.items():
        assert torch.equal(back[name], value), name


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_bridge_has_the_weights_and_leaves_the_model_as_it_was(
    architecture: str,
) -> None:
    model = interp.load(tiny_model(architecture))
    before = interp.capture(model, IDS, sites=model.architecture.sites)
    logits = model.hf(torch.tensor(IDS)).logits
    modules = [(name, type(module)) for name, module in model.hf.named_modules()]
    attention = model.hf.config._attn_implementation
    bridge = as_bridge(model)
    assert_close(bridge(torch.tensor(IDS), prepend_bos=False), logits, "logits")
    assert [(n, type(m)) for n, m in model.hf.named_modules()] == modules
    assert model.hf.config._attn_implementation == attention
    assert torch.equal(model.hf(torch.tensor(IDS)).logits, logits)
    after = interp.capture(model, IDS, sites=model.architecture.sites)
    for site in before.sites:
        assert torch.equal(after[site], before[site])
    own = {p.untyped_storage().data_ptr() for p in model.hf.parameters()}
    copied = [
        name
        for name, p in bridge.named_parameters()
        if p.untyped_storage().data_ptr() not in own
    ]
    # Fused projections are split there.
    assert {name.split(".")[-3] for name in copied} <= {"q", "k", "v"}


def test_a_change_of_weights_is_seen_on_both_sides() -> None:
    model = interp.load(tiny_model("llama"))
    bridge = as_bridge(model)
    with torch.no_grad():
        model.hf.get_output_embeddings().weight.mul_(2)
        found = bridge(torch.tensor(IDS), prepend_bos=False)
        assert_close(found, model.hf(torch.tensor(IDS)).logits, "logits")


def test_a_bridge_brings_the_tokenizer_of_a_folder(tmp_path: Path) -> None:
    model = interp.load(saved_tiny_model(tmp_path))
    bridge = as_bridge(model)
    assert bridge.to_tokens("Paris", prepend_bos=False).shape[0] == 1


def test_what_has_no_bridge_is_one_line() -> None:
    with pytest.raises(UnsupportedModelError, match="no bridge for Falcon") as caught:
        as_bridge(interp.load(tiny_model("falcon_new")))
    assert "\n" not in str(caught.value)
    model = model_of("gpt2")
    steered = interp.steer(model, torch.ones(32), site="resid_post.1")
    with steered, pytest.raises(ConfigError, match="inside a block of edits"):
        as_bridge(model)


def test_a_model_that_nnsight_runs_has_no_bridge() -> None:
    pytest.importorskip("nnsight")
    traced = interp.load(tiny_model("gpt2"), backend="nnsight")
    with pytest.raises(IncompatibleError, match="which nnsight runs"):
        as_bridge(traced)


def test_a_cache_that_does_not_fit_is_named() -> None:
    post = "blocks.0.hook_resid_post"
    with pytest.raises(DataError, match="No hook in the cache is a site"):
        from_cache({"blocks.0.ln1.hook_scale": torch.zeros(1, 2, 1)})
    with pytest.raises(ShapeError, match="2 prompts with up to 4"):
        from_cache({post: torch.zeros(1, 4, 8)}, ids=IDS)
    with pytest.raises(ShapeError, match="batch and positions"):
        from_cache({post: torch.zeros(1, 4, 8), "hook_embed": torch.zeros(1, 3, 8)})
    means = interp.capture(model_of("gpt2"), IDS, positions="mean")
    with pytest.raises(ShapeError, match="Means over positions"):
        to_cache(means)


def test_tokens_that_a_cache_does_not_tell_are_shown_as_unknown() -> None:
    found = from_cache({"blocks.1.hook_resid_post": torch.zeros(1, 2, 8)})
    assert found.tokens(0) == ("<-1>", "<-1>")
    assert found.layers("resid_post") == (1,)


def test_one_position_is_an_axis_of_one() -> None:
    last = interp.capture(model_of("gpt2"), IDS, positions="last")
    assert to_cache(last)["resid_post", 1].shape == (2, 1, 32)
