"""A model that nnsight runs gives what it gives by itself: rows, edits, texts."""

import importlib.util
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache

import pytest
import torch
from tiny import tiny_model, tiny_tokenizer

import interp
from interp.directions import fit_leace
from interp.edits import Add, Clamp, ProjectOut, Scale
from interp.edits.where import When
from interp.errors import ConfigError, MissingSiteError, PositionError, ShapeError
from interp.models.language_model import LanguageModel
from interp.models.traced import TracedModel


pytest.importorskip("nnsight")

# Learned positions and fused columns; parallel; grouped keys; norms behind branches and
# a soft cap; experts and flat rows; a residual inside the MLP; values changed in place.
ARCHITECTURES = ("gpt2", "gpt_neox", "llama", "gemma2", "mixtral", "bloom", "falcon")
PROMPTS = ["The city of Paris is in the", "the", "x y z and not the city", "Paris"]
WIDTH = 32


@cache
def native(architecture: str) -> LanguageModel:
    return interp.load(tiny_model(architecture), tokenizer=tiny_tokenizer())


@cache
def traced(architecture: str) -> TracedModel:
    model = interp.load(
        tiny_model(architecture), tokenizer=tiny_tokenizer(), backend="nnsight"
    )
    assert isinstance(model, TracedModel)
    return model


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def assert_same(found: interp.Activations, wanted: interp.Activations) -> None:
    assert found.sites == wanted.sites
    for site in wanted.sites:
        scale = max(1.0, float(wanted[site].abs().max()))
        torch.testing.assert_close(
            found[site], wanted[site], rtol=0, atol=1e-5 * scale, msg=site.short
        )


def sites_of(model: LanguageModel) -> list[interp.Site]:
    return [s for s in model.architecture.sites if s.component != "pattern"]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_site_is_captured_as_by_hooks(architecture: str) -> None:
    ours, theirs = native(architecture), traced(architecture)
    for positions in ("last", "all", [0, -1], "mean"):
        # All sites once: the others differ in which rows are taken.
        sites = sites_of(ours) if positions == "all" else ["resid_post.1", "z.1"]
        options = {"sites": sites, "positions": positions}
        found = interp.capture(theirs, PROMPTS, token_budget=16, **options)
        assert_same(found, interp.capture(ours, PROMPTS, **options))


