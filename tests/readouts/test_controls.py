"""Controls and the statistics of sweeps, by simulation, in their small form.

`benchmarks/validity.py` has the full one.
"""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.stats import kstest, norm
from sklearn.linear_model import Ridge
from sweep_samples import NONE, planted

import probes
from interp.errors import (
    DataError,
)
from interp.statistics import auroc
from probes.controls import Controls, random_band, selectivity
from probes.evaluate import aurocs, held_out, quality
from probes.folds import assign_folds
from probes.mdl import online_compression
from probes.p_values import permutation_p_values
from probes.permutation import (
    closed_form_scores,
    held_out_p,
    shuffled_aurocs,
    shuffles,
)


def test_scores_that_tell_groups_apart_do_not_make_a_small_p():
    rng = np.random.default_rng(6)
    groups, small = np.repeat(np.arange(20), 6), {"grouped": 0, "alone": 0}
    for seed in range(120):
        labels = (rng.permutation(20) % 2 == 0)[groups]
        scores = rng.normal(size=20)[groups] + 0.5 * rng.normal(size=120)
        for name, given in (("grouped", groups), ("alone", None)):
            p = held_out_p(scores, labels, groups=given, permutations=99, seed=seed)
            small[name] += bool(p <= 0.05)
    # Six are expected of 120, and more than 14 once in a thousand times.
    assert small["grouped"] <= 14
    assert small["alone"] > 24


def test_held_out_scores_of_groups_that_cannot_exchange_have_no_p():
    labels = np.array([True] * 3 + [False] * 2)
    scores = np.arange(10.0).reshape(2, 5)
    assert np.isnan(held_out_p(scores, labels, groups=labels)).all()


def test_permutation_p_is_uniform_when_labels_mean_nothing():
    p = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        rows = torch.from_numpy(rng.normal(size=(1, 30, 4)).astype(np.float32))
        labels = rng.random(30) < 0.5
        labels[:4] = [True, True, False, False]
        folds = assign_folds(labels, n_folds=3, seed=seed)
        drawn = shuffles(labels, folds=folds, count=39, seed=seed)
        null = shuffled_aurocs(rows, np.concatenate((labels[None], drawn)), folds)
        p.append(permutation_p_values(null).each[0])
    # A p-value on a grid of 1/40 is spread out within its step first.
    spread = np.array(p) - np.random.default_rng(0).random(150) / 40
    assert kstest(spread, "uniform").pvalue > 0.01


def test_shuffles_keep_what_groups_hold_together():
    groups = np.repeat(np.arange(12), 3)
    alike = np.repeat(np.arange(12) % 2 == 0, 3)
    drawn = shuffles(alike, groups=groups, count=20)
    assert (drawn.reshape(20, 12, 3).min(2) == drawn.reshape(20, 12, 3).max(2)).all()
    assert len(np.unique(drawn, axis=0)) > 10
    folds = np.repeat(np.arange(4), 9)
    inside = shuffles(alike, groups=groups, folds=folds, count=20)
    for fold in range(4):
        at = folds == fold
        assert (inside[:, at].sum(1) == alike[at].sum()).all()


def test_groups_that_cannot_be_exchanged_give_no_p_but_a_note():
    rows, _ = planted(60)
    groups = np.repeat(np.arange(8), [2, 3, 5, 7, 8, 9, 11, 15])
    labels = groups % 2 == 0
    controls = Controls(random_directions=0, resamples=50)
    found = probes.sweep(rows, labels, groups=groups, folds=2, controls=controls)
    assert np.isnan(found.permutation_p).all()
    assert any("nothing to exchange" in note for note in found.notes)


def test_every_shuffle_is_refitted():
    rows, labels = planted(40, 1, 4, at=0)
    folds = assign_folds(labels, n_folds=2)
    drawn = shuffles(labels, folds=folds, count=3)
    site = torch.from_numpy(rows[None, :, 0])
    quick = shuffled_aurocs(site, drawn, folds)
    fitted = shuffled_aurocs(site, drawn, folds, fit=probes.fit_logistic)
    assert fitted.shape == quick.shape
    assert np.abs(fitted - quick).max() > 0


