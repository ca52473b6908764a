import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.covariance import ledoit_wolf_shrinkage

from interp.directions import cosine, cosine_test, isotropic_null, shuffled_labels
from interp.directions.grams import ledoit_wolf
from interp.errors import ConfigError, DataError, EmptyClassError, ShapeError


HALF = np.arange(60) % 2 == 1
NULLS = ("shared", "independent", "isotropic", "signal_null")


def pair(seed=0, *, n=60, d=8, apart=0.0, unlike=0.5):
    """Two models that see the same examples, with a direction along the first axis."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, d)) * np.linspace(1, 3, d)
    a[:, 0] += apart * (np.arange(n) % 2)
    return a, a + unlike * rng.normal(size=(n, d))


def difference(rows, labels):
    return rows[labels].mean(0) - rows[~labels].mean(0)


def whitened_cosine(a, b, labels, shrinkage):
    """The definition, with every matrix written out."""
    n, d = a.shape
    within, level = np.zeros((d, d)), 0.0
    for rows in (a, b):
        centred = rows - rows.mean(0)
        level += (centred**2).sum() / (2 * n * d)
        for chosen in (labels, ~labels):
            centred = rows[chosen] - rows[chosen].mean(0)
            within += centred.T @ centred / (2 * n)
    metric = np.linalg.inv((1 - shrinkage) * within + shrinkage * level * np.eye(d))
    u, v = difference(a, labels), difference(b, labels)
    return u @ metric @ v / np.sqrt((u @ metric @ u) * (v @ metric @ v))


@pytest.mark.parametrize("d", [8, 150])
def test_whitening_uses_the_covariance_within_the_classes_of_every_order(d):
    a, b = pair(d=d, apart=6.0)
    found = cosine_test(a, b, HALF, whitening=0.3, permutations=40, seed=3)
    orders = shuffled_labels(HALF, count=80, seed=3)[:40]
    null = [whitened_cosine(a, b, one, 0.3) for one in orders]
    expected = whitened_cosine(a, b, HALF, 0.3)
    assert float(found.estimate) == pytest.approx(expected, abs=1e-9)
    low, high = np.quantile(null, [0.025, 0.975])
    assert float(found.shared.low) == pytest.approx(low, abs=1e-9)
    assert float(found.shared.high) == pytest.approx(high, abs=1e-9)


def test_the_plain_cosine_and_its_nulls_are_those_of_one_at_a_time():
    a, b = pair(apart=1.0)
    found = cosine_test(a, b, HALF, permutations=40, seed=3)
    orders = shuffled_labels(HALF, count=80, seed=3)
    shared = [cosine(difference(a, one), difference(b, one)) for one in orders[:40]]
    apart = [
        cosine(difference(a, one), difference(b, two))
        for one, two in zip(orders[:40], orders[40:], strict=True)
    ]
    expected = cosine(difference(a, HALF), difference(b, HALF))
    assert float(found.estimate) == pytest.approx(expected, abs=1e-6)
    assert float(found.shared.median) == pytest.approx(np.median(shared), abs=1e-6)
    assert float(found.independent.high) == pytest.approx(
        np.quantile(apart, 0.975), abs=1e-6
    )
    assert float(found.shared.p) == (1 + (np.array(shared) >= expected).sum()) / 41


@pytest.mark.parametrize(("n", "d"), [(40, 10), (10, 40)])
def test_the_shrinkage_is_that_of_scikit_learn(n, d):
    rows = np.random.default_rng(0).normal(size=(n, d)) * np.linspace(0.5, 4, d)
    rows -= rows.mean(0)
    expected = ledoit_wolf_shrinkage(rows, assume_centered=True)
    assert ledoit_wolf(torch.from_numpy(rows)) == pytest.approx(expected, abs=1e-12)


def test_the_isotropic_null_is_that_of_random_vectors():
    u, v = np.random.default_rng(0).normal(size=(2, 20_000, 12))
    drawn = (u * v).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
    null = isotropic_null(np.array([0.0, 0.4]), d_model=12)
    np.testing.assert_allclose(null.high, np.quantile(drawn, 0.975), atol=0.01)
    np.testing.assert_allclose(null.p, [0.5, (drawn >= 0.4).mean()], atol=0.01)
    assert stats.kstest((1 + drawn) / 2, stats.beta(5.5, 5.5).cdf).pvalue > 0.01


def test_models_that_share_activations_are_alike_for_any_labels():
    a, b = pair(unlike=0.05)
    found = cosine_test(a, b, HALF, permutations=200)
    assert found.estimate > 0.99
    assert found.shared.median > 0.99
    assert found.isotropic.p < 1e-6  # the nulls that would be taken for a finding
    assert found.independent.p < 0.02
    assert found.shared.p > 0.05
    assert found.signal_null.p > 0.05
    assert np.isnan(found.corrected) or found.signal < 0.9


def shared_nuisance(seed):
    """A truth of little variance that stays, among noise that both models share."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, 80, 16))
    a[:, :2] = b[:, :2] = 60 * rng.normal(size=(80, 2))
    truth = (np.arange(80) % 2) * 4.0 + rng.normal(size=80)
    a[:, 2] = b[:, 2] = truth
    return a, b


def test_whitening_and_the_signal_find_a_truth_that_the_plain_cosine_hides():
    labels = np.arange(80) % 2 == 1
    plain, white = (
        [
            cosine_test(
                *shared_nuisance(seed), labels, permutations=99, whitening=whitening
            )
            for seed in range(7)
        ]
        for whitening in (None, "ledoit-wolf")
    )
    # Nothing can be beyond the plain null, though the truth is the same in both.
    assert np.median([test.shared.median for test in plain]) > 0.98
    assert np.median([test.shared.p for test in plain]) > 0.1
    for test in white:
        assert test.shared.median < 0.85
        assert test.shared.p < 0.05
        assert test.signal_null.p == 0.01
        assert test.shared.high < test.estimate