Edited = Callable[[LanguageModel], AbstractContextManager[None]]
ERASER = fit_leace(random(50, WIDTH), torch.arange(50) % 2)
EDITS: dict[str, Edited] = {
    "steer": lambda m: interp.steer(m, random(WIDTH), 2.0, site="resid_post.1"),
    "steer each prompt": lambda m: interp.steer(
        m, random(4, WIDTH), random(4), site="resid_post.1", positions="last"
    ),
    "ablate": lambda m: interp.ablate(m, random(2, WIDTH), to=torch.tensor([0.5, 0.2])),
    "ablate by row": lambda m: interp.ablate(
        m, random(4, WIDTH), per_row=True, sites="resid_post.*", positions=[0, -1]
    ),
    "patch": lambda m: interp.patch(
        m,
        {
            "resid_post.1": ([0, -1], random(4, 2, WIDTH)),
            "attn_out.0": random(WIDTH),
        },
    ),
    "erase": lambda m: interp.erase(m, ERASER, site="resid_post.0"),
    "clamp": lambda m: interp.clamp(
        m, {"z.1": (2, 0.5), "z.0": ((1, [2, 3]), 0.1), "q.0": (1, 0.2)}
    ),
    "other": lambda m: interp.edit(
        m,
        [
            Clamp(site="mlp_out.0", min=-0.2, max=0.3),
            Scale(site="attn_out.1", factor=random(4), index=[1, 3, 5]),
            Clamp(site="resid_pre.1", index=3, value=lambda part: part * 2 + 1),
            Scale(site="logits", factor=2.0),
            Add(site="embed", vector=random(WIDTH), when="generated"),
        ],
    ),
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", EDITS)
def test_edits_change_what_they_change_by_hooks(architecture: str, name: str) -> None:
    options = {"sites": ["resid_post.1", "logits"], "positions": "all"}
    ours, theirs = native(architecture), traced(architecture)
    with EDITS[name](ours):
        wanted = interp.capture(ours, PROMPTS, **options)
    with EDITS[name](theirs):
        found = interp.capture(theirs, PROMPTS, token_budget=16, **options)
    assert_same(found, wanted)
    assert theirs.edits == []


@pytest.mark.parametrize(
    ("architecture", "when"),
    [
        *((one, "both") for one in ARCHITECTURES),
        ("gpt2", "prompt"),
        ("gpt2", "generated"),
    ],
)
def test_steered_texts_are_the_same(architecture: str, when: When) -> None:
    ours, theirs = native(architecture), traced(architecture)
    texts = []
    for model in (ours, theirs):
        with interp.steer(model, random(WIDTH), 3.0, site="resid_post.1", when=when):
            texts.append(model.generate(PROMPTS, max_new_tokens=5, batch_size=3))
    assert texts[0] == texts[1]
    assert texts[0] != ours.generate(PROMPTS, max_new_tokens=5, batch_size=3)


def test_drawn_texts_are_the_same() -> None:
    texts = [
        model.generate(PROMPTS, max_new_tokens=5, temperature=1.0, seed=3)
        for model in (native("llama"), traced("llama"))
    ]
    assert texts[0] == texts[1]


def test_an_edit_between_attention_and_mlp_also_travels_past_the_mlp() -> None:
    edits = [
        Add(site="resid_mid.1", vector=random(WIDTH)),
        Scale(site="resid_post.1", factor=0.5),
    ]
    rows = []
    for model in (native("llama"), traced("llama")):
        with interp.edit(model, edits):
            rows.append(
                interp.capture(
                    model,
                    PROMPTS,
                    sites=["resid_mid.*", "resid_post.*"],
                    positions="all",
                )
            )
    assert_same(rows[1], rows[0])


def test_nested_edits_act_from_the_outside_in_and_can_be_lifted() -> None:
    outer = Add(site="resid_post.1", vector=random(WIDTH))
    inner = ProjectOut(site="resid_post.1", vectors=random(WIDTH))
    rows = []
    for model in (native("llama"), traced("llama")):
        with interp.edit(model, outer), interp.edit(model, inner):
            rows.append(interp.capture(model, PROMPTS))
            with interp.edits.unedited(model):
                rows.append(interp.capture(model, PROMPTS))
    assert_same(rows[2], rows[0])
    assert_same(rows[3], rows[1])


def test_moments_run_by_nnsight_too() -> None:
    ours, theirs = (
        interp.activations.moments(model, PROMPTS, sites="resid_post.1")
        for model in (native("llama"), traced("llama"))
    )
    torch.testing.assert_close(theirs.mean("resid_post.1"), ours.mean("resid_post.1"))


def test_nothing_is_left_when_a_block_fails() -> None:
    model = traced("llama")
    with (
        pytest.raises(ZeroDivisionError),
        interp.steer(model, random(WIDTH), site="resid_post.1"),
    ):
        raise ZeroDivisionError
    with (
        pytest.raises(PositionError, match="has no position 5"),
        interp.patch(model, {"resid_post.1": (5, random(WIDTH))}),
    ):
        interp.capture(model, PROMPTS)
    with (
        pytest.raises(ZeroDivisionError),
        interp.clamp(model, {"resid_post.1": lambda part: part[1 // 0]}),
    ):
        interp.capture(model, PROMPTS)
    assert model.edits == []
    modules = model.hf.modules()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in modules)
    assert_same(
        interp.capture(model, PROMPTS), interp.capture(native("llama"), PROMPTS)
    )


def test_hooks_still_work_on_a_model_that_nnsight_has_wrapped() -> None:
    again = interp.load(traced("llama").hf, tokenizer=tiny_tokenizer())
    with interp.steer(again, random(WIDTH), site="resid_post.1"):
        found = interp.capture(again, PROMPTS)
    with interp.steer(native("llama"), random(WIDTH), site="resid_post.1"):
        assert_same(found, interp.capture(native("llama"), PROMPTS))


def test_values_that_do_not_fit_are_named() -> None:
    model = traced("llama")
    with (
        interp.patch(model, {"z.1": random(4, 7)}),
        pytest.raises(ShapeError, match=r"'z\.1'"),
    ):
        interp.capture(model, PROMPTS)
    with (
        pytest.raises(ShapeError, match="no part"),
        interp.clamp(model, {"z.1": (9, 0.0)}),
    ):
        interp.capture(model, PROMPTS)


def test_patterns_are_refused_in_one_line() -> None:
    model = traced("llama")
    with pytest.raises(MissingSiteError, match=r"'pattern\.0'") as caught:
        interp.capture(model, PROMPTS, sites="pattern.0")
    assert "\n" not in str(caught.value)
    with (
        pytest.raises(MissingSiteError, match=r"'pattern\.1'"),
        interp.edit(model, Scale(site="pattern.1", factor=0.0)),
    ):
        pass


def test_a_call_that_would_miss_the_edits_is_refused() -> None:
    model = traced("llama")
    with (
        interp.steer(model, random(WIDTH), site="resid_post.1"),
        pytest.raises(ConfigError, match="run by nnsight"),
    ):
        model.hf(torch.tensor([[5, 6]]))
    model.hf(torch.tensor([[5, 6]]))


def test_without_nnsight_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda *given: None)
    with pytest.raises(ConfigError, match="nnsight is not installed") as caught:
        interp.load(tiny_model("llama"), backend="nnsight")
    assert "\n" not in str(caught.value)


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(ConfigError, match="backend is 'vllm'"):
        interp.load(tiny_model("llama"), backend="vllm")
