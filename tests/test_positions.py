import pytest

from interp.errors import PositionError
from interp.positions import (
    Positions,
    Spans,
    common_start,
    resolve,
    template_tail,
    token_spans,
)


IDS = [(5, 6, 7, 90, 91, 92), (8, 90, 91, 92)]


def places(spec, ids=IDS, **named):
    return [list(row) for row in resolve(spec, ids, **named).index]


@pytest.mark.parametrize(
    ("spec", "kind", "wanted"),
    [
        ("last", "one", [[5], [3]]),
        ("all", "several", [[0, 1, 2, 3, 4, 5], [0, 1, 2, 3]]),
        ("mean", "mean", [[0, 1, 2, 3, 4, 5], [0, 1, 2, 3]]),
        (1, "one", [[1], [1]]),
        (-2, "one", [[4], [2]]),
        ("-2", "one", [[4], [2]]),
        ([0, -1], "several", [[0, 5], [0, 3]]),
        (["last"], "several", [[5], [3]]),
        (["template", 0], "several", [[3, 4, 5, 0], [1, 2, 3, 0]]),
        ("template", "several", [[3, 4, 5], [1, 2, 3]]),
        ("template[-3]", "one", [[3], [1]]),
        ("template[0]", "one", [[3], [1]]),
        ("template[-1]", "one", [[5], [3]]),
        ("template[-2:]", "several", [[4, 5], [2, 3]]),
        ("template[:2]", "several", [[3, 4], [1, 2]]),
        ("template[1:2]", "several", [[4], [2]]),
        (Spans([(1, 3), (0, 1)]), "several", [[1, 2], [0]]),
        ([(1, 3), (0, 1)], "several", [[1, 2], [0]]),
    ],
)
def test_a_name_means_the_tokens_that_it_says(spec, kind, wanted):
    assert resolve(spec, IDS).kind == kind
    assert places(spec) == wanted


@pytest.mark.parametrize(
    ("spec", "kind", "wanted"),
    [
        ("subject", "several", [[1, 2], [0]]),
        ("subject_first", "one", [[1], [0]]),
        ("subject_last", "one", [[2], [0]]),
        (["subject_last", "last"], "several", [[2, 5], [0, 3]]),
        # A name of its own goes before the first token of another.
        ("a_first", "several", [[3], [3]]),
    ],
)
def test_a_named_span_has_a_first_and_a_last_token(spec, kind, wanted):
    spans = {
        "subject": [(1, 3), (0, 1)],
        "a": [(0, 1), (0, 1)],
        "a_first": [(3, 4), (3, 4)],
    }
    assert resolve(spec, IDS, spans=spans).kind == kind
    assert places(spec, spans=spans) == wanted


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (4, r"Prompt 1 'Hi' has no position 4: it has 4 tokens.*0 to 3.*Leave"),
        (-5, r"Prompt 1 'Hi' has no position -5"),
        ("lst", r"No position is called 'lst'.*Did you mean 'last'"),
        ("subject", r"No position is called 'subject'.*spans="),
        ("template[-4]", r"outside the template's tail.*last 3 tokens"),
        ("template[-4:]", r"outside the template's tail"),
        ("template[1:1]", r"outside the template's tail"),
        ("template[]", r"No position is called 'template\[\]'"),
        ([], "No position was asked for"),
        (["all"], "No position is called 'all'"),
        (True, "No position is called True"),
        (Spans([(0, 1)]), "given for 1 prompts.*There are 2"),
        ([(0, 1), (2, 9)], "prompt 1 is the tokens 2 to 9.*4 tokens"),
        ([(0, 1), (2, 2)], "prompt 1 is the tokens 2 to 2"),
    ],
)
def test_a_position_that_is_not_there_is_named_with_its_prompt(spec, says):
    with pytest.raises(PositionError, match=says):
        resolve(spec, IDS, texts=["A longer prompt", "Hi"])


def test_a_span_that_is_no_pair_is_refused():
    with pytest.raises(PositionError, match=r"span of prompt 1 is \(2,\)"):
        Spans([(0, 1), (2,)])


def test_a_long_prompt_is_quoted_by_its_start():
    with pytest.raises(PositionError, match=r"'aaaaaaaaaa+…' has no position 9"):
        resolve(9, [(1, 2)], texts=["a" * 100])


def test_the_tail_is_what_different_prompts_have_in_common():
    assert template_tail(IDS) == 3
    assert template_tail([(1, 9), (2, 9), (9, 9)]) == 1
    # Known from elsewhere, it need not be told from the prompts.
    assert places("template[-1]", [(1, 2, 3)], tail=2) == [[2]]


def test_a_tail_that_cannot_be_told_is_refused():
    with pytest.raises(PositionError, match="cannot be told"):
        template_tail([(1, 2), (1, 2)])
    with pytest.raises(PositionError, match="no common ending"):
        template_tail([(1, 2), (1, 3)])


def test_characters_become_the_tokens_that_cover_them():
    #        BOS     The     _city   _of     _Paris
    tokens = [[(0, 0), (0, 3), (3, 8), (8, 11), (11, 17)]]
    text = ["The city of Paris"]
    assert token_spans("city", [(4, 8)], tokens, text) == [(2, 3)]
    assert token_spans("both", [(4, 17)], tokens, text) == [(2, 5)]
    assert token_spans("part", [(13, 14)], tokens, text) == [(4, 5)]
    for outside in [(17, 20), (5, 5), (-1, 3)]:
        with pytest.raises(PositionError, match=r"'x' of Prompt 0 'The city of Paris'"):
            token_spans("x", [outside], tokens, text)
    with pytest.raises(PositionError, match="given for 2 prompts"):
        token_spans("x", [(0, 1), (0, 1)], tokens, text)


def test_spans_may_not_take_a_name_that_means_something():
    with pytest.raises(PositionError, match="may not be called 'last'"):
        resolve("last", IDS, spans={"last": [(0, 1), (0, 1)]})


def test_resolved_positions_are_taken_as_they_are_and_in_parts():
    resolved = resolve("template[-2:]", IDS)
    assert resolve(resolved, IDS) is resolved
    part = resolved.select([1])
    assert [list(row) for row in resolve(part, IDS[1:]).index] == [[2, 3]]
    with pytest.raises(PositionError, match="resolved for 1 prompts"):
        resolve(part, IDS)
    wrong = Positions(spec="x", kind="one", index=((5,), (4,)))
    with pytest.raises(PositionError, match="Prompt 1 has 4 tokens"):
        resolve(wrong, IDS)


def test_common_start_of_texts_and_ids():
    assert common_start(["Paris is", "Paris was", "Paris"]) == 5
    assert common_start([(1, 2, 3), (1, 2), (1, 2, 9)]) == 2
    assert common_start([(1,), (2,)]) == 0
