import warnings

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from interp.directions import fit_inlp, fit_leace
from interp.errors import ConfigError, DataError, EmptyClassError, ShapeError


def concept(seed=0, *, n=300, d=12, classes=2):
    """Correlated activations in which a few directions tell the classes."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes)
    rows = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + 5
    rows += 1.5 * rng.normal(size=(classes, d))[labels]
    return rows, labels


def accuracy(rows, labels):
    # Nearly no penalty: whatever a linear probe can read, it reads.
    probe = LogisticRegression(C=1e6, max_iter=5000, tol=1e-10)
    return probe.fit(rows / rows.std(), labels).score(rows / rows.std(), labels)


def spread_of_means(rows, labels):
    means = np.stack([rows[labels == one].mean(0) for one in np.unique(labels)])
    return np.ptp(means, axis=0).max()


@pytest.mark.parametrize("method", ["leace", "orthogonal"])
@pytest.mark.parametrize("classes", [2, 4])
def test_after_erasure_no_linear_probe_is_better_than_chance(classes, method):
    rows, labels = concept(classes=classes)
    eraser = fit_leace(rows, labels, method=method)
    erased = eraser.apply(rows)
    assert eraser.rank == classes - 1
    assert accuracy(rows, labels) > 1.5 / classes
    assert accuracy(erased, labels) <= 1 / classes + 1e-9
    assert spread_of_means(erased, labels) < 1e-10
    centred = erased - erased.mean(0)
    wanted = np.eye(classes)[labels] - 1 / classes
    coefficients = np.linalg.lstsq(centred, wanted, rcond=1e-8)[0]
    assert np.abs(coefficients).max() < 1e-10


def test_the_closed_form_is_that_of_the_authors_package():
    with warnings.catch_warnings():
        # Its import scripts a function, which this torch deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        package = pytest.importorskip("concept_erasure")
    rows, labels = concept(classes=3)
    fitter = package.LeaceFitter(
        12,
        3,
        dtype=torch.float64,
        shrinkage=False,
        constrain_cov_trace=False,
        svd_tol=1e-8,
    )
    onehot = torch.eye(3, dtype=torch.float64)[torch.from_numpy(labels)]
    expected = fitter.update(torch.from_numpy(rows), onehot).eraser
    found = fit_leace(rows, labels)
    np.testing.assert_allclose(
        np.eye(12) - found.left @ found.right, expected.P.numpy(), atol=1e-9
    )
    np.testing.assert_allclose(
        found.apply(rows), expected(torch.from_numpy(rows)).numpy(), atol=1e-9
    )


def test_no_affine_map_that_guards_changes_the_examples_less():
    rows, labels = concept(classes=3)
    eraser = fit_leace(rows, labels)
    change = np.square(eraser.apply(rows) - rows).sum()
    # All guarded maps: this one, plus anything that ignores the class means.
    rng = np.random.default_rng(1)
    centred = rows - rows.mean(0)
    means = np.stack([centred[labels == one].mean(0) for one in range(3)])
    ignore = np.eye(12) - np.linalg.pinv(means, rcond=1e-10) @ means
    projection = np.eye(12) - eraser.left @ eraser.right
    for size in (1e-4, 1e-2, 1.0):
        for _ in range(20):
            other = projection + size * rng.normal(size=(12, 12)) @ ignore
            guarded = centred @ other.T
            assert spread_of_means(guarded, labels) < 1e-9
            assert np.square(guarded - centred).sum() > change
    orthogonal = fit_leace(rows, labels, method="orthogonal")
    assert np.square(orthogonal.apply(rows) - rows).sum() > 1.05 * change


def test_the_change_is_along_the_means_and_measured_by_the_discriminant():
    rows, labels = concept()
    eraser = fit_leace(rows, labels)
    apart = rows[labels == 1].mean(0) - rows[labels == 0].mean(0)
    discriminant = np.linalg.solve(np.cov(rows.T), apart)
    for found, expected in (
        (eraser.left[:, 0], apart),
        (eraser.right[0], discriminant),
    ):
        found, expected = (v / np.linalg.norm(v) for v in (found, expected))
        assert abs(found @ expected) == pytest.approx(1, abs=1e-12)
    # Oblique: not the same direction, as they would be for an orthogonal projection.
    assert abs(apart @ discriminant) < 0.9 * np.linalg.norm(apart) * np.linalg.norm(
        discriminant
    )


@pytest.mark.parametrize(("n", "d"), [(300, 12), (20, 50)])
def test_erasing_twice_is_erasing_once_and_the_mean_stays(n, d):
    rows, labels = concept(n=n, d=d)
    eraser = fit_leace(rows, labels)
    once = eraser.apply(rows)
    assert spread_of_means(once, labels) < 1e-10
    np.testing.assert_allclose(eraser.apply(once), once, atol=1e-9)
    np.testing.assert_allclose(once.mean(0), rows.mean(0), atol=1e-9)
    np.testing.assert_allclose(
        eraser.right @ eraser.left, np.eye(eraser.rank), atol=1e-9
    )


def test_what_has_no_variance_is_left_alone():
    rows, labels = concept()
    wide = np.concatenate([rows, np.full((300, 2), 3.0), rows[:, :2]], axis=1)
    erased = fit_leace(wide, labels).apply(wide)
    assert spread_of_means(erased, labels) < 1e-9
    np.testing.assert_allclose(erased[:, 12:14], 3.0, atol=1e-9)
    np.testing.assert_allclose(
        erased[:, :12], fit_leace(rows, labels).apply(rows), atol=1e-6
    )


def test_other_examples_are_at_chance_too():
    rows, labels = concept(n=4000, d=8)
    train, test = slice(0, 2000), slice(2000, 4000)
    eraser = fit_leace(rows[train], labels[train])
    erased = eraser.apply(rows)
    probe = LogisticRegression(C=1e6, max_iter=5000)
    before = probe.fit(rows[train], labels[train]).score(rows[test], labels[test])
    after = probe.fit(erased[train], labels[train]).score(erased[test], labels[test])
    assert before > 0.7
    assert abs(after - 0.5) < 0.04


def test_the_kind_and_type_of_the_activations_stay():
    rows, labels = concept()
    eraser = fit_leace(torch.from_numpy(rows).float(), torch.from_numpy(labels))
    half = torch.from_numpy(rows).half()[:, None].expand(-1, 2, -1)
    erased = eraser.apply(half)
    assert erased.dtype == torch.float16
    assert erased.shape == half.shape
    expected = eraser.apply(half.double().numpy())
    np.testing.assert_allclose(erased.numpy(), expected, rtol=1e-3, atol=1e-3)
    assert eraser.apply(rows.astype(np.float32)).dtype == np.float32


def test_inlp_removes_more_dimensions_for_less():
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 2
    rows = rng.normal(size=(400, 20))
    rows[:, :3] += 2 * labels[:, None]
    scores = [accuracy(rows, labels)]
    for rounds in (1, 4):
        eraser = fit_inlp(rows, labels, rounds=rounds)
        assert eraser.rank == rounds
        np.testing.assert_allclose(eraser.left, eraser.right.T)
        np.testing.assert_allclose(
            eraser.right @ eraser.left, np.eye(rounds), atol=1e-10
        )
        scores.append(accuracy(eraser.apply(rows), labels))
    assert scores[0] > 0.95 > 0.7 > scores[1] > scores[2]
    changes = [
        np.square(eraser.apply(rows) - rows).sum()
        for eraser in (fit_leace(rows, labels), fit_inlp(rows, labels, rounds=4))
    ]
    assert changes[0] < changes[1]
    assert fit_inlp(rows, labels, rounds=99).rank == 20


def test_inlp_takes_the_probe_that_it_is_given():
    rows, labels = concept()
    seen = []

    def probe(left, classes):
        seen.append(left.clone())
        weights = torch.zeros(12, dtype=left.dtype)
        weights[len(seen)] = 1.0
        return weights

    eraser = fit_inlp(rows, labels, rounds=3, fit=probe)
    assert len(seen) == 3
    assert seen[2][:, 1:3].abs().max() < 1e-12
    removed = eraser.apply(rows)[:, 1:4]
    np.testing.assert_allclose(removed, np.tile(rows.mean(0)[1:4], (300, 1)))


ROWS, LABELS = concept()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: fit_leace(ROWS, LABELS[:5]), ShapeError, "300 examples"),
        (lambda: fit_leace(ROWS, LABELS * 0), EmptyClassError, "one label"),
        (lambda: fit_leace(ROWS * np.nan, LABELS), DataError, "300 of 300"),
        (lambda: fit_leace(ROWS * 0, LABELS), DataError, "nothing to erase"),
        (lambda: fit_leace(ROWS, [None, *LABELS[1:]]), DataError, "missing"),
        (lambda: fit_inlp(ROWS, LABELS, rounds=0), ConfigError, "1 or more"),
        (
            lambda: fit_leace(ROWS, LABELS).apply(np.ones((2, 5))),
            ShapeError,
            "fitted to 12",
        ),
    ],
)
def test_what_cannot_be_erased_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()
