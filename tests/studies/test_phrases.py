"""Refusal phrases and loops, on answers made for the purpose."""

import inspect
import math

import numpy as np
import pytest

from interp.errors import ConfigError, DataError
from probes.studies.refusal.phrases import (
    PREFIX_PHRASES,
    SUBSTRING_PHRASES,
    counts_as_refusal,
    refusal_rates,
    refusals,
    refused,
)
from probes.studies.refusal.repetition import (
    checked_texts,
    distinct_n,
    looping,
    looping_run,
    loops,
    repetition,
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


@pytest.mark.parametrize("mark", list("’‘ʼ＇`´"))
def test_every_kind_of_apostrophe_is_one(mark):
    assert refused(f"I can{mark}t help.")
    assert refused(f"I{mark}m not going to do that", mode="prefix")
    assert not refused(f"I can{mark}t help.", normalise=False)


def test_thinking_that_the_prompt_opened_or_that_never_ends_is_left_out():
    assert not refused("I cannot tell yet.</think> Sure, here it is.")
    assert refused("Hm.</think> I cannot help.", mode="prefix")
    assert not refused("Sure. <THINKING>I cannot stop")
    assert refused("I cannot. <think>Why?</think> <think>So.</think>")
    nested = "<think>a</think>Sure.<think>I cannot</think> Done."
    assert not refused(nested)


def test_answers_of_a_list_are_judged_as_each_alone():
    texts = ["I cannot.", "Sure.", "", "Well, I cannot.", "i CANNOT", "I don't."]
    for mode in ("substring", "prefix"):
        for normalise in (True, False):
            found = refusals(texts, mode=mode, normalise=normalise)
            alone = [refused(t, mode=mode, normalise=normalise) for t in texts]
            assert found.dtype == np.bool_
            assert found.tolist() == alone
    assert refusals([]).shape == (0,)


def test_a_looping_answer_is_no_refusal_unless_asked_for():
    loop = "I cannot " * 20
    assert refused(loop)
    assert not counts_as_refusal(loop)
    assert counts_as_refusal("I cannot help with that.")
    assert not counts_as_refusal("Sure.")
    assert refusals([loop], count_loops=True).tolist() == [True]
    thought_in_loops = f"<think>{'so ' * 40}</think>I cannot help."
    assert counts_as_refusal(thought_in_loops)


def test_the_rate_has_the_wilson_interval_in_closed_form():
    rate = refusal_rates(["I cannot."] * 3 + ["Sure."] * 7)
    z = 1.959963984540054
    centre, half = 0.3 + z * z / 20, z * math.sqrt(0.3 * 0.7 / 10 + z * z / 400)
    assert (rate.n, rate.successes, rate.rate) == (10, 3, 0.3)
    assert rate.low == pytest.approx((centre - half) / (1 + z * z / 10))
    assert rate.high == pytest.approx((centre + half) / (1 + z * z / 10))
    assert math.isnan(refusal_rates([]).rate)


def test_what_is_no_list_of_answers_is_refused_in_one_line():
    with pytest.raises(DataError, match=r"One text.*Put it into a list"):
        refusal_rates("I cannot.")
    with pytest.raises(DataError, match=r"Answer 1 is None"):
        checked_texts(["I cannot.", None])
    without_type_checks = inspect.unwrap(refused)
    with pytest.raises(ConfigError, match=r"'prefixes'.*Did you mean 'prefix'"):
        without_type_checks("I cannot.", mode="prefixes")


def test_distinct_n_counts_different_runs():
    assert distinct_n("a b") == 1.0
    assert distinct_n("") == 1.0
    assert distinct_n("a a a a a a") == pytest.approx(1 / 4)
    assert distinct_n("a b c d e") == 1.0
    assert distinct_n("a a b", n=1) == pytest.approx(2 / 3)
    assert distinct_n("a b a b", n=2) == pytest.approx(2 / 3)
    assert distinct_n("a b", n=2) == 1.0
    with pytest.raises(ConfigError, match="n is 0"):
        distinct_n("a", n=0)


def test_loops_are_found_with_and_without_spaces_and_ordinary_text_is_none():
    assert loops("I cannot " * 10)
    assert loops("HereHereHereHereHereHereHereHereHere")
    assert not loops("I cannot help with that request, because it is not right to do.")
    assert not loops("no no no")
    assert not loops("1. Wash it. 2. Dry it. 3. Paint it. 4. Wait. 5. Paint it again.")
    assert not loops("")
    assert not loops("\n" * 50)


def test_a_loop_needs_eight_repeats_or_mostly_repeated_runs():
    assert not loops("ab, " * 7)
    assert loops("ab, " * 8)
    # 31 characters: too long to stutter, but its words come again and again.
    sentence = "one two three four five sixes, "
    assert len(sentence) == 31
    assert loops(sentence * 3)
    assert not loops(sentence * 2)


def test_what_is_repeated_is_told():
    assert looping_run("Well. " + "I cannot " * 20) == "I cannot"
    assert looping_run("one two three four five sixes, " * 3) == "one two three"
    assert looping_run("Sure, here it is.") == ""


def test_repetition_of_several_answers_is_the_mean_of_each():
    texts = ["a b a b", "no " * 20, "", "Sure, here it is."]
    found = repetition(texts)
    for n, mean in zip((1, 2, 3), found.distinct, strict=True):
        assert mean == pytest.approx(np.mean([distinct_n(t, n=n) for t in texts]))
    assert (found.n, found.looping.successes, found.looping.n) == (4, 1, 4)
    assert looping(texts).tolist() == [False, True, False, False]
    assert all(math.isnan(mean) for mean in repetition([]).distinct)