@pytest.mark.parametrize("d_model", [5, 30, 80])
def test_closed_forms_of_all_shuffles_are_those_of_a_loop_over_fits(d_model: int):
    rng = np.random.default_rng(d_model)
    x = rng.normal(size=(40, d_model)) * np.geomspace(3, 0.1, d_model) + 7
    labels = rng.random(40) < 0.4
    folds = assign_folds(labels, n_folds=3)
    drawn = shuffles(labels, folds=folds, count=3)
    wanted = np.empty((3, 3, 40))
    for at, row in enumerate(drawn):
        for fold in range(3):
            kept, out = folds != fold, folds == fold
            mean, variance = x[kept].mean(0), x[kept].var(0).sum() * kept.sum()
            theta = [x[kept & row].mean(0) - x[kept & ~row].mean(0)]
            for share in (1e-2, 1e-5):
                alpha = share * variance / min(kept.sum(), d_model)
                theta.append(Ridge(alpha=alpha).fit(x[kept], row[kept]).coef_)
            wanted[:, at, out] = np.stack(theta) @ (x[out] - mean).T
    site = torch.from_numpy(x)
    scores = closed_form_scores(site, drawn, folds)
    np.testing.assert_allclose(scores, wanted, rtol=1e-4, atol=1e-5)
    best = [max(auroc(form[at], drawn[at]) for form in wanted) for at in range(3)]
    found = shuffled_aurocs(site[None], drawn, folds)[:, 0]
    np.testing.assert_allclose(found, best, atol=1e-9)


def test_closed_forms_say_nothing_of_rows_that_are_all_alike():
    labels = np.arange(12) % 2 == 0
    folds = np.arange(12) // 4
    for d_model in (3, 20):
        rows = torch.full((1, 12, d_model), 3.0)
        assert shuffled_aurocs(rows, labels[None], folds).tolist() == [[0.5]]


@pytest.mark.parametrize("delta", [1.0, 2.0])
def test_a_planted_direction_is_recovered_with_its_closed_form_auroc(delta):
    rows, labels = planted(6000, 1, 8, at=0, delta=delta)
    site = torch.from_numpy(rows[:, 0])
    truth = torch.from_numpy(labels)
    for fit in (probes.fit_logistic, probes.fit_mean_difference, probes.fit_lda):
        probe = fit(site, truth)
        assert float(probe.directions[0]) > 0.97
        found = auroc(probe.logits(site).double().numpy(), labels)
        assert found == pytest.approx(norm.cdf(delta / np.sqrt(2)), abs=0.02)


