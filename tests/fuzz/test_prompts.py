"""Any prompts, sites, positions and batches: capture and edits keep what they promise.

A batch equals single prompts, the order is kept, no hook stays, logits are as before,
the lock is free; and what is refused is refused in one line.
"""

import threading
from functools import cache

import pytest
import torch
from fuzz.damage import examples
from hypothesis import given, strategies as st
from tiny import SPECIAL, tiny_model, tiny_tokenizer

import interp
from interp.errors import InterpError


ARCHITECTURES = ("llama", "gpt_neox", "gemma2")
TOLERANCE = 2e-5
PIECES = (
    *("", " ", "\n", "\t  ", "Paris", " is in", "the city of", "0", "...", "\0"),
    *("🙂", "👩‍👩‍👧", "e\u0301", "\u202eabc\u202c", "שלום", "مرحبا", "漢字", "\ufeff"),
    *("\ud800", "\udfff", *SPECIAL, "<|im_start|>", "</s>", "{{ x }}", "{% if"),
)
TEXTS = st.lists(st.sampled_from(PIECES), max_size=5).map("".join)
IDS = st.lists(st.integers(0, 299), min_size=1, max_size=9)
ANY = TEXTS | st.text(max_size=12) | st.lists(st.integers(-1, 330), max_size=9)
PROMPTS = st.lists(TEXTS.map("a".__add__) | IDS, min_size=1, max_size=5) | st.lists(
    ANY, max_size=5
)
SITE_WORDS = (
    *("resid_post.*", "resid_pre.0", "attn_out.1", "mlp_out.*", "z.{0..1}", "embed"),
    *("blocks.1.hook_resid_post", "logits", "final_norm", "resid_post.-1", "x.1"),
    *("resid_post.99", "q.*", ""),
)
N_GOOD_SITES = 9
# Half of them could be run, or nearly all examples would be refused.
SITES = st.lists(
    st.sampled_from(SITE_WORDS[:N_GOOD_SITES]), min_size=1, max_size=3
) | st.lists(st.sampled_from(SITE_WORDS), min_size=1, max_size=3)
POSITIONS = st.sampled_from(("last", "all", "mean", 0, -1, 3, -7, [0, -1], "x", 99))


@cache
def model_of(architecture: str) -> interp.LanguageModel:
    return interp.load(tiny_model(architecture), tokenizer=tiny_tokenizer())


def logits_of(model: interp.LanguageModel) -> torch.Tensor:
    with torch.no_grad():
        return model.hf(torch.tensor([[5, 6, 7]])).logits


def require_untouched(model: interp.LanguageModel, before: torch.Tensor) -> None:
    hooks = [
        hook
        for module in model.hf.modules()
        for planted in (module._forward_hooks, module._forward_pre_hooks)
        for hook in planted.values()
    ]
    assert not hooks
    assert torch.equal(logits_of(model), before)
    free: list[bool] = []

    def ask() -> None:
        free.append(model.lock.acquire(timeout=5))
        if free[-1]:
            model.lock.release()

    asking = threading.Thread(target=ask)
    asking.start()
    asking.join()
    assert free == [True]


def require_one_line(error: InterpError) -> None:
    said = str(error)
    assert said
    assert "\n" not in said
    assert len(said) < 3000


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@given(
    prompts=PROMPTS,
    sites=SITES,
    positions=POSITIONS,
    budget=st.sampled_from((None, 1, 7, 40)),
    chat=st.booleans(),
)
@examples(20)
def test_a_capture_of_anything_equals_single_prompts_or_is_refused_in_one_line(
    architecture, prompts, sites, positions, budget, chat
):
    model = model_of(architecture)
    before = logits_of(model)
    try:
        acts = interp.capture(
            model,
            prompts,
            sites=sites,
            positions=positions,
            token_budget=budget,
            chat=chat,
        )
    except InterpError as error:
        require_one_line(error)
        require_untouched(model, before)
        return
    require_untouched(model, before)
    assert len(acts.token_ids) == len(prompts)
    for row, prompt in enumerate(prompts):
        alone = interp.capture(
            model, [prompt], sites=sites, positions=positions, chat=chat
        )
        assert alone.token_ids[0] == acts.token_ids[row]
        for name, value in acts.values.items():
            single = alone.values[name][0]
            mine = value[row]
            if mine.shape != single.shape:
                # Padded to the longest prompt of the batch: on the right, with zeros.
                axis = next(
                    i for i, size in enumerate(mine.shape) if size != single.shape[i]
                )
                rest = mine.narrow(
                    axis, single.shape[axis], mine.shape[axis] - single.shape[axis]
                )
                assert not rest.any()
                mine = mine.narrow(axis, 0, single.shape[axis])
            torch.testing.assert_close(mine, single, atol=TOLERANCE, rtol=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@given(
    prompts=PROMPTS,
    site=st.sampled_from(("resid_post.1", "attn_out.0", "resid_pre.2", "nothing.1")),
    strength=st.sampled_from((0.0, 1.0, -3.0, 1e30, float("nan"))),
    width=st.sampled_from((32, 31)),
)
@examples(12)
def test_an_edit_of_anything_leaves_the_model_as_it_was(
    architecture, prompts, site, strength, width
):
    model = model_of(architecture)
    before = logits_of(model)
    direction = torch.ones(width)
    try:
        with interp.edit(
            model, interp.edits.Add(site=site, vector=direction, strength=strength)
        ):
            interp.capture(model, prompts, sites=["resid_post.*"])
            model.generate(prompts, max_new_tokens=2)
    except InterpError as error:
        require_one_line(error)
    require_untouched(model, before)


@pytest.mark.parametrize("text", ["a" * 100_000, "🙂" * 30_000, " " * 100_000])
def test_a_prompt_of_a_hundred_thousand_characters_is_refused_in_one_line(text):
    model = model_of("llama")
    with pytest.raises(InterpError) as caught:
        interp.capture(model, ["short", text])
    require_one_line(caught.value)
