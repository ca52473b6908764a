"""What the choice needs of a grid of scores, against the choice with all of it."""

from collections import Counter
from typing import Any

import numpy as np

from interp.directions.selection import TOP, SelectionRule, select
from probes.studies.refusal.grid_scores import (
    SCORES,
    GridScores,
    gap_reasons,
    unscored,
    with_all,
    with_needed,
    without_ablation,
)


POSITIONS = (-1, -3, -2)


class Table:
    """Scores made by hand, which counts what it is asked for."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        n_layers = int(self.rng.integers(1, 12))
        self.places = [(s, at) for s in range(len(POSITIONS)) for at in range(n_layers)]
        n, few = len(self.places), int(self.rng.integers(1, 4))
        shapes = {"bypass": few + 1, "induce": few, "kl": few}
        # Coarse steps: many ties, and values that lie on the limits.
        self.values = {
            score: self.rng.integers(-2, 3, (n, shapes[score])).astype(float) / 2
            for score in SCORES
        }
        self.values["kl"] = abs(self.values["kl"])
        for score in SCORES:
            self.values[score][self.rng.random(n) < 0.1] = np.nan
        self.live = [row for row in range(n) if self.rng.random() < 0.9]
        self.asked: Counter[str] = Counter()
        self.rule = SelectionRule(
            n_layers=n_layers,
            max_kl=float(self.rng.choice([0.0, 0.5, np.inf])),
            min_induce=float(self.rng.choice([-1.0, 0.0, 0.5])),
            max_bypass=[None, 0.0, 1.0][self.rng.integers(3)],
        )

    def empty(self) -> GridScores:
        few = self.values["kl"].shape[1]
        return unscored(
            self.places, clean_harmful=np.ones(few + 1), clean_harmless=np.ones(few)
        )

    def scorers(self, score: str) -> Any:
        def scorer(rows: Any) -> np.ndarray:
            assert not len(rows) > len(set(rows))
            self.asked[score] += len(rows)
            return self.values[score][list(rows)]

        return scorer

    def selected(self, scores: GridScores, rule: SelectionRule) -> Any:
        slots, layers = np.array(self.places).T
        reasons = list(gap_reasons(scores, rule=rule))
        table = {
            "position": np.array(POSITIONS)[slots],
            "layer": layers,
            **{score: scores.means(score) for score in SCORES},
            "reason": [r if i in self.live else "dead" for i, r in enumerate(reasons)],
        }
        return select(
            table,
            n_layers=rule.n_layers,
            max_kl=rule.max_kl,
            min_induce=rule.min_induce,
            max_bypass=rule.max_bypass,
        )

    def needed(self, known: GridScores, rule: SelectionRule) -> GridScores:
        return with_needed(
            known, self.scorers, live=self.live, positions=POSITIONS, rule=rule
        )


def test_needed_scores_choose_the_same_candidates_in_the_same_order():
    for seed in range(80):
        table = Table(seed)
        whole = with_all(table.empty(), table.scorers, live=table.live)
        of_all, table.asked = table.asked.copy(), Counter()
        some = table.needed(table.empty(), table.rule)
        right, found = (table.selected(s, table.rule) for s in (whole, some))
        assert found.top == right.top, seed
        assert found.chosen == right.chosen
        for score in SCORES:
            assert table.asked[score] <= of_all[score]
            held = some.is_scored[SCORES.index(score)]
            np.testing.assert_array_equal(
                getattr(some, score)[held], table.values[score][held]
            )
            assert np.isnan(getattr(some, score)[~held]).all()
        # Whoever lacks a score falls, and it is said which one is missing.
        for row in table.live:
            if some.lacks(row):
                assert found.reasons[row], seed
                held = {*SCORES} - {*some.lacks(row)}
                means = [table.values[score][row].mean() for score in held]
                is_number = np.isfinite(means).all()
                assert ("not computed" in found.reasons[row]) or not is_number


def test_another_rule_goes_on_from_what_is_known():
    """As the lenient rule does after the published one."""
    for seed in range(25):
        table = Table(seed)
        strict = SelectionRule(n_layers=table.rule.n_layers, max_kl=0.0, min_induce=1.0)
        known = table.needed(table.empty(), strict)
        before = table.asked.copy()
        again = table.needed(known, table.rule)
        fresh = table.needed(table.empty(), table.rule)
        whole = with_all(table.empty(), table.scorers, live=table.live)
        right = table.selected(whole, table.rule)
        assert table.selected(again, table.rule).top == right.top
        assert (again.is_scored >= known.is_scored).all()
        assert (again.is_scored >= fresh.is_scored).all()
        table.asked = before
        assert table.needed(again, table.rule).is_scored.sum() == again.is_scored.sum()
        assert table.asked == before


def test_kl_is_computed_in_the_order_of_bypass_until_enough_have_passed():
    table = Table(0)
    n = 12
    table.places = [(0, layer) for layer in range(n)]
    table.live = list(range(n))
    bypass = np.array([9, 3, 8, 1, 2, 7, 5, 4, 6, -1, 20, 30], float)
    table.values = {
        "bypass": bypass[:, None],
        "induce": np.where(np.arange(n) == 1, -1.0, 1.0)[:, None],
        "kl": np.where(np.arange(n) == 3, 0.5, 0.0)[:, None],
    }
    rule = SelectionRule(n_layers=n, max_bypass=8.5)
    empty = unscored(table.places, clean_harmful=np.ones(1), clean_harmless=np.ones(1))
    some = table.needed(empty, rule)
    assert table.asked == {"induce": 9, "bypass": 8, "kl": TOP + 1}
    reasons = gap_reasons(some, rule=rule)
    assert (
        reasons[9] == "in the last layers (from 9 on); bypass, induce, KL not computed"
    )
    assert reasons[1] == "does not induce refusal when added; bypass, KL not computed"
    assert reasons[0] == "does not lower refusal when ablated; KL not computed"
    assert reasons[2] == "5 with a lower bypass passed; KL not computed"
    assert reasons[3] == ""
    found = table.selected(some, rule)
    assert found.top == (4, 7, 6, 8, 5)
    assert found.reasons[3] == "changes harmless answers when ablated"
    plain = without_ablation(some)
    assert plain.lacks(3) == ("bypass", "kl")
    assert plain.lacks(9) == SCORES
