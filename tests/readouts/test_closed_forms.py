"""Closed-form and unsupervised probes against scikit-learn, loops and planted truth."""

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, RidgeClassifier

from interp.errors import DataError, EmptyClassError, ShapeError
from probes.means import fit_lda, fit_mean_difference, fit_ridge
from probes.ttpd import fit_ttpd, truth_directions
from probes.unsupervised import consistency_loss, fit_ccs, fit_crc


def planted(n=300, d=12, *, seed=0, strength=3.0):
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.4
    unit = rng.normal(size=d)
    unit /= np.linalg.norm(unit)
    mixing = rng.normal(size=(d, d)) / np.sqrt(d)
    rows = rng.normal(size=(n, d)) @ mixing + strength * np.outer(labels, unit)
    return torch.from_numpy(rows).float(), torch.from_numpy(labels), unit


def cosine(a, b):
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def test_the_mean_difference_is_the_difference_of_the_means():
    rows, labels, _ = planted()
    probe = fit_mean_difference(rows, labels)
    wanted = rows[labels].mean(0) - rows[~labels].mean(0)
    assert cosine(probe.weights, wanted) > 1 - 1e-9


def test_its_decision_is_a_logistic_regression_on_the_projection():
    rows, labels, _ = planted()
    probe = fit_mean_difference(rows, labels)
    direction = (rows[labels].mean(0) - rows[~labels].mean(0)).double().numpy()
    scores = rows.double().numpy() @ direction
    standard = (scores - scores.mean()) / scores.std()
    model = LogisticRegression(tol=1e-10).fit(standard[:, None], labels.numpy())
    np.testing.assert_allclose(
        probe.logits(rows).numpy(),
        model.decision_function(standard[:, None]),
        atol=1e-4,
    )


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_a_large_common_offset_changes_nothing(offset):
    rows, labels, _ = planted()
    near = fit_mean_difference(rows, labels).logits(rows)
    far = fit_mean_difference(rows + offset, labels)
    shifted = far.logits((rows + offset).double()) if offset else far.logits(rows)
    assert np.corrcoef(near.numpy(), shifted.numpy())[0, 1] > 0.999


@pytest.mark.parametrize(("n", "d"), [(300, 12), (40, 60)])
def test_the_discriminant_is_scikit_learns(n, d):
    rows, labels, _ = planted(n, d)
    ours = fit_lda(rows, labels).weights
    if n > d:
        model = LinearDiscriminantAnalysis(solver="eigen")
        model.fit(rows.double().numpy(), labels.numpy())
        assert cosine(ours, model.coef_[0]) > 1 - 1e-6
    x, y = rows.double().numpy(), labels.numpy()
    inside = np.where(y[:, None], x - x[y].mean(0), x - x[~y].mean(0))
    wanted = np.linalg.pinv(inside.T @ inside, rcond=1e-10) @ (
        x[y].mean(0) - x[~y].mean(0)
    )
    assert cosine(ours, wanted) > 1 - 1e-6


@pytest.mark.parametrize(("n", "d"), [(300, 12), (40, 60)])
def test_the_ridge_direction_is_scikit_learns(n, d):
    rows, labels, _ = planted(n, d)
    ours = fit_ridge(rows, labels, alpha=3.0).weights
    model = RidgeClassifier(alpha=3.0).fit(rows.double().numpy(), labels.numpy())
    assert cosine(ours, model.coef_.ravel()) > 1 - 1e-9


@pytest.mark.parametrize("fit", [fit_mean_difference, fit_lda, fit_ridge])
def test_fits_of_a_batch_are_those_of_a_loop(fit):
    rows = torch.stack([planted(seed=seed)[0] for seed in range(2)])
    labels = planted()[1]
    masks = (torch.arange(300) % 3 != torch.arange(3)[:, None]).float()
    together = fit(rows, labels, weights=masks)
    for site in range(2):
        for fold in range(3):
            kept = masks[fold] > 0
            alone = fit(rows[site, kept], labels[kept])
            torch.testing.assert_close(
                together.weights[site, fold], alone.weights, atol=1e-4, rtol=1e-3
            )
            torch.testing.assert_close(
                together.intercept[site, fold], alone.intercept, atol=1e-4, rtol=1e-3
            )


def paired(n=200, d=10, *, seed=0):
    """Statements and negations that differ in a planted direction and in polarity."""
    rng = np.random.default_rng(seed)
    truth, polarity = np.linalg.qr(rng.normal(size=(d, 2)))[0].T
    labels = rng.random(n) < 0.5
    shared = rng.normal(size=(n, d))
    rows = []
    for sign, said in ((1, labels), (-1, ~labels)):
        noise = 0.3 * rng.normal(size=(n, d))
        rows.append(
            shared + noise + np.outer(2.0 * (2 * said - 1), truth) + sign * 4 * polarity
        )
    both = torch.from_numpy(np.concatenate(rows)).float()
    pairs = torch.stack((torch.arange(n), torch.arange(n) + n), 1)
    said = torch.from_numpy(np.concatenate((labels, ~labels)))
    return both, said, pairs, truth, polarity


