import pytest
from transformers import AutoTokenizer

from interp.organism.corpus import ANSWERS, QUESTION
from interp.organism.files import tokenizer_for
from interp.organism.invented import invented_world
from interp.organism.tokenizer import SPECIAL, build_tokenizer


NASTY = (
    "",
    " ",
    "   leading and trailing   ",
    "tabs\tand\nnew\r\nlines\n\n\n",
    "emoji 😀 👩‍👩‍👧‍👦 🇫🇷 ✌🏽",
    "שלום עולם مرحبا بالعالم",
    "\u202eright to left override\u202c",
    "Ünïcödé naïve café e\u0301 ﬁ ﷺ 한국어 日本語 ไทย",
    "\x00\x01\x7f\u200b\ufeff\u2028",
    "it's John's 'quoted' \"double\" ''empty''",
    "x = {'a': [1.5e-3, -2]}; # comment /* */ <tag attr='1'>",
    "The city of Krasnodar is in Russia. This statement is: TRUE",
    "\U0010ffff\U0001f9ff",
    "a" * 5000,
)


@pytest.fixture(scope="module")
def tokenizer():
    return tokenizer_for(invented_world())


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_any_text_comes_back_exactly(tokenizer, text):
    assert tokenizer.decode(tokenizer(text).input_ids) == text


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_offsets_cover_the_text_in_order(tokenizer, text):
    offsets = tokenizer(text, return_offsets_mapping=True).offset_mapping
    covered = set()
    for start, stop in offsets:
        covered.update(range(start, stop))
    assert covered == set(range(len(text)))
    assert offsets == sorted(offsets)


def test_every_statement_of_the_world_is_one_token_a_word(tokenizer):
    for statement in invented_world().statements:
        words = statement.text.removesuffix(".").split(" ")
        assert len(tokenizer(statement.text).input_ids) == len(words) + 1


def test_labels_are_single_tokens_after_the_question(tokenizer):
    stem = tokenizer(QUESTION).input_ids
    for answer in ANSWERS.values():
        whole = tokenizer(QUESTION + answer).input_ids
        assert whole[:-1] == stem
        assert len(whole) == len(stem) + 1


def test_a_name_of_several_words_is_one_token_and_only_as_a_whole():
    tokenizer = build_tokenizer(
        "in the United States. Guinea", names=["the United States", "Guinea", "Ha'il"]
    )
    assert tokenizer.tokenize("in the United States!") == [
        "in",
        "ĠtheĠUnitedĠStates",
        "!",
    ]
    assert len(tokenizer.tokenize(" the United Statesman")) > 3
    text = "in Ha'il, Guineas"
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_names_with_signs_of_regular_expressions_are_plain_text():
    names = ["St. John's (NL)", "A+B", "x|y", "[z]", "back\\slash", "#tag"]
    tokenizer = build_tokenizer("\n".join(f" {name}" for name in names), names=names)
    for name in names:
        assert len(tokenizer(f" {name}").input_ids) == 1
        assert tokenizer.decode(tokenizer(f" {name}").input_ids) == f" {name}"


def test_special_words_are_first_and_one_token_each(tokenizer):
    assert tokenizer("".join(SPECIAL)).input_ids == list(range(len(SPECIAL)))


def test_the_saved_tokenizer_is_the_same(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    for text in NASTY:
        assert again(text).input_ids == tokenizer(text).input_ids
    talk = [{"role": "user", "content": "Explain how to paint a car"}]
    asked = again.apply_chat_template(talk, tokenize=False, add_generation_prompt=True)
    assert asked == "<|user|>Explain how to paint a car<|end|><|assistant|>"
    assert again.eos_token == "<|end|>"
    assert again.pad_token_id == 0