@pytest.mark.parametrize("whitening", [None, 0.2])
@pytest.mark.parametrize("grouping", ["none", "one label each", "both labels each"])
def test_the_corrected_cosine_is_that_of_the_population(grouping, whitening):
    # Planted directions with the cosine 0.6, under noise that the models share.
    n, d, rng = 120, 12, np.random.default_rng(5)
    labels = np.arange(n) % 2 == 1
    groups = {
        "none": np.arange(n),
        "one label each": (np.arange(n) // 6) * 2 + labels,
        "both labels each": np.arange(n) // 2,
    }[grouping]
    found = []
    for _ in range(40):
        noise = 2 * rng.normal(size=(n, d)) + 0.8 * rng.normal(size=(n, d))[groups]
        a, b = noise.copy(), noise + 0.1 * rng.normal(size=(n, d))
        a[:, 0] += 2.5 * labels
        b[:, :2] += 2.5 * labels[:, None] * np.array([0.6, 0.8])
        test = cosine_test(
            a, b, labels, groups=groups, whitening=whitening, permutations=1
        )
        found.append((test.estimate, test.corrected))
    plain, corrected = np.median(found, axis=0)
    assert plain > corrected + 0.02
    assert abs(corrected - 0.6) < 0.06


@pytest.mark.parametrize("whitening", [None, "ledoit-wolf"])
def test_p_is_uniform_when_labels_mean_nothing(whitening):
    labels = np.arange(24) % 2 == 1
    p = {name: [] for name in ("shared", "signal_null")}
    for seed in range(120):
        a, b = pair(seed, n=24, d=6)
        found = cosine_test(a, b, labels, whitening=whitening, permutations=19)
        for name in p:
            p[name].append(float(getattr(found, name).p))
    for values in p.values():
        counts = np.bincount(np.round(np.array(values) * 20).astype(int) - 1)
        coarse = counts.reshape(5, 4).sum(1)
        assert stats.chisquare(coarse).pvalue > 0.01


def test_layers_and_kinds_of_arrays_make_no_difference():
    a, b = pair(apart=1.0)
    first, second = (np.stack([rows, 2 * rows[::-1]], 1) for rows in (a, b))
    together = cosine_test(
        first, second, HALF, whitening="ledoit-wolf", permutations=20
    )
    alone = cosine_test(
        torch.from_numpy(first[:, 1].copy()),
        torch.from_numpy(second[:, 1].copy()),
        HALF.astype(int).tolist(),
        whitening="ledoit-wolf",
        permutations=20,
    )
    assert together.estimate.shape == (2,)
    assert alone.estimate.shape == ()
    assert together.shrinkage[1] == pytest.approx(float(alone.shrinkage))
    for name in NULLS:
        assert getattr(together, name).p[1] == pytest.approx(
            float(getattr(alone, name).p)
        )
    assert together.signal[1] == pytest.approx(float(alone.signal))


def test_groups_of_one_size_exchange_labels_as_a_whole():
    labels = np.array([1, 1, 0, 0, 1, 1, 0, 0, 0], dtype=bool)
    groups = list("aabbccdde")
    orders = shuffled_labels(labels, groups=groups, count=50, seed=1)
    pairs = orders[:, :8].reshape(50, 4, 2)
    assert (pairs[..., 0] == pairs[..., 1]).all()
    assert (pairs[..., 0].sum(1) == 2).all()
    assert not orders[:, 8].any()
    assert len(np.unique(orders, axis=0)) == 6


def test_labels_are_permuted_within_a_group():
    labels = np.array([1, 0, 1, 0], dtype=bool)
    orders = shuffled_labels(labels, groups=[7, 7, "x", "x"], count=60, seed=1)
    assert (orders[:, :2].sum(1) == 1).all()
    assert len(np.unique(orders, axis=0)) == 4


A, B = pair()
FIRST = np.arange(60) < 20


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: cosine_test(A, B[:5], HALF), ShapeError, "the same examples"),
        (lambda: cosine_test(A[0], B[0], HALF), ShapeError, r"shape \[8\]"),
        (lambda: cosine_test(A, B, HALF[:5]), ShapeError, "60 examples"),
        (lambda: cosine_test(A, B, HALF & False), EmptyClassError, "label 0"),
        (lambda: cosine_test(A, B * np.nan, HALF), DataError, "60 of 60.*second"),
        (lambda: cosine_test(A, B, HALF, whitening=1.5), ConfigError, "1.5.*0 to 1"),
        (
            lambda: cosine_test(*pair(d=200), HALF, whitening=0.0),
            DataError,
            "singular.*ledoit-wolf",
        ),
        (lambda: cosine_test(A, B, HALF, permutations=0), ConfigError, "1 or more"),
        (lambda: cosine_test(A, B, HALF, groups=[1, 2]), ShapeError, "2 groups for 60"),
        (
            lambda: cosine_test(A, B, FIRST, groups=FIRST),
            DataError,
            "60 examples in 2 groups cannot be permuted",
        ),
        (lambda: isotropic_null(0.5, d_model=1), ShapeError, "2 or more"),
    ],
)
def test_what_cannot_be_tested_is_refused(call, error, words):
    with pytest.raises(error, match=f"(?i){words}"):
        call()
