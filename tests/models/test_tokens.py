"""Prompts become token ids exactly as the tokenizer alone would make them."""

from typing import Any

import numpy as np
import pytest
import torch
from tiny import tiny_model, tiny_tokenizer
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import interp
from interp.errors import PromptError
from interp.models.language_model import LanguageModel


TEXTS = ["the city of Paris", "a", "Ünïcödé 😀 日本", "  two  spaces\n"]


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return interp.load(tiny_model("llama"), tokenizer=tiny_tokenizer())


def test_each_text_is_tokenised_as_if_alone(model: LanguageModel) -> None:
    tokenized = model.tokenize(TEXTS)
    assert tokenized.ids == tuple(
        tuple(model.tokenizer(text)["input_ids"]) for text in TEXTS
    )
    assert tokenized.texts == tuple(TEXTS)
    assert tokenized.offsets is None
    assert len(tokenized) == 4
    assert tokenized.lengths == tuple(map(len, tokenized.ids))


def test_default_special_tokens_are_kept_and_nothing_is_padded(
    model: LanguageModel,
) -> None:
    ids = model.tokenize(["a", "the city"]).ids
    assert [row[0] for row in ids] == [model.tokenizer.bos_token_id] * 2
    assert all(model.tokenizer.pad_token_id not in row for row in ids)


def test_padding_and_truncation_left_in_the_tokenizer_do_nothing() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer(["a", "the city of Paris"], padding=True, truncation=True, max_length=2)
    model = interp.load(tiny_model("llama"), tokenizer=tokenizer)
    alone = tiny_tokenizer()("the city of Paris")["input_ids"]
    assert model.tokenize(["a", "the city of Paris"]).ids[1] == tuple(alone)


def test_offsets_name_the_characters_of_each_token(model: LanguageModel) -> None:
    tokenized = model.tokenize(TEXTS, offsets=True)
    assert tokenized.offsets is not None
    for text, spans, ids in zip(TEXTS, tokenized.offsets, tokenized.ids, strict=True):
        assert len(spans) == len(ids)
        assert spans[0] == (0, 0)  # the BOS covers nothing
        assert spans[-1][1] == len(text)
    words = [TEXTS[0][start:end] for start, end in tokenized.offsets[0]]
    assert words == ["", "the", " city", " of", " Paris"]


@pytest.mark.parametrize(
    "rows",
    [
        [[0, 5, 7], [9]],
        ((0, 5, 7), (9,)),
        np.array([[0, 5], [7, 9]]),
        torch.tensor([[0, 5], [7, 9]]),
    ],
    ids=["lists", "tuples", "numpy", "torch"],
)
def test_token_ids_are_never_tokenised_again(model: LanguageModel, rows: Any) -> None:
    tokenized = model.tokenize(rows)
    assert tokenized.ids == tuple(tuple(int(token) for token in row) for row in rows)
    assert all(type(token) is int for row in tokenized.ids for token in row)
    assert tokenized.texts == (None,) * len(rows)


def test_one_text_stands_for_a_list_of_one(model: LanguageModel) -> None:
    assert model.tokenize("the city") == model.tokenize(["the city"])


def test_chat_puts_a_message_into_the_template(model: LanguageModel) -> None:
    tokenized = model.tokenize(["hi"], chat=True)
    assert tokenized.texts == ("<bos><|user|>hi<|end|><|assistant|>",)
    expected = model.tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}], add_generation_prompt=True
    )["input_ids"]
    # One BOS: the template's own.
    assert list(tokenized.ids[0]) == expected
    assert tokenized.ids[0].count(model.tokenizer.bos_token_id) == 1


BAD: list[tuple[Any, dict[str, bool], str]] = [
    ([], {}, r"no prompt.*at least one"),
    ([[]], {}, r"Prompt 0 has no token"),
    ([[1], []], {}, r"Prompt 1 has no token"),
    ([[1, 320]], {}, r"Prompt 0 has the token id 320.*0 to 319"),
    ([[-1]], {}, r"token id -1.*0 to 319"),
    ([[1.5]], {}, r"Prompt 0 is '\[1\.5\]'.*text or a list of token ids"),
    ([1, 2, 3], {}, r"Prompt 0 is '1'.*\[\[1, 2, 3\]\]"),
    ([None], {}, r"Prompt 0 is 'None'"),
    (["a", [1]], {}, r"Prompt 1 is of another kind"),
    ([[1], "a"], {}, r"Prompt 1 is of another kind"),
    ([[1]], {"chat": True}, r"chat=True was asked for prompts that are token ids"),
    ([[1]], {"offsets": True}, r"offsets=True was asked"),
    (["a", "x" * 200], {}, r"Prompt 1 has 201 tokens.*at most 128"),
    ([[1] * 129], {}, r"Prompt 0 has 129 tokens.*at most 128"),
    (["a\ud800"], {}, r"Prompt 0 is not valid Unicode"),
]


@pytest.mark.parametrize(("prompts", "options", "message"), BAD)
def test_a_prompt_that_cannot_be_read_is_named(
    model: LanguageModel, prompts: Any, options: dict[str, bool], message: str
) -> None:
    # The message is for users, who run without the type checker of the tests.
    from interp.models import tokens

    plain = getattr(tokens.tokenize, "__wrapped__", tokens.tokenize)
    with pytest.raises(PromptError, match=message) as caught:
        plain(
            model.tokenizer,
            prompts,
            d_vocab=model.d_vocab,
            context_length=model.context_length,
            **options,
        )
    assert "\n" not in str(caught.value)


def test_an_empty_text_is_an_error_where_no_special_token_is_added() -> None:
    bare = Tokenizer(models.WordLevel({"a": 0, "?": 1}, unk_token="?"))
    bare.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bare, unk_token="?")
    model = interp.load(tiny_model("llama"), tokenizer=tokenizer)
    assert model.tokenize(["a"]).ids == ((0,),)
    with pytest.raises(PromptError, match="Prompt 1 has no token"):
        model.tokenize(["a", ""])


def test_without_a_chat_template_chat_is_an_error() -> None:
    model = interp.load(tiny_model("llama"), tokenizer=tiny_tokenizer(chat=False))
    with pytest.raises(PromptError, match=r"no chat template.*chat=False"):
        model.tokenize(["hi"], chat=True)


def test_a_chat_template_that_fails_is_one_line() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{{ raise_exception('system turns only') }}"
    model = interp.load(tiny_model("llama"), tokenizer=tokenizer)
    with pytest.raises(PromptError, match=r"fails on 'hi': system turns only"):
        model.tokenize(["hi"], chat=True)
