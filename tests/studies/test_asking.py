"""Few-shot questions and pushing, against one prompt at a time with plain hooks."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import tiny_model, tiny_tokenizer

import interp
from interp.data.pairing_tokens import QUESTION
from interp.errors import DataError
from probes.studies.fewshot import ANSWERS, demonstrations, questions
from probes.studies.truthfulness.spots import BEFORE, LAST, Spot, slots_of, spots_of
from probes.studies.truthfulness.steering import (
    Place,
    judge,
    layers_to_try,
    pushing_vector,
    quiz,
    random_vectors,
    some_of,
)


BOTH = Spot(name="final two tokens", read=LAST, add=(BEFORE, LAST))


@pytest.fixture(scope="module")
def model():
    hf = tiny_model("llama", max_position_embeddings=512)
    return interp.load(hf, tokenizer=tiny_tokenizer())


@pytest.fixture
def statements(tmp_path):
    rows = ["statement,label,subject,object"]
    for i in range(12):
        for place in ("Rome", "Peru"):
            name = "Ab" * (1 + i % 3) + str(i)
            rows.append(
                f"{name} is in {place}.,{int((place == 'Rome') == (i % 2 == 0))},"
                f"{name},{place}"
            )
    (tmp_path / "towns.csv").write_text("\n".join(rows))
    return interp.data.statements(tmp_path / "towns.csv")


def test_demonstrations_are_two_of_each_from_training_only(statements):
    train = range(8)
    shown = demonstrations(statements, train, seed=3)
    lines = shown.splitlines()
    assert len(lines) == 4
    labels = {text: bool(y) for text, y in zip(statements.prompts, statements.labels,
                                               strict=True)}  # fmt: skip
    allowed = {statements.prompts[i] for i in train}
    for line in lines:
        text, answer = line.split(QUESTION)
        assert text in allowed
        assert answer == ANSWERS[int(labels[text])]
    assert sum(line.endswith(" TRUE") for line in lines) == 2
    assert demonstrations(statements, train, seed=3) == shown


def test_too_few_statements_to_show_are_an_error(statements):
    with pytest.raises(DataError, match="too few training statements"):
        demonstrations(statements, [0, 1, 2])


def test_prompts_end_before_the_first_token_in_which_the_answers_differ(
    model, statements
):
    shown = demonstrations(statements, range(12))
    asked = questions(model, statements.prompts[:3], shown=shown)
    for ids, text in zip(asked.ids, statements.prompts[:3], strict=True):
        for answer, token in (
            (" TRUE", asked.answers.true),
            (" FALSE", asked.answers.false),
        ):
            whole = model.tokenizer(shown + text + QUESTION + answer)["input_ids"]
            assert whole[: len(ids)] == list(ids)
            assert whole[len(ids)] == token
    # This tokenizer has " T" but no " F": the answers differ from the space on.
    assert (asked.answers.true_text, asked.answers.false_text) == (" T", " ")


def test_slots_are_the_same_tokens_alone_and_behind_demonstrations(model, statements):
    slots = slots_of(model, statements)
    assert "last token of the subject" in slots.names
    shown = demonstrations(statements, range(12))
    rows = [5, 0, 23]
    asked = questions(model, [statements.prompts[i] for i in rows], shown=shown)
    alone = model.tokenize(statements.prompts).ids
    for name in slots.names:
        spot = Spot(name=name, read=name, add=(name,))
        inside = slots.inside(spot, rows, asked.spans)
        column = slots.names.index(name)
        for row, ids, (place,) in zip(rows, asked.ids, inside, strict=True):
            there = slots.positions().index[row][column]
            assert ids[place] == alone[row][there]
    last = [alone[row][-1] for row in range(len(alone))]
    assert {model.tokenizer.decode([token]) for token in last} == {"."}


def test_a_part_that_is_the_token_before_the_last_is_not_tried_twice(model, statements):
    names = [spot.name for spot in spots_of(slots_of(model, statements))]
    # "Rome" and "Peru" stand right before the period.
    assert "last token of the object" not in names
    assert len(names) == len(set(names)) == 4


def test_judging_in_batches_equals_one_prompt_at_a_time(model, statements):
    asked = quiz(model, statements, [3, 0, 17, 8], train=range(12), seed=0)
    found = judge(asked)
    for row, said in zip(asked.rows, found, strict=True):
        expected = _judged_alone(model, statements, row)
        assert said == pytest.approx(expected, abs=1e-7)


def test_pushing_equals_plain_hooks_at_the_last_two_tokens(model, statements):
    rows = [3, 0, 17, 8]
    asked = quiz(model, statements, rows, train=range(12), seed=0)
    vector = 10 * torch.randn(32, generator=torch.Generator().manual_seed(1))
    place = Place(spot=BOTH, first=0, last=1)
    found = judge(
        asked,
        vector=vector,
        place=place,
        slots=slots_of(model, statements),
        strength=2.0,
    )
    clean = judge(asked)
    assert np.abs(found - clean).max() > 5e-6
    for row, said in zip(rows, found, strict=True):
        expected = _judged_alone(
            model, statements, row, push=(vector, 2.0), layers=(0, 1)
        )
        assert said == pytest.approx(expected, abs=1e-7)


def test_each_data_set_can_be_pushed_along_a_vector_of_its_own(model, statements):
    halves = tuple("ab"[i % 2] for i in range(len(statements)))
    split = replace(statements, sources=halves)
    asked = quiz(model, split, [3, 0, 17, 8], train=range(24), seed=0)
    slots = slots_of(model, split)
    place = Place(spot=BOTH, first=0, last=1)
    generator = torch.Generator().manual_seed(1)
    vectors = {name: 10 * torch.randn(32, generator=generator) for name in "ab"}
    found = judge(asked, vector=vectors, place=place, slots=slots)
    alone = {
        name: judge(asked, vector=vector, place=place, slots=slots)
        for name, vector in vectors.items()
    }
    expected = [alone[halves[row]][i] for i, row in enumerate(asked.rows)]
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert np.abs(alone["a"] - alone["b"]).max() > 1e-6


def test_some_of_the_questions_have_the_answers_that_they_had(model, statements):
    split = replace(statements, sources=tuple("ab" * (len(statements) // 2)))
    asked = quiz(model, split, [0, 3, 8, 17, 20], train=range(24), seed=0)
    kept = [1, 3, 4]
    few = asked.take(kept)
    assert few.rows == (3, 17, 20)
    assert few.labels.tolist() == asked.labels[kept].tolist()
    assert few.groups == tuple(asked.groups[i] for i in kept)
    np.testing.assert_allclose(judge(few), judge(asked)[kept], atol=1e-7)


def _judged_alone(model, statements, row, *, push=None, layers=()):
    """P(TRUE) - P(FALSE) of one statement, with hooks of our own."""
    shown = demonstrations(statements, range(12), seed=0)
    stem = shown + statements.prompts[row] + QUESTION
    ids = model.tokenizer(stem)["input_ids"]
    period = len(model.tokenizer(shown + statements.prompts[row])["input_ids"]) - 1
    handles = []
    for layer in layers:
        assert push is not None
        vector, strength = push
        sign = -strength if statements.labels[row] else strength

        def hook(module, args, output, sign=sign, vector=vector):
            value = output[0] if isinstance(output, tuple) else output
            value[:, period - 1 : period + 1] += sign * vector
            return output

        block = model.hf.model.layers[layer]
        handles.append(block.register_forward_hook(hook))
    try:
        with torch.no_grad():
            logits = model.hf(torch.tensor([ids])).logits[0, -1]
    finally:
        for handle in handles:
            handle.remove()
    chances = logits.double().softmax(-1)
    true, false = (
        model.tokenizer(word, add_special_tokens=False)["input_ids"][0]
        for word in ANSWERS[::-1]
    )
    return float(chances[true] - chances[false])


def test_the_pushing_vector_lies_along_the_direction():
    direction, difference = torch.tensor([0.0, 3.0]), torch.tensor([5.0, -2.0])
    assert pushing_vector(direction, difference).tolist() == [0.0, -2.0]
    assert pushing_vector(difference, difference).tolist() == pytest.approx([5, -2])


def test_random_vectors_have_the_length_asked_for():
    drawn = random_vectors(5, 2.5, 64, seed=0)
    np.testing.assert_allclose(drawn.norm(dim=-1), 2.5, rtol=1e-5)
    assert len({tuple(row.tolist()) for row in drawn}) == 5


@pytest.mark.parametrize("n_layers", [1, 2, 4, 12, 33, 80])
def test_layers_to_try_exist_and_are_few(n_layers):
    tried = layers_to_try(n_layers)
    assert tried
    assert len(tried) <= 12
    assert all(0 <= first <= last < n_layers for first, last in tried)


def test_a_sample_has_both_labels_and_keeps_the_order():
    labels = np.arange(40) % 4 == 0
    rows = some_of(range(40), labels, 10, seed=0)
    assert len(rows) == 10
    assert labels[list(rows)].sum() == 5
    assert list(rows) == sorted(rows)
    assert some_of(range(6), labels, 100, seed=0) == tuple(range(6))
