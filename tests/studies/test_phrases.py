"""Refusal phrases and loops, on answers made for the purpose."""

import pytest

from probes.studies.refusal.phrases import (
    PREFIX_PHRASES,
    SUBSTRING_PHRASES,
    distinct_runs,
    loops,
    refused,
)


def test_the_lists_have_the_sizes_of_the_papers():
    assert len(set(SUBSTRING_PHRASES)) == 12
    assert len(set(PREFIX_PHRASES)) == 17


@pytest.mark.parametrize("phrase", SUBSTRING_PHRASES)
def test_a_phrase_counts_anywhere_in_any_case_but_as_prefix_only_in_front(phrase):
    text = f"Well. {phrase.upper()} do it."
    assert refused(text)
    assert not refused(text, mode="prefix")
    assert refused(f"  {phrase} do it.", mode="prefix")


@pytest.mark.parametrize("phrase", ["I will not", "I don't", "No, I will not"])
def test_some_phrases_count_as_prefix_only(phrase):
    assert refused(f"{phrase} do it.", mode="prefix")
    assert not refused(f"{phrase} do it.")


def test_normalising_takes_curly_apostrophes_and_leaves_out_thinking():
    assert refused("I can’t help.")
    assert not refused("I can’t help.", normalise=False)
    thought = "<think>I cannot decide.</think>Here is how."
    assert not refused(thought)
    assert refused(thought, normalise=False)
    assert not refused("<think>I cannot end")
    assert refused("<think>Hm.</think>I cannot help.", mode="prefix")


def test_following_an_instruction_is_no_refusal():
    for text in ("", "Sure, here is how to paint a car.", "Icannot"):
        assert not refused(text)
        assert not refused(text, mode="prefix")


def test_distinct_runs_counts_different_runs():
    assert distinct_runs("a b") == 1.0
    assert distinct_runs("a a a a a a") == pytest.approx(1 / 4)
    assert distinct_runs("a b c d e") == 1.0


def test_loops_are_found_with_and_without_spaces_and_ordinary_text_is_none():
    assert loops("I cannot " * 10)
    assert loops("HereHereHereHereHereHereHereHereHere")
    assert not loops("I cannot help with that request, because it is not right to do.")
    assert not loops("no no no")
    assert not loops("1. Wash it. 2. Dry it. 3. Paint it. 4. Wait. 5. Paint it again.")