def test_ccs_finds_the_planted_truth_without_labels():
    rows, labels, pairs, truth, _ = paired()
    probe = fit_ccs(torch.stack((rows, rows)), labels, pairs=pairs, epochs=300)
    assert probe.weights.shape == (2, 10)
    for weights in probe.weights:
        assert cosine(weights, truth) > 0.9
    assert ((probe.logits(rows.expand(2, -1, -1)) > 0) == labels).float().mean() > 0.9


def test_ccs_keeps_the_restart_with_the_lowest_loss():
    rows, labels, pairs, truth, _ = paired(60)
    one = fit_ccs(rows, labels, pairs=pairs, restarts=1, epochs=3)
    many = fit_ccs(rows, labels, pairs=pairs, restarts=50, epochs=3)
    assert abs(cosine(many.weights, truth)) > abs(cosine(one.weights, truth))


def test_labels_give_ccs_only_its_sign():
    rows, labels, pairs, _, _ = paired()
    right = fit_ccs(rows, labels, pairs=pairs, epochs=50)
    wrong = fit_ccs(rows, ~labels, pairs=pairs, epochs=50)
    torch.testing.assert_close(
        right.directions, -wrong.directions, atol=1e-5, rtol=1e-4
    )


def test_the_consistency_loss_is_the_papers():
    first, second = torch.tensor([0.3, -1.0]), torch.tensor([0.1, 2.0])
    p, q = torch.sigmoid(first), torch.sigmoid(second)
    wanted = sum((a - (1 - b)) ** 2 + min(a, b) ** 2 for a, b in zip(p, q, strict=True))
    assert float(consistency_loss(first, second)) == pytest.approx(float(wanted) / 2)


def test_the_first_component_of_differences_is_the_planted_truth():
    rows, labels, pairs, truth, _ = paired()
    probe = fit_crc(rows, labels, pairs=pairs)
    assert cosine(probe.weights, truth) > 0.9


def test_pairs_must_exist():
    rows, labels, pairs, _, _ = paired(20)
    with pytest.raises(ShapeError, match="rows 0 to 39"):
        fit_crc(rows, labels, pairs=pairs + 1)
    with pytest.raises(ShapeError, match="whole pairs"):
        fit_crc(
            rows, labels, pairs=pairs, weights=torch.tensor([[1.0] * 20 + [0.0] * 20])
        )


def turned(n=400, d=8, *, seed=0):
    """Activations with a general and a polarity-sensitive truth direction."""
    rng = np.random.default_rng(seed)
    general, polar, polarity = np.linalg.qr(rng.normal(size=(d, 3)))[0].T
    y, q = rng.choice([-1, 1], size=(2, n))
    rows = (
        np.outer(y, general)
        + 3 * np.outer(y * q, polar)
        + 2 * np.outer(q, polarity)
        + 0.2 * rng.normal(size=(n, d))
    )
    return torch.from_numpy(rows).float(), y, q, general, polar


def test_ttpd_separates_truth_from_truth_with_polarity():
    rows, y, q, general, polar = turned()
    labels, affirmative = torch.from_numpy(y > 0), torch.from_numpy(q > 0)
    found = truth_directions(rows, labels, affirmative)
    centred = rows.double().numpy() - rows.double().numpy().mean(0)
    wanted = np.linalg.lstsq(np.stack((y, y * q), 1), centred, rcond=None)[0]
    np.testing.assert_allclose(found.general[0, 0].numpy(), wanted[0], atol=1e-6)
    np.testing.assert_allclose(found.polar[0, 0].numpy(), wanted[1], atol=1e-6)
    assert cosine(wanted[0], general) > 0.99
    assert cosine(wanted[1], polar) > 0.99


def test_ttpd_generalises_to_the_polarity_where_mean_difference_turns_around():
    rows, y, q, *_ = turned()
    labels, affirmative = torch.from_numpy(y > 0), torch.from_numpy(q > 0)
    # Mostly affirmative training statements pull the mean difference towards t_P.
    kept = affirmative | (torch.arange(400) % 5 == 0)
    masks = kept.float()[None]
    probe = fit_ttpd(rows, labels, affirmative=affirmative, weights=masks)
    plain = fit_mean_difference(rows, labels, weights=masks)
    held_out = ~kept
    right = (probe.logits(rows)[0] > 0) == labels
    turned_around = (plain.logits(rows)[0] > 0) == labels
    assert right[held_out].float().mean() > 0.95
    assert turned_around[held_out].float().mean() < 0.5


def test_ttpd_needs_both_polarities():
    rows, y, *_ = turned()
    with pytest.raises(DataError, match="negated statements"):
        fit_ttpd(
            rows,
            torch.from_numpy(y > 0),
            affirmative=torch.ones(400, dtype=torch.bool),
        )


def test_a_fold_without_a_class_is_named():
    rows, labels, _ = planted(30)
    masks = torch.stack((torch.ones(30), (~labels).float()))
    with pytest.raises(EmptyClassError, match="positive in fit 1"):
        fit_mean_difference(rows, labels, weights=masks)


def test_a_direction_without_variance_predicts_the_share():
    rows = torch.ones(10, 3)
    labels = torch.arange(10) < 3
    probe = fit_mean_difference(rows, labels)
    torch.testing.assert_close(
        probe.probabilities(rows), torch.full((10,), 0.3), atol=1e-4, rtol=0
    )
