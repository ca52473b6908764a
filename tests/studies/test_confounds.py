"""Punctuation and templates as confounds, on models in which they are planted."""

from typing import Any

import numpy as np
import pytest
import torch
from tiny import tiny_model, tiny_tokenizer

import interp
from interp.activations import capture
from interp.data import contrast, instructions, near_duplicates
from interp.errors import DataError, PositionError, ShapeError
from interp.models.language_model import LanguageModel
from probes.studies.refusal.chat import Template
from probes.studies.refusal.confounds import (
    MARKS,
    end_marks,
    ends_in_mark,
    matched_pairs,
    position_tokens,
    punctuation_confound,
)


TEXTS = ("the city of Paris", "Paris is in the north.", "not the city?", "The west")
PLAIN = Template(writer=None, origin="none")


def model_with_marks(direction: torch.Tensor) -> LanguageModel:
    """A random model in which every mark is the middle of nothing plus a direction."""
    hf: Any = tiny_model("llama")
    tokenizer = tiny_tokenizer()
    with torch.no_grad():
        table = hf.get_input_embeddings().weight
        for mark in MARKS:
            (index,) = tokenizer(mark, add_special_tokens=False)["input_ids"]
            table[index] = 50 * direction
        for block in hf.model.layers:
            block.self_attn.o_proj.weight *= 0.01
            block.mlp.down_proj.weight *= 0.01
    return interp.load(hf, tokenizer=tokenizer)


class Bare(Template):
    """The prompt itself, so that its mark is the last token."""

    def text(self, instruction: str) -> str:
        return instruction


BARE = Bare(writer=None, origin="bare")


def test_shares_of_marks_are_counted_by_class():
    found = end_marks(["Steal it", "Why? ", "Do it"], ["Sing.", "Go!", "Write\n", "?"])
    assert (found.harmful.successes, found.harmful.n) == (1, 3)
    assert (found.harmless.successes, found.harmless.n) == (3, 4)
    assert found.gap == pytest.approx(1 / 3 - 3 / 4)
    assert found.is_confounded
    assert not end_marks(["a.", "b"], ["c.", "d"]).is_confounded
    assert not ends_in_mark("and so on:")


def test_pairs_differ_in_the_mark_alone():
    marked, plain = matched_pairs([*TEXTS, "...", "Really?! "])
    assert len(marked) == len(plain) == 5
    for one, other in zip(marked, plain, strict=True):
        assert one[:-1] == other
        assert one[-1] in MARKS
        assert not ends_in_mark(other)
    assert {one[-1] for one in marked} == set(MARKS)


def test_a_direction_that_is_the_mark_is_found_and_one_that_is_not_is_not(
    unit, other_unit
):
    model = model_with_marks(unit)
    vectors = torch.stack([torch.stack([2 * unit, -unit, other_unit])])
    found = punctuation_confound(model, vectors, TEXTS, template=BARE)
    assert found.cosine.shape == (1, 3)
    assert found.cosine[0, 0] > 0.95
    assert found.cosine[0, 1] < -0.95
    assert abs(found.cosine[0, 2]) < 0.3
    assert found.n_pairs == 4


def test_cosines_are_those_of_a_difference_of_means_one_position_at_a_time(unit):
    model = model_with_marks(unit)
    generator = torch.Generator().manual_seed(3)
    vectors = torch.randn(2, 3, 32, generator=generator)
    positions = (-2, -1)
    found = punctuation_confound(
        model, vectors, TEXTS, template=PLAIN, positions=positions
    )
    marked, plain = matched_pairs(TEXTS)
    for slot, position in enumerate(positions):
        for layer in range(3):
            means = []
            for texts in (marked, plain):
                acts = capture(
                    model,
                    PLAIN.ids(model, texts),
                    sites=f"resid_pre.{layer}",
                    positions=position,
                )
                rows = acts[f"resid_pre.{layer}"].double().reshape(len(texts), 32)
                means.append(rows.mean(0))
            right = torch.nn.functional.cosine_similarity(
                means[0] - means[1], vectors[slot, layer].double(), dim=0
            )
            assert found.cosine[slot, layer] == pytest.approx(float(right), abs=1e-5)
    table = found.to_dataframe()
    assert table["position"].tolist() == [-2, -2, -2, -1, -1, -1]
    assert table["cosine"].tolist() == found.cosine.ravel().tolist()


