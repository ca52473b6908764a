"""The batched solver against scikit-learn, fit by fit."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from interp.errors import ConfigError, DataError, EmptyClassError, ShapeError
from interp.statistics import auroc
from probes import newton, optimum
from probes.logistic import fit_logistic
from probes.optimum import NotConvergedWarning, optimise
from probes.path import fit_logistic_cv
from probes.preconditioning import leading


def planted(n, d, *, seed=0, strength=2.0):
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.5
    unit = rng.normal(size=d) / np.sqrt(d)
    rows = rng.normal(size=(n, d)) + strength * np.outer(labels - 0.5, unit)
    return rows.astype(np.float32), labels


def transformer_like(n, d, *, seed=0):
    """A power-law spectrum, an offset, and two features of enormous size."""
    rng = np.random.default_rng(seed)
    rows, labels = planted(n, d, seed=seed)
    basis = np.linalg.qr(rng.normal(size=(d, d)))[0]
    rows = rows * np.arange(1, d + 1) ** -0.7 @ basis + rng.normal(size=d) * 0.5
    rows[:, [3, 7]] = rows[:, [3, 7]] * [200, 100] + [3000, -1000]
    return rows.astype(np.float32), labels


def shaped(name):
    if name == "fewer examples than features":
        return planted(60, 150)
    if name == "more examples than features":
        return planted(400, 30)
    if name == "separable":
        return planted(200, 20, strength=12.0)
    if name == "one constant feature":
        rows, labels = planted(200, 20)
        rows[:, 3] = 7.0
        return rows, labels
    if name == "unbalanced":
        rows, labels = planted(600, 30)
        kept = np.flatnonzero(~labels | (np.arange(600) % 15 == 0))
        return rows[kept], labels[kept]
    if name == "duplicated rows":
        rows, labels = planted(80, 100)
        return np.concatenate([rows] * 3), np.concatenate([labels] * 3)
    if name == "badly scaled":
        rows, labels = planted(200, 40)
        return (rows * np.logspace(-3, 3, 40)).astype(np.float32), labels
    return transformer_like(300, 80)


SHAPES = (
    "fewer examples than features",
    "more examples than features",
    "separable",
    "one constant feature",
    "unbalanced",
    "duplicated rows",
    "badly scaled",
    "like a transformer",
)


def objective(rows, labels, weights, intercept, c, used: float | np.ndarray = 1.0):
    rows, weights = rows.astype(np.float64), np.asarray(weights, dtype=np.float64)
    margins = np.where(labels, 1, -1) * (rows @ weights + float(intercept))
    return c * (used * np.logaddexp(0, -margins)).sum() + weights @ weights / 2


def reference(rows, labels, c, used=None):
    model = LogisticRegression(C=c, solver="newton-cholesky", tol=1e-9, max_iter=1000)
    return model.fit(rows.astype(np.float64), labels, sample_weight=used)


@pytest.mark.parametrize("name", SHAPES)
def test_the_optimum_is_scikit_learns(name):
    rows, labels = shaped(name)
    cs = [0.01, 1.0, 100.0]
    probe = fit_logistic(torch.from_numpy(rows), torch.from_numpy(labels), c=cs)
    assert probe.converged.all()
    for index, c in enumerate(cs):
        model = reference(rows, labels, c)
        theirs = objective(rows, labels, model.coef_[0], model.intercept_[0], c)
        ours = objective(rows, labels, probe.weights[index], probe.intercept[index], c)
        assert ours <= theirs * (1 + 1e-6)
        assert ours >= theirs * (1 - 1e-6)
        fresh = planted(200, rows.shape[1], seed=9)[0] * rows.std(0) + rows.mean(0)
        scores = probe.logits(torch.from_numpy(fresh.astype(np.float32)))[index]
        truth = model.decision_function(fresh) + np.random.default_rng(0).normal(
            size=200
        )
        wanted = auroc(model.decision_function(fresh), truth > np.median(truth))
        found = auroc(scores.double().numpy(), truth > np.median(truth))
        assert abs(found - wanted) <= 1e-4


def test_every_site_fold_and_penalty_is_solved_as_if_alone():
    sites = [planted(150, 30, seed=seed) for seed in range(3)]
    labels = sites[0][1]
    rows = torch.from_numpy(np.stack([rows for rows, _ in sites]))
    folds = np.random.default_rng(0).integers(0, 4, 150)
    masks = torch.from_numpy(np.stack([folds != k for k in range(4)])).float()
    cs = [0.1, 10.0]
    probe = fit_logistic(rows, torch.from_numpy(labels), weights=masks, c=cs)
    assert probe.weights.shape == (3, 4, 2, 30)
    for site in range(3):
        for fold in range(4):
            kept = folds != fold
            for index, c in enumerate(cs):
                model = reference(rows[site].numpy()[kept], labels[kept], c)
                ours = probe.weights[site, fold, index].numpy()
                np.testing.assert_allclose(ours, model.coef_[0], atol=2e-4)


def test_weights_count_like_repeated_examples():
    rows, labels = planted(100, 10)
    counts = np.random.default_rng(0).integers(1, 4, 100)
    weighted = fit_logistic(
        torch.from_numpy(rows),
        torch.from_numpy(labels),
        weights=torch.from_numpy(counts)[None].float(),
    )
    repeated = fit_logistic(
        torch.from_numpy(rows.repeat(counts, 0)),
        torch.from_numpy(labels.repeat(counts)),
    )
    torch.testing.assert_close(
        weighted.weights[0], repeated.weights, atol=1e-4, rtol=1e-3
    )


def test_labels_may_differ_from_fit_to_fit():
    rows, labels = planted(120, 15)
    both = torch.from_numpy(np.stack([labels, ~labels]))
    probe = fit_logistic(torch.from_numpy(rows), both)
    torch.testing.assert_close(
        probe.weights[0], -probe.weights[1], atol=1e-4, rtol=1e-3
    )


def test_the_certificate_bounds_the_true_gap():
    rows, labels = planted(200, 40)
    probe = fit_logistic(
        torch.from_numpy(rows), torch.from_numpy(labels), tolerance=1e-3
    )
    model = reference(rows, labels, 1.0)
    best = objective(rows, labels, model.coef_[0], model.intercept_[0], 1.0)
    ours = objective(rows, labels, probe.weights, probe.intercept, 1.0)
    assert (ours - best) / best <= float(probe.gap) <= 1e-3


@pytest.mark.filterwarnings("ignore::probes.optimum.NotConvergedWarning")
def test_a_fit_that_does_not_converge_says_so(monkeypatch):
    rows, labels = transformer_like(300, 80)
    monkeypatch.setattr("probes.newton.MAX_STEPS", 2)
    probe = fit_logistic(torch.from_numpy(rows), torch.from_numpy(labels))
    assert not probe.converged
    assert float(probe.gap) > 1e-8


def test_not_converging_warns_with_a_remedy(monkeypatch):
    rows, labels = transformer_like(300, 80)
    monkeypatch.setattr("probes.newton.MAX_STEPS", 2)
    with pytest.warns(NotConvergedWarning, match="1 of 1 .* lower c"):
        fit_logistic(torch.from_numpy(rows), torch.from_numpy(labels))


@pytest.mark.parametrize("name", ["leading", "factored"])
def test_one_hard_fit_is_factored_and_reaches_the_same_optimum(monkeypatch, name):
    """By the examples that matter most, or else in full; in either space."""
    used = []
    original = getattr(newton, name)

    def counted(*arguments):
        used.append(arguments[0].shape)
        return original(*arguments)

    monkeypatch.setattr(newton, name, counted)
    if name == "factored":
        monkeypatch.setattr(newton, "STEPS_BEFORE_LEADING", -1)
    for n, d in ((400, 120), (120, 300)):
        rows, labels = transformer_like(n, d)
        probe = fit_logistic(torch.from_numpy(rows), torch.from_numpy(labels), c=10.0)
        model = reference(rows, labels, 10.0)
        ours = objective(rows, labels, probe.weights, probe.intercept, 10.0)
        best = objective(rows, labels, model.coef_[0], model.intercept_[0], 10.0)
        assert abs(ours - best) <= 1e-6 * best
    assert {shape[1] > shape[2] for shape in used} == {True, False}


def test_leading_examples_stand_for_the_whole_hessian():
    """With all the curvature in half of the examples nothing is left to spread."""
    rows = torch.from_numpy(planted(40, 60)[0])[None].double()
    features = torch.cat((rows, torch.ones_like(rows[..., :1])), -1)
    curvature = torch.zeros(1, 1, 40).double()
    curvature[..., :20] = torch.linspace(0.1, 0.25, 20).double()
    ridge = torch.ones(61).double()
    # A penalised intercept here: the diagonal alone could not stand for it.
    squares = features.square().sum(1, keepdim=True)
    found = leading(features, squares, curvature, ridge)
    assert found is not None
    hessian = features.mT @ (curvature.mT * features) + torch.eye(61)
    gradient = torch.from_numpy(planted(1, 61)[0])[None].double()
    wanted = torch.linalg.solve(hessian, gradient.mT).mT
    torch.testing.assert_close(found(gradient), wanted, atol=1e-4, rtol=1e-4)


def test_correlated_features_are_rotated_and_others_are_not(monkeypatch):
    turned = []
    original = optimum.rotated

    def counted(rows, centre, *, dtype):
        turned.append(rows.shape)
        return original(rows, centre, dtype=dtype)

    monkeypatch.setattr(optimum, "rotated", counted)
    masks = torch.ones(3, 300)
    masks[torch.arange(300) % 3 == torch.arange(3)[:, None]] = 0
    for make, wanted in ((planted, 0), (transformer_like, 1)):
        rows, labels = make(300, 80)
        probe = fit_logistic(
            torch.from_numpy(rows), torch.from_numpy(labels), weights=masks
        )
        assert bool(probe.converged.all())
        assert len(turned) == wanted


@pytest.mark.parametrize("repeats", [1, 3])
def test_uncorrelated_wide_features_are_replaced_by_a_triangle(monkeypatch, repeats):
    """Also where repeated examples leave their Gram matrix singular."""
    made = []
    original = optimum.triangular

    def counted(rows, centre, *, dtype):
        made.append(original(rows, centre, dtype=dtype))
        return made[-1]

    monkeypatch.setattr(optimum, "triangular", counted)
    rows, labels = planted(120 // repeats, 200)
    rows, labels = np.concatenate([rows] * repeats), np.concatenate([labels] * repeats)
    cs = [0.01, 1.0, 100.0]
    probe = fit_logistic(torch.from_numpy(rows), torch.from_numpy(labels), c=cs)
    assert probe.converged.all()
    assert [basis.features.shape for basis in made] == [(1, 120, 121)]
    for index, c in enumerate(cs):
        model = reference(rows, labels, c)
        best = objective(rows, labels, model.coef_[0], model.intercept_[0], c)
        ours = objective(rows, labels, probe.weights[index], probe.intercept[index], c)
        assert abs(ours - best) <= 1e-6 * best


def test_coordinates_of_a_triangle_lead_back_to_the_same_logits():
    rows = torch.from_numpy(planted(20, 50)[0])[None].double()
    centre = rows.mean(1, keepdim=True)
    basis = optimum.triangular(rows, centre, dtype=torch.float64)
    assert basis is not None
    point = torch.from_numpy(planted(3, 21)[0])[None].double()
    weights = basis.weights(point)
    logits = weights[..., :-1] @ (rows - centre).mT + weights[..., -1:]
    torch.testing.assert_close(point @ basis.features.mT, logits, atol=1e-6, rtol=1e-6)
    again = basis.weights(basis.point(weights))
    torch.testing.assert_close(again, weights, atol=1e-6, rtol=1e-6)


def test_one_easy_fit_is_solved_alone_and_a_hard_one_is_not(monkeypatch):
    solved = []
    original = optimum.solve_alone

    def counted(rows, *arguments, gap):
        solved.append(rows.shape)
        return original(rows, *arguments, gap=gap)

    monkeypatch.setattr(optimum, "solve_alone", counted)
    for make, wanted in ((planted, 1), (transformer_like, 0)):
        solved.clear()
        rows, labels = make(300, 80)
        given = np.random.default_rng(0).uniform(0.5, 2, 300).astype(np.float32)
        probe = fit_logistic(
            torch.from_numpy(rows),
            torch.from_numpy(labels),
            weights=torch.from_numpy(given)[None],
            c=10.0,
        )
        model = reference(rows, labels, 10.0, given)
        best = objective(rows, labels, model.coef_[0], model.intercept_[0], 10.0, given)
        ours = objective(
            rows, labels, probe.weights[0], probe.intercept[0], 10.0, given
        )
        assert abs(ours - best) <= 1e-6 * best
        assert len(solved) == wanted


def test_a_fit_that_ends_early_alone_is_continued(monkeypatch):
    rows, labels = planted(200, 40)
    monkeypatch.setattr("probes.alone.MAX_STEPS", 3)
    probe = fit_logistic(torch.from_numpy(rows), torch.from_numpy(labels))
    model = reference(rows, labels, 1.0)
    assert bool(probe.converged)
    np.testing.assert_allclose(probe.weights.numpy(), model.coef_[0], atol=2e-4)


def test_half_precision_activations_are_fitted_in_float32():
    rows, labels = planted(100, 10)
    half = torch.from_numpy(rows).bfloat16()
    probe = fit_logistic(half, torch.from_numpy(labels))
    exact = fit_logistic(half.float(), torch.from_numpy(labels))
    assert probe.weights.dtype == torch.float32
    torch.testing.assert_close(probe.weights, exact.weights)


def test_the_chosen_penalty_is_the_best_on_held_out_groups():
    rows, labels = planted(200, 60, strength=1.5)
    groups = np.arange(200) // 2
    found = fit_logistic_cv(
        torch.from_numpy(rows), torch.from_numpy(labels), groups=groups
    )
    power = ((rows - rows.mean(0)) ** 2).sum(1).mean()
    losses, fits = [], []
    from probes.folds import assign_folds

    folds = assign_folds(labels, groups=groups, n_folds=3)
    for strength in (0.01, 0.1, 1.0, 10.0, 100.0):
        loss = 0.0
        for fold in range(3):
            kept = folds != fold
            model = reference(rows[kept], labels[kept], strength / power)
            logits = model.decision_function(rows[~kept].astype(np.float64))
            loss += np.logaddexp(0, -np.where(labels[~kept], 1, -1) * logits).sum()
        losses.append(loss)
        fits.append(reference(rows, labels, strength / power).coef_[0])
    best = fits[int(np.argmin(losses))]
    np.testing.assert_allclose(found.weights.numpy(), best, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (lambda x, y: (x, y[:-1]), ShapeError, "One of each for every example"),
        (lambda x, y: (x, torch.ones_like(y)), EmptyClassError, "is negative"),
        (lambda x, y: (x * torch.nan, y), DataError, "not finite"),
        (lambda x, y: (x[:, :0], y), ShapeError, r"\[40, 0\]"),
    ],
)
def test_unusable_input_is_refused_in_one_line(change, error, says):
    rows, labels = planted(40, 5)
    with pytest.raises(error, match=says):
        fit_logistic(*change(torch.from_numpy(rows), torch.from_numpy(labels)))


@pytest.mark.parametrize("c", [0.0, -1.0, [], [1.0, float("inf")]])
def test_a_penalty_that_is_none_is_refused(c):
    rows, labels = planted(40, 5)
    with pytest.raises(ConfigError, match="Positive"):
        fit_logistic(torch.from_numpy(rows), torch.from_numpy(labels), c=c)


def test_blocks_of_fits_do_not_change_the_result(monkeypatch):
    rows, labels = planted(100, 20)
    signs = torch.from_numpy(np.where(labels, 1.0, -1.0)).float().expand(1, 12, -1)
    costs = torch.logspace(-2, 2, 12)[:, None].expand(1, 12, 100)
    together = optimise(torch.from_numpy(rows)[None], signs, costs, tolerance=1e-10)
    monkeypatch.setattr("probes.optimum.FITS_AT_ONCE", {"cpu": 5})
    apart = optimise(torch.from_numpy(rows)[None], signs, costs, tolerance=1e-10)
    torch.testing.assert_close(together.weights, apart.weights, atol=1e-4, rtol=1e-3)
