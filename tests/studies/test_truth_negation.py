"""Statements are paired with their negations, and never split from them."""

from dataclasses import replace

import numpy as np
import pytest
from organism_fixtures import SHARED

import interp
from interp.data import join, split_by_group
from probes.studies.truthfulness.negation import (
    content,
    negation_of,
    with_negations_together,
)


STATEMENTS = SHARED / "data" / "statements"


@pytest.fixture
def write(tmp_path):
    def written(rows, name="s.csv"):
        (tmp_path / name).write_text("\n".join(["statement,label", *rows]) + "\n")
        return interp.data.statements(tmp_path / name)

    return written


def test_a_statement_and_its_negation_are_a_pair(write):
    held = write(
        [
            "Tin has the symbol Sn.,1",
            "Rome is in Peru.,0",
            "Rome isn't in Peru.,1",
            "Tin does not have the symbol Sn.,0",
            "Lead has the symbol Pb.,1",
        ]
    )
    found = negation_of(held)
    pairs = {tuple(held.prompts[i] for i in pair) for pair in found.pairs}
    assert pairs == {
        ("Tin has the symbol Sn.", "Tin does not have the symbol Sn."),
        ("Rome is in Peru.", "Rome isn't in Peru."),
    }
    assert found.affirmative is not None
    assert found.affirmative.tolist() == [True, True, False, False, True]
    assert [held.prompts[i] for i in found.alone] == ["Lead has the symbol Pb."]


def test_two_statements_of_one_label_are_no_pair(write):
    held = write(["Rome is in Italy.,1", "Rome is not in Italy.,1", "It is hot.,0"])
    assert len(negation_of(held).pairs) == 0
    assert len(negation_of(held).alone) == 0


def test_without_pairs_a_not_alone_says_nothing_of_polarity(write):
    held = write(["Rome is in Italy.,1", "Oslo is not in Peru.,1", "It is hot.,0"])
    assert negation_of(held).affirmative is None


def test_a_polarity_column_is_believed(write):
    held = write(["Rome is in Italy.,1", "Oslo is outside Peru.,1", "It is hot.,0"])
    held = replace(held, polarity=np.array([1, -1, 1], dtype=np.int8))
    affirmative = negation_of(held).affirmative
    assert affirmative is not None
    assert affirmative.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("He lived in Rome.", "He did not live in Rome."),
        ("'uno' means 'one'.", "'uno' does not mean 'one'."),
        ("It protects us.", "It doesn't protect us."),
        ("Cats can fly.", "Cats cannot fly."),
    ],
)
def test_content_is_that_without_the_negation(one, other):
    assert content(one) == content(other)


def test_other_words_are_other_content():
    assert content("He lived in Rome.") != content("He did not live in Oslo.")


def test_groups_of_a_pair_become_one_and_so_stay_in_one_split(write):
    rows = []
    for i in range(30):
        rows += [f"Thing{i} holds water.,{i % 2}", f"Thing{i} isn't red.,{i % 2}"]
        rows += [f"Thing{i} does not hold water.,{1 - i % 2}"]
    held = write(rows)
    # The words before the verb tell "holds" from "does not hold".
    first, second = (negation_of(held).pairs[0][side] for side in (0, 1))
    assert held.groups[first] != held.groups[second]
    whole = with_negations_together(held)
    for one, other in negation_of(whole).pairs:
        assert whole.groups[one] == whole.groups[other]
    splits = split_by_group(whole.groups, whole.labels)
    for part in (splits.train, splits.val, splits.test):
        inside = set(part.tolist())
        for one, other in negation_of(whole).pairs:
            assert (one in inside) == (other in inside)


@pytest.mark.skipif(not STATEMENTS.is_dir(), reason="needs ../shared")
@pytest.mark.parametrize(
    ("name", "share"),
    [("cities", 1.0), ("element_symb", 1.0), ("sp_en_trans", 0.99), ("facts", 0.89)],
)
def test_published_negations_find_their_statements(name, share):
    parts = [
        interp.data.statements(STATEMENTS / f"{prefix}{name}.csv")
        for prefix in ("", "neg_")
    ]
    found = negation_of(join(parts))
    assert len(found.pairs) >= share * len(parts[1])
