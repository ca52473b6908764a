"""Pairs differ in their subject only; the same seed gives the same bytes."""

import hashlib

import pytest
from organism_fixtures import SHARED
from pairing_samples import Tokens, characters, towns, words, written

import interp
from interp.data import pair_statements
from interp.data.pairing_tokens import align, encode
from interp.errors import ConfigError, DataError, PromptError


ASK = " This statement is:"


def ranked(seed, texts):
    return sorted(
        texts, key=lambda t: hashlib.sha256(f"{seed}\n{t}".encode()).hexdigest()
    )


def by_hand(statements, seed):
    """The prompts of a file of towns, made from the description alone."""
    truth = dict(zip(statements.prompts, statements.labels.tolist(), strict=True))
    town = {text: text.split()[3] for text in truth}
    land = {text: text.split()[6] for text in truth}
    order = ranked(seed, truth)
    shown = []
    for text in order:
        fresh = town[text] not in [town[one] for one in shown]
        if fresh and sum(truth[one] == truth[text] for one in shown) < 2:
            shown.append(text)
    head = "".join(f"{t}{ASK} {str(truth[t]).upper()}\n" for t in shown)
    cells = {}
    for text in order:
        if town[text] not in [town[one] for one in shown]:
            # One token per character: towns pair with towns of their own length.
            cell = cells.setdefault((land[text], len(town[text])), ([], []))
            cell[not truth[text]].append(text)
    pairs = [pair for true, false in cells.values() for pair in zip(true, false)]  # noqa: B905
    pairs.sort(key=lambda pair: order.index(pair[0]))
    return [tuple(f"{head}{text}{ASK} " for text in pair) for pair in pairs]


@pytest.mark.parametrize("seed", [0, 1, 20_000])
def test_prompts_are_byte_for_byte_what_the_description_says(tmp_path, seed):
    statements = towns(tmp_path)
    found = pair_statements(statements, characters, seed=seed)
    # " TRUE" and " FALSE" share their first token here, which the prompt includes.
    prompts = [
        tuple("".join(map(chr, one.ids[1:])) for one in (pair.clean, pair.corrupted))
        for pair in found.pairs
    ]
    assert len(prompts) >= 3
    assert prompts == by_hand(statements, seed)
    assert found.labels is not None
    assert (found.labels.true_text, found.labels.false_text) == ("T", "F")


def test_prompts_have_the_bytes_they_always_had(tmp_path):
    found = pair_statements(towns(tmp_path), words(), seed=3)
    texts = [
        text for pair in found.pairs for text in (pair.clean.text, pair.corrupted.text)
    ]
    digest = hashlib.sha256("\0".join(texts).encode()).hexdigest()
    assert digest == "d1356d7191d4e3b156c3c7fd1ad59cb8794675d6d8248dd57e9d0744326bcf5e"


def test_the_order_of_rows_does_not_matter(tmp_path):
    statements = towns(tmp_path)
    turned = statements.take(range(len(statements) - 1, -1, -1))
    assert pair_statements(statements, words()) == pair_statements(turned, words())


def test_pairs_share_everything_but_the_subject(tmp_path):
    statements = towns(tmp_path)
    truth = dict(zip(statements.prompts, statements.labels.tolist(), strict=True))
    found = pair_statements(statements, characters)
    for pair in found.pairs:
        assert truth[pair.true]
        assert not truth[pair.false]
        assert pair.clean.around == pair.corrupted.around
        assert pair.clean.roles == pair.corrupted.roles
        differs = {
            role.partition("[")[0]
            for a, b, role in zip(
                pair.clean.ids[pair.clean.start :],
                pair.corrupted.ids[pair.clean.start :],
                pair.clean.roles,
                strict=True,
            )
            if a != b
        }
        assert differs == {"subject"}


def test_what_the_rules_cost_adds_up(tmp_path):
    statements = towns(tmp_path)
    for n_pairs in (None, 2):
        found = pair_statements(statements, words(), n_pairs=n_pairs)
        lost = sum(one.statements for one in found.dropped)
        texts = [text for one in found.dropped for text in one.texts]
        texts += [text for pair in found.pairs for text in (pair.true, pair.false)]
        assert sorted(texts) == sorted(statements.prompts)
        assert lost + 2 * len(found) == found.total == len(statements)
    assert len(found) == 2
    assert "more pairs than were asked for" in {one.rule for one in found.dropped}


