"""Likeness of maps: what is planted is found, floors and nulls are what they say."""

import numpy as np
import pytest
from scipy.stats import pearsonr

from interp.errors import ConfigError, ShapeError
from interp.patching import Resampling, compare
from interp.patching.aggregate import mean_map, resamples_of
from interp.patching.compare import _check, _mask
from interp.patching.equivalence import equivalence
from interp.patching.likeness import pearson
from interp.results.map_comparison import Against


QUICK = Resampling(resamples=200, permutations=100)


def stairs(n_layers=12, n_columns=6):
    """A smooth staircase: each column matters at a later layer."""
    layer, column = np.indices((n_layers, n_columns))
    return np.exp(-(((layer - 2 * column) / 4.0) ** 2))


def noisy(table, n=40, size=0.1, seed=0):
    noise = np.random.default_rng(seed).normal(size=(n, *table.shape))
    return table + size * noise


def test_pearson_is_that_of_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 5, 4, 3)) + 1e3
    expected = [pearsonr(x.ravel(), y.ravel())[0] for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(pearson(a, b), np.array(expected), atol=1e-10)
    a[0, 0, 0] = np.nan
    held = ~np.isnan(a[0])
    assert pearson(a, b)[0] == pytest.approx(pearsonr(a[0][held], b[0][held])[0])
    assert np.isnan(pearson(np.full((1, 2, 2), 0.1), b[:1, :2, :2]))[0]


def test_a_map_equals_itself():
    a = noisy(stairs())
    found = compare(a, a, knowledge=[0], resampling=QUICK)
    assert found.find("pearson").value == pytest.approx(1)
    assert found.find("largest difference").value == 0
    assert found.find("largest difference", "models exchanged").p == 1
    assert [test.shown for test in found.equivalence] == [True, True]
    assert found.equivalence[0].within == 0
    assert len(found.to_dataframe()) == 3 * 10


def test_a_shift_by_one_layer_is_found_where_correlation_is_blunt():
    table = stairs()
    a, b = noisy(table[1:], size=1e-3), noisy(table[:-1], size=1e-3, seed=1)
    found = compare(a, b, resampling=QUICK)
    # b lags one layer: its value at l is a's at l - 1.
    assert found.find("pearson").value > 0.9
    assert found.find("pearson", "b one layer down").value > 0.9999
    assert found.find("largest difference", "b one layer down").value < 0.01
    assert found.find("pearson", "b one layer up").value < found.find("pearson").value
    assert found.find("pearson", "a and itself one layer up").value > 0.9
    assert not found.equivalence[0].shown


def test_the_floor_is_the_noise_of_halves():
    n, size = 64, 0.5
    a, b = (noisy(np.zeros((1, 1)), n=n, size=size, seed=s) for s in (0, 1))
    found = compare(a, b, resampling=Resampling(resamples=50, permutations=4000))
    # Two halves of n / 2 each differ with variance 4 sigma^2 / n.
    sides: dict[Against, np.ndarray] = {"halves of a": a, "halves of b": b}
    for against, cells in sides.items():
        spread = 2 * cells.std() / np.sqrt(n)
        expected = spread * np.sqrt(2 / np.pi)
        value = found.find("largest difference", against).value
        assert value == pytest.approx(expected, rel=0.05)


def test_halves_across_models_stand_out_only_if_the_models_differ():
    table = stairs()
    same = compare(noisy(table), noisy(table, seed=1), resampling=QUICK)
    other = compare(noisy(table), noisy(table + 0.2, seed=1), resampling=QUICK)
    across = "a half of a and the other of b"
    floor = same.find("largest difference", "halves of a")
    assert same.find("largest difference", across).value < floor.high
    assert other.find("largest difference", across).value > floor.high


def test_columns_in_another_order_are_less_alike():
    found = compare(noisy(stairs()), noisy(stairs(), seed=1), resampling=QUICK)
    null = found.find("pearson", "columns of b permuted")
    assert null.high < found.find("pearson").value
    assert null.p < 0.05
    rng = np.random.default_rng(3)
    a, b = (noisy(rng.normal(size=(6, 7)), seed=s) for s in (4, 5))
    unlike = compare(a, b, resampling=QUICK)
    assert unlike.find("pearson", "columns of b permuted").p > 0.05


def test_exchanging_models_finds_a_difference_and_holds_its_level():
    few = Resampling(resamples=2, permutations=60)
    table = stairs(3, 3)
    wrong = 0
    pairs: list[np.ndarray] = []
    for seed in range(0, 300, 3):
        # What the two models share about a pair is in both maps.
        shared = noisy(table, n=24, seed=seed)
        pairs = [shared + noisy(0 * table, n=24, seed=seed + i) for i in (1, 2)]
        p = (
            compare(*pairs, resampling=few)
            .find("largest difference", "models exchanged")
            .p
        )
        wrong += p <= 0.1
    # 10 of 100 expected, with a standard deviation of 3.
    assert 2 <= wrong <= 19
    moved = pairs[1].copy()
    moved[:, 1, 1] += 0.2
    found = compare(pairs[0], moved, resampling=few)
    assert found.find("largest difference", "models exchanged").p < 0.05


def test_equivalence_holds_its_size_at_the_edge_and_has_power_inside():
    rng = np.random.default_rng(5)
    n, delta, edge, shown = 25, 0.3, 0, 0
    names = [str(i) for i in range(n)]
    for seed in range(400):
        change = rng.normal(size=(n, 1, 2))
        change[:, :, 0] += delta
        weights = resamples_of(names, resamples=100, seed=seed)
        for cells, wide in ((change, True), (0.2 * (change - [delta, 0]), False)):
            draws, mean = mean_map(cells, weights), cells.mean(axis=0)
            found = equivalence("all", mean, draws, delta=delta, groups=n)
            edge += found.shown and wide
            shown += found.shown and not wide
    # At most 5 % of 400, with a standard deviation of 4.4.
    assert edge <= 31
    assert shown == 400


def test_the_smallest_delta_is_where_the_test_turns():
    draws = np.random.default_rng(0).normal(0.1, 0.02, size=(400, 2, 3))
    mean = draws.mean(axis=0)
    within = equivalence("all", mean, draws, delta=1.0, groups=20).within
    for delta, shown in ((within + 1e-6, True), (within - 1e-6, False)):
        found = equivalence("all", mean, draws, delta=delta, groups=20)
        assert found.shown is shown
    nothing = equivalence("all", mean, draws, delta=1.0, groups=1)
    assert not nothing.shown
    assert np.isnan(nothing.p)


def test_only_the_chosen_columns_are_knowledge():
    a = noisy(stairs(), size=0)
    b = a.copy()
    b[:, 3, 4] += 0.5
    mask = np.arange(6) == 4
    outside = compare(a, b, knowledge=[0, 1], resampling=QUICK)
    assert outside.find("largest difference").value == pytest.approx(0.5)
    assert outside.find("largest difference, knowledge").value == 0
    within = compare(a, b, knowledge=mask, resampling=QUICK)
    assert within.find("largest difference, knowledge").value == pytest.approx(0.5)
    assert within.difference[3, 4] == pytest.approx(-0.5)
    nothing = compare(a, b, resampling=QUICK)
    assert np.isnan(nothing.find("largest difference, knowledge").value)


def test_restoration_is_compared_where_there_are_ends():
    a = noisy(stairs())
    # Twice the logit differences, shifted: the same on the scale of restoration.
    ends = np.tile([0.0, 1.0], (40, 1))
    scaled = compare(a, 2 * a - 1, ends=(ends, 2 * ends - 1), resampling=QUICK)
    assert scaled.scale == "restoration"
    assert scaled.find("largest difference").value == pytest.approx(0, abs=1e-12)
    plain = compare(a, 2 * a - 1, resampling=QUICK)
    assert plain.find("largest difference").value > 0.5
    binned = compare(
        a, 2 * a - 1, ends=(ends, 2 * ends - 1), scale="bins", resampling=QUICK
    )
    assert binned.find("largest difference").value == pytest.approx(0, abs=1e-12)
    assert binned.find("largest difference", "halves of a").value >= 0.1 - 1e-9


def test_the_interval_of_r_is_corrected_for_noise():
    # Both are the same map under noise: the true correlation is 1.
    few = Resampling(resamples=200, permutations=2)
    covered = 0
    for seed in range(40):
        a, b = (noisy(stairs(), size=1.0, seed=2 * seed + i) for i in range(2))
        row = compare(a, b, resampling=few).find("pearson")
        assert row.value < 0.9
        covered += row.high > 0.995
    assert covered >= 32


def test_missing_cells_and_single_pairs_are_no_obstacle():
    a, b = noisy(stairs()), noisy(stairs(), seed=1)
    a[:20, :, 0] = np.nan
    b[:20, :, 0] = np.nan
    assert compare(a, b, resampling=QUICK).find("pearson").value > 0.9
    one = compare(a[-1:], b[-1:], resampling=QUICK)
    assert one.find("pearson").value > 0.9
    assert np.isnan(one.find("pearson", "halves of a").value)
    assert not one.equivalence[0].shown


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"groups": ["a"]}, ShapeError, "1 groups for 3 pairs"),
        ({"delta": 0.0}, ConfigError, "delta is 0.0"),
        ({"knowledge": [7]}, ShapeError, "no position 7"),
        ({"scale": "restoration"}, ConfigError, "without ends"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(change, error, message):
    given = {"a": np.ones((3, 2, 2)), "b": np.ones((3, 2, 2)), **change}
    with pytest.raises(error, match=message):
        compare(given.pop("a"), given.pop("b"), **given)


def test_shapes_that_do_not_fit_are_told_in_one_line():
    # The checks that users get; in tests the types would stop such calls before.
    two, three = np.ones((2, 2, 2)), np.ones((3, 2, 2))
    with pytest.raises(ShapeError, match="Both are"):
        _check(two, three, None, ["a", "b"], 0.1)
    with pytest.raises(ShapeError, match="The ends have"):
        _check(two, two, (np.ones((2, 2)), np.ones((3, 2))), ["a", "b"], 0.1)
    with pytest.raises(ShapeError, match="3 entries"):
        _mask(np.ones(3, dtype=bool), 2)
