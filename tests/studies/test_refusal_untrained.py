"""What the refusal study is made of, on models that were not trained."""

import numpy as np
import torch
from tiny import tiny_model, tiny_tokenizer

import interp
from probes.studies.refusal.candidates import Prompts, candidates
from probes.studies.refusal.chat import templates
from probes.studies.refusal.completions import Vector


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
    found = candidates(
        model, Prompts(harmful=tuple(rows[:2]), harmless=tuple(rows[2:]))
    )
    hidden = []
    for row in rows:
        with torch.no_grad():
            states = model.hf(torch.tensor([row]), output_hidden_states=True)
        hidden.append(torch.stack([s[0, -1] for s in states.hidden_states[:-1]]))
    expected = (hidden[0] + hidden[1] - hidden[2] - hidden[3]) / 2
    np.testing.assert_allclose(found.vectors[0], expected, atol=1e-5)


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
