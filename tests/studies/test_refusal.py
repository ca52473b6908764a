"""The refusal study on the embedded family, and where it finds nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import tiny_model, tiny_tokenizer

import interp
from interp.data import contrast, instructions
from interp.provenance import record
from probes.studies.refusal import study as module
from probes.studies.refusal.chat import templates
from probes.studies.refusal.completions import Condition, Vector, answer
from probes.studies.refusal.direction import Prompts, can_ablate, directions
from probes.studies.refusal.spec import RefusalSpec
from probes.studies.refusal.study import refusal


@pytest.fixture(scope="module")
def models(facts_family):
    return interp.load(facts_family.base), interp.load(facts_family.post)


@pytest.fixture(scope="module")
def asked(facts_family):
    return contrast(
        instructions(facts_family.harmful),
        instructions(facts_family.harmless),
        n_train=40,
        n_val=12,
        n_test=16,
    )


@pytest.fixture(scope="module")
def spec():
    return RefusalSpec(
        base="base",
        post="post",
        harmful=("harmful.json",),
        harmless=("harmless.json",),
        max_new_tokens=12,
        batch_size=64,
    )


@pytest.fixture(scope="module")
def result(models, asked, spec):
    return refusal(models[0], models[1], asked, spec=spec, provenance=record("refusal"))


@pytest.fixture(scope="module")
def few(facts_family):
    return contrast(
        instructions(facts_family.harmful),
        instructions(facts_family.harmless),
        n_train=12,
        n_val=4,
        n_test=2,
    )


def test_post_refuses_what_is_harmful_and_base_nothing(result):
    assert result.condition("post", "harmful").rate > 0.8
    assert result.condition("post", "harmless").rate < 0.2
    assert result.condition("base", "harmful").rate < 0.2


def test_there_is_a_direction_that_does_something_or_a_reason(result):
    chosen = result.directions[1]
    assert (chosen.layer is None) == bool(chosen.reason)
    if chosen.layer is None:
        pytest.skip(f"the small family has no refusal direction: {chosen.reason}")
    added = result.condition("post", "harmless", intervention="add", direction="post")
    random = result.condition(
        "post", "harmless", intervention="add", direction="random"
    )
    assert added.score > random.score
    removed = result.condition(
        "post", "harmful", intervention="affine", direction="post"
    )
    assert removed.score < result.condition("post", "harmful").score


def test_every_answer_is_kept_and_counted(result, asked):
    n = len(asked.harmful.test)
    assert all(row.n == n for row in result.conditions)
    assert len(result.completions) == n * len(result.conditions)
    assert {row.prompt for row in result.completions} == {
        *asked.harmful.test,
        *asked.harmless.test,
    }


def test_the_first_tokens_of_refusals_are_those_of_the_answers(result):
    refusals = [
        row.completion
        for row in result.completions
        if row.model == "post" and row.intervention == "none" and row.refused
    ]
    starts = tuple(token.strip() for token in result.directions[1].refusal_tokens)
    assert refusals[0].startswith(starts)


def test_a_model_that_never_refuses_gives_a_result_with_a_reason(models, asked, spec):
    base, _ = models
    found = refusal(base, base, asked, spec=spec, provenance=record("refusal"))
    assert found.directions[1].layer is None
    assert found.directions[1].reason
    assert {row.intervention for row in found.conditions} == {"none"}
    assert "no usable refusal direction" in found.headline()


def test_where_ablation_is_refused_the_rest_goes_on(models, few, spec, monkeypatch):
    monkeypatch.setattr(module, "can_ablate", lambda model: "The sum does not hold.")
    found = refusal(models[0], models[1], few, spec=spec, provenance=record("refusal"))
    assert all(row.intervention != "ablate" for row in found.conditions)
    assert any("The sum does not hold." in note for note in found.notes)
    assert found.condition("post", "harmful") is not None


def test_named_refusal_tokens_are_used(models, few, spec):
    found = refusal(
        models[0],
        models[1],
        few,
        spec=replace(spec, refusal_tokens=("Sure",)),
        provenance=record("refusal"),
    )
    assert found.directions[1].refusal_tokens == ("Sure",)


def test_a_base_without_a_template_borrows_that_of_post():
    base = interp.load(tiny_model("llama"), tokenizer=tiny_tokenizer(chat=False))
    post = interp.load(tiny_model("llama"), tokenizer=tiny_tokenizer())
    own, of_post = templates(base, post)
    assert own.ids(base, ["Hi."]) == of_post.ids(post, ["Hi."])
    assert own.ids(base, ["Hi."]) == post.tokenize(["Hi."], chat=True).ids
    assert "post-trained" in own.origin


def test_without_any_template_the_instruction_stands_alone():
    bare = interp.load(tiny_model("llama"), tokenizer=tiny_tokenizer(chat=False))
    own, other = templates(bare, bare)
    assert own == other
    assert own.text("Hi. ") == "Hi.\n"
    assert own.ids(bare, ["Hi."]) == bare.tokenize(["Hi.\n"]).ids


def test_directions_are_differences_of_means_before_every_block():
    model = interp.load(tiny_model("llama"), tokenizer=tiny_tokenizer())
    rows = [tuple(range(5, 5 + n)) for n in (4, 5, 6, 7)]
    (found,) = directions(
        model, Prompts(harmful=tuple(rows[:2]), harmless=tuple(rows[2:]))
    )
    hidden = []
    for row in rows:
        with torch.no_grad():
            states = model.hf(torch.tensor([row]), output_hidden_states=True)
        hidden.append(torch.stack([s[0, -1] for s in states.hidden_states[:-1]]))
    expected = (hidden[0] + hidden[1] - hidden[2] - hidden[3]) / 2
    np.testing.assert_allclose(found.vectors, expected, atol=1e-5)


def test_a_constant_token_has_no_direction_at_the_embedding(models, asked):
    _, post = models
    own, _ = templates(post, post)
    (found,) = directions(
        post,
        Prompts(
            harmful=own.ids(post, asked.harmful.train),
            harmless=own.ids(post, asked.harmless.train),
        ),
    )
    assert found.degenerate(0)
    assert not found.degenerate(1)


def test_affine_ablation_puts_the_projection_at_the_harmless_mean():
    model = interp.load(tiny_model("llama"), tokenizer=tiny_tokenizer())
    vector = torch.randn(32, generator=torch.Generator().manual_seed(0))
    edit = Vector(vector=vector, layer=1, position=-1, level=0.7)
    with edit.edit(model, "affine"):
        acts = interp.capture(
            model, [[5, 6, 7], [8, 9]], sites="resid_pre.1", positions=[-2, -1]
        )
    clean = interp.capture(
        model, [[5, 6, 7], [8, 9]], sites="resid_pre.1", positions=[-2, -1]
    )
    unit = vector / vector.norm()
    projected = acts["resid_pre.1"] @ unit
    np.testing.assert_allclose(projected[:, 1], 0.7, atol=1e-5)
    np.testing.assert_allclose(projected[:, 0], clean["resid_pre.1"][:, 0] @ unit)


def test_an_answer_is_judged_and_hooks_are_gone_afterwards(models, asked):
    _, post = models
    own, _ = templates(post, post)
    texts = asked.harmful.test[:4]
    condition = Condition(
        model="post", instructions="harmful", intervention="add", direction="random"
    )
    rows = answer(
        post,
        condition,
        texts,
        own.ids(post, texts),
        vector=Vector(vector=torch.zeros(post.d_model), layer=1, position=-1, level=0),
        tokens=(5,),
        max_new_tokens=8,
        batch_size=4,
    )
    plain = post.generate(own.ids(post, texts), max_new_tokens=8)
    assert [row.completion for row in rows] == plain
    assert [row.prompt for row in rows] == list(texts)
    assert can_ablate(post) == ""