def test_a_group_leak_raises_only_the_random_split():
    """Each group has a signature and one label; nothing else tells the labels."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 5)
    labels = (rng.permutation(60) % 2 == 0)[groups]
    rows = rng.normal(size=(60, 40))[groups] + 0.3 * rng.normal(size=(300, 40))
    rows = rows.astype(np.float32)
    leaking = probes.sweep(rows, labels, controls=NONE)
    honest = probes.sweep(rows, labels, groups=groups, controls=NONE)
    assert leaking.auroc[0] > 0.9
    assert abs(honest.auroc[0] - 0.5) < 0.15


def test_intervals_cover_the_true_auroc():
    delta, inside = 1.0, 0
    truth = norm.cdf(delta / np.sqrt(2))
    from interp.statistics import auroc_interval

    for seed in range(100):
        rng = np.random.default_rng(seed)
        labels = rng.random(150) < 0.5
        scores = rng.normal(size=150) + delta * labels
        found = auroc_interval(scores, labels, resamples=200, seed=seed)
        inside += int(found.low <= truth <= found.high)
    assert inside >= 89


def test_selectivity_unmasks_a_probe_that_remembers_types():
    rng = np.random.default_rng(0)
    types = np.repeat(np.arange(40), 4)
    labels = (rng.permutation(40) % 2 == 0)[types]
    one_hot = 5 * np.eye(40)[types]
    meaning = np.stack((labels * 4.0, *rng.normal(size=(3, 160))), 1)
    remembers = torch.from_numpy(one_hot[None]).float()
    understands = torch.from_numpy(meaning[None]).float()
    fit = partial(probes.fit_logistic, c=10.0)
    assert abs(selectivity(remembers, labels, types, fit=fit)[0]) < 0.1
    assert selectivity(understands, labels, types, fit=fit)[0] > 0.3
    with pytest.raises(DataError, match="Pass types="):
        selectivity(remembers, labels, np.arange(160), fit=fit)


def test_description_length_is_short_only_where_the_label_is():
    rows, labels = planted(400, 2, 4, at=1, delta=8.0)
    stack = torch.from_numpy(rows).movedim(1, 0)
    found = online_compression(stack, labels, fit=probes.fit_logistic)
    assert found[1] > 5
    assert found[0] < 1.1
    grouped = online_compression(
        stack, labels, fit=probes.fit_logistic, groups=np.arange(400) // 2
    )
    assert grouped[1] > 5


def test_description_length_is_that_of_a_loop_over_blocks():
    rows, labels = planted(120, 1, 3, at=0)
    stack = torch.from_numpy(rows).movedim(1, 0)
    found = online_compression(stack, labels, fit=probes.fit_mean_difference, seed=4)
    order = np.argsort(np.random.default_rng(4).permutation(120), kind="stable")
    ends = np.unique(np.ceil(np.array(
        [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.0625, 0.125, 0.25, 0.5, 1]
    ) * 120)).astype(int)  # fmt: skip
    positive = np.cumsum(labels[order])[ends - 1]
    held = ends[np.minimum(positive, ends - positive) >= 2]
    bits = float(held[0])
    for start, stop in pairwise(held):
        seen, sent = order[:start], order[start:stop]
        probe = probes.fit_mean_difference(
            stack[0][seen], torch.from_numpy(labels[seen])
        )
        p = probe.probabilities(stack[0][sent]).double().numpy()
        bits -= np.log2(np.where(labels[sent], p, 1 - p)).sum()
    assert found[0] == pytest.approx(120 / bits, rel=1e-4)


def test_random_directions_know_the_covariance():
    rng = np.random.default_rng(0)
    labels = rng.random(200) < 0.5
    rows = rng.normal(size=(200, 50)).astype(np.float32)
    # The label lies along the axis of by far the largest variance.
    rows[:, 0] = 20 * labels + rng.normal(size=200)
    band = random_band(torch.from_numpy(rows)[None], labels, count=200)
    assert band.covariance[0] > 0.95
    assert band.isotropic[0] > 0.6


def test_calibration_is_measured_as_defined():
    logits = np.log(
        np.array([0.15, 0.15, 0.85, 0.85]) / np.array([0.85, 0.85, 0.15, 0.15])
    )
    labels = np.array([False, True, True, True])
    found = quality(logits, labels)
    assert float(found.accuracy) == 0.75
    assert float(found.ece) == pytest.approx((abs(0.3 - 1) + abs(1.7 - 2)) / 4)
    assert float(found.brier) == pytest.approx(
        np.mean([0.15**2, 0.85**2, 0.15**2, 0.15**2])
    )


def test_aurocs_of_rows_are_those_one_at_a_time():
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 5, (6, 30)) * 1.0, rng.random((6, 30)) < 0.5
    wanted = [auroc(s, at) for s, at in zip(scores, labels, strict=True)]
    np.testing.assert_allclose(aurocs(scores, labels), wanted)


def test_folds_are_balanced_whole_and_reproducible():
    rng = np.random.default_rng(0)
    labels = rng.random(200) < 0.3
    groups = rng.integers(0, 40, 200)
    folds = assign_folds(labels, groups=groups)
    assert all(len({*folds[groups == g]}) == 1 for g in range(40))
    shares = [labels[folds == k].mean() for k in range(5)]
    assert max(shares) - min(shares) < 0.1
    np.testing.assert_array_equal(folds, assign_folds(labels, groups=groups))
    assert (folds != assign_folds(labels, groups=groups, seed=1)).any()


def test_the_logit_of_an_example_comes_from_the_fit_without_it():
    logits = np.arange(6.0).reshape(2, 3)
    assert held_out(logits, np.array([0, 1, 0])).tolist() == [0.0, 4.0, 2.0]