def test_each_rule_counts_what_it_cost(tmp_path):
    shown = [f"The city of Shown{i} is in Land{i}.,{i % 2}" for i in range(4)]
    rows = [
        "The city of Aaa is in Peru.,1",
        "The city of Bbb is in Peru.,0",
        "The city of Ccc is in Peru.,0",  # no true one is left for it
        "The city of New Xy is in Peru.,0",  # two words, no true one has two
        "The city of Ddd is in Chad.,1",  # nothing false is in Chad
        "Ddd lies in Chad.,1",  # another wording
    ]
    statements = written(tmp_path, "cities.csv", [*shown, *rows])
    # Only the made-up demonstrations are about subjects of their own label's rank.
    seed = next(
        seed
        for seed in range(10_000)
        if all("Shown" in text for text in ranked(seed, statements.prompts)[:4])
    )
    found = pair_statements(statements, words(), seed=seed)
    assert {one.rule: one.statements for one in found.dropped} == {
        "no template fits": 1,
        "shown, or about a subject that is shown": 4,
        "no statement of the other label with this object and wording": 1,
        "no partner with as many tokens": 1,
        "no partner left": 1,
    }
    listed = {one.rule: one.texts for one in found.dropped}
    assert listed["no template fits"] == ("Ddd lies in Chad.",)
    assert listed["no partner with as many tokens"] == (
        "The city of New Xy is in Peru.",
    )
    (left,) = listed["no partner left"]
    used = {text for pair in found.pairs for text in (pair.true, pair.false)}
    assert left not in used
    assert left.startswith(("The city of Bbb", "The city of Ccc"))
    assert [pair.true for pair in found.pairs] == ["The city of Aaa is in Peru."]
    again = pair_statements(statements, words(), seed=seed, reuse=True)
    assert len(again) == 1


def test_a_false_partner_is_used_once_unless_asked_otherwise(tmp_path):
    shown = [f"The city of Shown{i} is in Land{i}.,{i % 2}" for i in range(4)]
    rows = [f"The city of T{i} is in Peru.,1" for i in range(5)]
    rows += ["The city of False is in Peru.,0", "The city of Wrong is in Peru.,0"]
    statements = written(tmp_path, "cities.csv", [*shown, *rows])
    seed = next(
        seed
        for seed in range(100_000)
        if all("Shown" in text for text in ranked(seed, statements.prompts)[:4])
    )
    once = pair_statements(statements, words(), seed=seed)
    assert len({pair.false for pair in once.pairs}) == len(once) == 2
    often = pair_statements(statements, words(), seed=seed, reuse=True)
    assert len({pair.true for pair in often.pairs}) == len(often) == 5
    assert len({pair.false for pair in often.pairs}) == 2


def test_demonstrations_are_shared_and_never_queried(tmp_path):
    found = pair_statements(towns(tmp_path), words())
    ((_, shown),) = found.shown
    assert shown.count(": TRUE\n") == shown.count(": FALSE\n") == 2
    for pair in found.pairs:
        for prompt, text in ((pair.clean, pair.true), (pair.corrupted, pair.false)):
            assert prompt.text == shown + text + ASK
            assert text.split()[3] not in shown


def test_without_a_question_statements_end_before_their_object(tmp_path):
    found = pair_statements(towns(tmp_path), words(), question=False)
    assert found.labels is None
    ((_, shown),) = found.shown
    assert shown.count("\n") == 4
    assert "statement" not in shown
    truth = dict(zip(*_columns(towns(tmp_path)), strict=True))
    assert all(truth[line] for line in shown.splitlines())
    for pair in found.pairs:
        assert pair.clean.text.endswith(" is in")
        kinds = {role.partition("[")[0] for role in pair.clean.roles}
        assert kinds == {"before", "subject", "between", "last"}


def _columns(statements):
    return statements.prompts, statements.labels.tolist()