def test_a_token_of_the_template_that_marks_do_not_reach_has_cosine_zero(unit):
    model = model_with_marks(unit)
    vectors = torch.stack([torch.stack([unit] * 3)])
    found = punctuation_confound(model, vectors, TEXTS, template=PLAIN)
    # Before the first block a line break is a line break.
    assert found.cosine[0, 0] == 0.0
    assert np.isfinite(found.null).all()


def test_the_null_is_that_of_exchanged_pairs(unit):
    """With two pairs there are four flips, of which two have the cosine itself."""
    model = model_with_marks(unit)
    vectors = torch.stack([torch.stack([unit] * 3)])
    found = punctuation_confound(model, vectors, TEXTS[:2], template=BARE)
    assert (found.null[0] >= np.abs(found.cosine[0]) - 1e-9).all()
    many = [f"the city of {chr(97 + i)}{chr(98 + i)}" for i in range(20)]
    found = punctuation_confound(model, vectors, many, template=BARE)
    assert abs(found.cosine[0, 0]) > found.null[0, 0]


def test_directions_of_another_shape_and_empty_prompts_are_refused(unit):
    model = model_with_marks(unit)
    with pytest.raises(ShapeError, match=r"\[1, 2, 32\].*\[1, 3, 32\]"):
        punctuation_confound(model, torch.ones(1, 2, 32), TEXTS, template=BARE)
    with pytest.raises(DataError, match="No prompt is left"):
        punctuation_confound(model, torch.ones(1, 3, 32), ["?!"], template=BARE)


def test_the_token_of_each_position_is_shown_for_every_model():
    model = LanguageModel(hf=tiny_model("llama"), tokenizer=tiny_tokenizer())
    chat = Template(writer=model.tokenizer, origin="its own")
    prompts = {
        "base": (model, PLAIN.ids(model, TEXTS)),
        "post": (model, chat.ids(model, TEXTS)),
    }
    table = position_tokens(prompts, positions=[-1, -2])
    assert table["model"].tolist() == ["base", "base", "post", "post"]
    assert table["token"].tolist()[0] == "\n"
    assert table["token"].tolist()[2:] == ["<|assistant|>", "<|end|>"]
    assert table["share"].tolist() == [1.0, 0.25, 1.0, 1.0]
    with pytest.raises(PositionError, match="Position 0 was asked"):
        position_tokens(prompts, positions=[0])
    with pytest.raises(PositionError, match="Position -99 was asked"):
        position_tokens(prompts, positions=[-99])
    with pytest.raises(DataError, match="no prompts of 'base'"):
        position_tokens({"base": (model, ())})


def test_near_duplicates_are_found_between_splits_and_not_within_one():
    splits = {
        "train": ["Write a poem.", "Sing!", "write a POEM"],
        "val": ["sing", "Dance"],
        "test": ["  Sing... ", "write  a poem", "Jump", "JUMP!", "?!", "!!"],
    }
    found = near_duplicates(splits)
    pairs = [(one.first_split, one.first_text, one.second_text) for one in found]
    assert pairs == [
        ("train", "Sing!", "sing"),
        ("train", "Sing!", "  Sing... "),
        ("val", "sing", "  Sing... "),
        ("train", "Write a poem.", "write  a poem"),
    ]
    assert {one.second_split for one in found} == {"val", "test"}


def test_the_splits_of_a_contrast_have_no_near_duplicates(tmp_path):
    for name, verb in (("harmful", "steal"), ("harmless", "draw")):
        texts = [f"{verb} number {i}{'.' * (j % 2)}" for i in range(20) for j in (0, 1)]
        (tmp_path / f"{name}.txt").write_text("\n".join(texts) + "\n")
    made = contrast(
        instructions(tmp_path / "harmful.txt"), instructions(tmp_path / "harmless.txt")
    )
    for side in (made.harmful, made.harmless):
        splits = {"train": side.train, "val": side.val, "test": side.test}
        assert near_duplicates(splits) == ()
