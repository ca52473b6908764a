"""Which candidate is chosen from a plain table of scores, why, and how surely."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from interp.directions import select, stability
from interp.errors import ConfigError, DataError, ShapeError


N_LAYERS = 10


def table(*rows: dict) -> pd.DataFrame:
    usual = {"position": -1, "layer": 3, "bypass": -2.0, "induce": 1.0, "kl": 0.01}
    return pd.DataFrame([{**usual, **row} for row in rows])


def published_choice(rows: pd.DataFrame, n_layers: int) -> int | None:
    """The published rule, as sentences one after the other."""
    left: Any = rows.dropna(subset=["bypass", "induce", "kl"])
    left = left[left["layer"] < int(0.8 * n_layers)]
    left = left[~(left["kl"] > 0.1)]
    left = left[~(left["induce"] < 0)]
    if left.empty:
        return None
    return int(left.sort_values(["bypass", "position", "layer"]).index[0])


def random_table(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame(
        [(p, layer) for p in range(-3, 0) for layer in range(N_LAYERS)],
        columns=["position", "layer"],
    )
    # Whole numbers, so that there are ties.
    rows["bypass"] = rng.integers(-3, 1, len(rows)).astype(float)
    rows["induce"] = rng.normal(size=len(rows))
    rows["kl"] = rng.exponential(0.1, len(rows))
    rows.loc[rng.random(len(rows)) < 0.1, "bypass"] = np.nan
    return rows.sample(frac=1, random_state=seed).reset_index(drop=True)


@pytest.mark.parametrize("seed", range(30))
def test_the_published_rule_is_followed(seed):
    rows = random_table(seed)
    found = select(rows, n_layers=N_LAYERS)
    assert found.chosen == published_choice(rows, N_LAYERS)
    passed = [i for i, reason in enumerate(found.reasons) if not reason]
    bypass = rows["bypass"].to_numpy()
    assert (
        list(found.top)
        == sorted(
            passed, key=lambda i: (bypass[i], rows["position"][i], rows["layer"][i])
        )[: len(found.top)]
    )


def test_each_fallen_candidate_has_its_reason():
    rows = table(
        {"bypass": -9.0, "induce": -0.1},
        {"bypass": -8.0, "kl": 0.1001},
        {"bypass": -7.0, "layer": 8},
        {"bypass": np.nan},
        {"bypass": -3.0, "kl": 0.1, "induce": 0.0, "layer": 7},
        {"bypass": -1.0},
    )
    found = select(rows, n_layers=N_LAYERS)
    assert found.reasons == (
        "does not induce refusal when added",
        "changes harmless answers when ablated",
        "in the last layers (from 8 on)",
        "a score is not a number",
        "",
        "",
    )
    assert found.chosen == 4
    assert found.top == (4, 5)
    assert found.table["rank"].tolist()[4:] == [1, 2]
    assert "Layer 7, position -1 was chosen of 6 candidates" in found.in_words()
    assert "1 does not induce refusal when added" in found.in_words()


def test_a_reason_that_the_table_gives_is_kept():
    rows = table({"bypass": -9.0, "reason": "no length"}, {"reason": ""})
    found = select(rows, n_layers=N_LAYERS)
    assert found.reasons == ("no length", "")
    assert found.chosen == 1


def test_limits_can_be_moved():
    rows = table({"bypass": -5.0, "induce": -2.0, "kl": 0.5, "layer": 9}, {"layer": 0})
    loose: dict[str, Any] = {"max_kl": 1.0, "min_induce": -3.0, "layer_share": 1.0}
    assert select(rows, n_layers=N_LAYERS, **loose).chosen == 0
    found = select(rows, n_layers=N_LAYERS, max_bypass=-2.0)
    assert found.chosen is None
    assert found.reasons[1] == "does not lower refusal when ablated"


def test_no_usable_direction_is_a_result():
    found = select(table({"induce": -1.0}), n_layers=N_LAYERS)
    assert found.chosen is None
    assert found.top == ()
    assert found.in_words() == (
        "No usable direction: all 1 candidates fell"
        " (1 does not induce refusal when added)."
    )
    assert select(table({}).iloc[:0], n_layers=N_LAYERS).chosen is None


def test_plain_columns_do_and_the_depth_is_guessed_from_them():
    columns = {
        "position": [-1, -1],
        "layer": [3, 4],
        "bypass": [-1, -9],
        "induce": [1, 1],
        "kl": [0, 0],
    }
    assert select(columns).chosen == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bypass": "low"}, "The bypass of candidate 0 is 'low'"),
        ({"layer": 1.5}, "The layer of candidate 0 is 1.5"),
        ({"position": None}, "The position of candidate 0"),
    ],
)
def test_what_is_no_number_is_named(change, message):
    with pytest.raises(DataError, match=message):
        select(table(change), n_layers=N_LAYERS)


def test_a_missing_column_is_named():
    with pytest.raises(DataError, match="no column 'kl'"):
        select(table({}).drop(columns="kl"))
    with pytest.raises(ConfigError, match="layer_share 0"):
        select(table({}), layer_share=0.0)


def test_a_clear_winner_wins_every_draw_and_a_tie_is_shared():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(3, 64))
    bypass = noise + np.array([[-1.0], [-9.0], [-1.0]])
    rest: dict[str, Any] = {"induce": np.ones((3, 40)), "kl": np.zeros((3, 40))}
    rows = table({"layer": 1}, {"layer": 2}, {"layer": 3})
    rows["bypass"] = bypass.mean(1)
    found = stability(select(rows, n_layers=N_LAYERS), bypass=bypass, **rest)
    assert found.shares.tolist() == [0, 1, 0]
    assert found.none == 0
    low, high = found.intervals["bypass"]
    half = 1.96 * bypass[1].std() / 8
    assert low == pytest.approx(bypass[1].mean() - half, abs=0.06)
    assert high == pytest.approx(bypass[1].mean() + half, abs=0.06)

    even = rng.normal(size=(3, 64))
    even -= even.mean(1, keepdims=True)
    rows["bypass"] = even.mean(1)
    found = stability(select(rows, n_layers=N_LAYERS), bypass=even, **rest)
    assert (found.shares > 0.1).all()
    assert found.shares.sum() == pytest.approx(1)


def test_every_draw_is_judged_by_the_rule():
    """One by one, with the same draws: the vectorised bootstrap does no more."""
    rng = np.random.default_rng(3)
    rows = random_table(4).drop(columns=["bypass", "induce", "kl"])
    held: dict[str, Any] = {
        "bypass": rng.normal(-1, 2, (len(rows), 9)),
        "induce": rng.normal(0.3, 1, (len(rows), 7)),
        "kl": rng.exponential(0.09, (len(rows), 7)),
    }
    held["bypass"][5] = np.nan
    for name, scores in held.items():
        rows[name] = scores.mean(1)
    found = stability(select(rows, n_layers=N_LAYERS), **held, resamples=50, seed=1)
    draws = np.random.default_rng(1)
    harmful = draws.multinomial(9, np.full(9, 1 / 9), size=50)
    harmless = draws.multinomial(7, np.full(7, 1 / 7), size=50)
    wins = np.zeros(len(rows) + 1)
    for first, second in zip(harmful, harmless, strict=True):
        again = rows.copy()
        again["bypass"] = held["bypass"] @ first / 9
        for name in ("induce", "kl"):
            again[name] = held[name] @ second / 7
        chosen = published_choice(again, N_LAYERS)
        wins[-1 if chosen is None else chosen] += 1
    np.testing.assert_allclose(found.shares, wins[:-1] / 50)
    assert found.none == pytest.approx(wins[-1] / 50)


def test_scores_that_do_not_fit_the_table_are_refused():
    found = select(table({}, {}), n_layers=N_LAYERS)
    with pytest.raises(ShapeError, match=r"'bypass' have the shape \[1, 4\]"):
        stability(
            found, bypass=np.ones((1, 4)), induce=np.ones((2, 4)), kl=np.ones((2, 4))
        )
    with pytest.raises(ShapeError, match="the same harmless prompts"):
        stability(
            found, bypass=np.ones((2, 4)), induce=np.ones((2, 4)), kl=np.ones((2, 3))
        )