def test_free_form_rows_are_pairs_if_they_have_as_many_tokens(tmp_path):
    rows = ["Czech is a language.,1", "Czech is not a language.,0"]
    for i in range(8):
        rows += [
            f"Film{i} is a good German film.,1",
            f"Film{i} is a bad French film.,0",
        ]
    statements = written(tmp_path, "tulu_extracted.csv", rows)
    found = pair_statements(statements, words())
    assert all(pair.true.split()[0] == pair.false.split()[0] for pair in found.pairs)
    assert not any("Czech" in pair.true for pair in found.pairs)
    roles = found.pairs[0].clean.roles
    assert roles == (
        *("before[0]", "before[1]", "before[2]", "subject[0]", "subject[1]"),
        *("after[0]", "after[1]", "question[0]", "question[1]", "question[2]", "last"),
    )
    with pytest.raises(ConfigError, match="cannot be cut before their object"):
        pair_statements(statements, words(), question=False)


def test_columns_of_a_file_say_what_its_subject_is(tmp_path):
    rows = [
        f"Word{i} stands for {thing}.,{(i + j) % 2},Word{i},{thing}"
        for i in range(12)
        for j, thing in enumerate(("tea", "tin"))
    ]
    head = "statement,label,subject,object"
    found = pair_statements(written(tmp_path, "own.csv", rows, head), words())
    assert found.pairs[0].clean.roles[:3] == ("subject[0]", "between[0]", "between[1]")


def test_a_token_that_touches_a_field_belongs_to_it():
    # "'", "rey'" and " means" of the statement "'rey' means x."
    offsets = [(0, 3), (3, 4), (4, 8), (8, 14), (14, 16), (16, 17), (17, 20), (20, 21)]
    start, roles = align(offsets, begins=3, length=14, subject=(1, 4), object=(12, 13))
    assert start == 1
    assert roles == (
        *("before[0]", "subject[0]", "between[0]", "object[0]", "after[0]"),
        *("question[0]", "last"),
    )


def test_bytes_of_one_character_all_belong_to_it():
    # Some tokenizers cut a character into tokens that cover nothing but its start.
    offsets = [(0, 1), (0, 0), (1, 1), (1, 2), (2, 4)]
    _, roles = align(offsets, begins=0, length=2, subject=(1, 2), object=None)
    assert roles == ("before[0]", "before[1]", "subject[0]", "subject[1]", "last")


def test_labels_must_differ_in_tokens_and_be_the_same_everywhere():
    def blind(texts):
        return Tokens(
            ids=tuple((1, 2) for _ in texts), offsets=(((0, 1), (1, 2)),) * len(texts)
        )

    with pytest.raises(PromptError, match="is the beginning of the other"):
        encode(blind, ["Ab"], [None], shown="")

    def fickle(texts):
        base = characters(texts)
        ids = tuple((*row[:-4], 7 + len(row), *row[-3:]) for row in base.ids)
        return Tokens(ids=ids, offsets=base.offsets)

    with pytest.raises(PromptError, match="differ between prompts"):
        encode(fickle, ["Abc", "Abcd"], [None, None], shown="")
    without = lambda texts: Tokens(ids=characters(texts).ids, offsets=None)  # noqa: E731
    with pytest.raises(PromptError, match="no offsets"):
        encode(without, ["Ab"], [None], shown="")


def test_nothing_to_pair_is_told_with_what_the_rules_cost(tmp_path):
    rows = [f"Rain{i} is wet.,{i % 2}" for i in range(9)]
    statements = written(tmp_path, "rain.csv", rows)
    with pytest.raises(DataError, match="no template fits: 9") as caught:
        pair_statements(statements, words())
    assert "Give a template such as" in str(caught.value)
    with pytest.raises(DataError, match="too few statements for demonstrations"):
        pair_statements(statements.take(range(3)), words())


@pytest.mark.skipif(not SHARED.exists(), reason="the shared statements are not there")
def test_real_cities_keep_most_of_their_statements():
    statements = interp.data.statements(SHARED / "data" / "statements" / "cities.csv")
    found = pair_statements(statements.take(range(400)), words(), n_pairs=40)
    assert len(found) == 40
    assert not any(one.rule == "no template fits" for one in found.dropped)
