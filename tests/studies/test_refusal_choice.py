"""Which candidate is chosen, on tables of scores."""

from dataclasses import replace

import numpy as np
import pytest

from interp.results import RefusalCandidate
from probes.studies.refusal.direction import Rule, choose


RULE = Rule(max_bypass=5.0)


def candidate(layer: int, **scores: float) -> RefusalCandidate:
    usual = {"bypass": -2.0, "induce": 1.0, "kl": 0.01}
    return RefusalCandidate(
        model="post", layer=layer, position=-1, token="", fate="", **{**usual, **scores}
    )


def test_the_lowest_bypass_of_those_that_pass_is_chosen():
    rows = [
        candidate(0, bypass=-9.0, induce=-0.1),
        candidate(1, bypass=-8.0, kl=0.2),
        candidate(2, bypass=-3.0),
        candidate(3, bypass=-1.0),
    ]
    fates = [one.fate for one in choose(rows, RULE)]
    assert fates == [
        "does not induce refusal when added",
        "changes harmless answers when ablated",
        "chosen",
        "passed",
    ]


@pytest.mark.parametrize("score", ["bypass", "induce", "kl"])
def test_a_score_that_is_no_number_drops_a_candidate(score):
    (row,) = choose([candidate(0, **{score: np.nan})], RULE)
    assert row.fate == "a score is not a number"


def test_ablation_must_lower_the_refusal_score():
    (row,) = choose([candidate(0, bypass=5.0)], RULE)
    assert row.fate == "does not lower refusal when ablated"


def test_a_fate_is_kept_and_ties_go_to_the_earlier_layer():
    fallen = replace(candidate(0, bypass=-20.0), fate="in the last fifth of the layers")
    rows = choose([fallen, candidate(2), candidate(1)], RULE)
    assert [one.fate for one in rows] == [fallen.fate, "passed", "chosen"]


def test_none_may_be_chosen():
    rows = choose([candidate(0, induce=-1.0)], RULE)
    assert all(one.fate != "chosen" for one in rows)
    assert choose([], RULE) == ()
