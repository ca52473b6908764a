"""Sweeps: folds, nested choice, controls, and their statistics by simulation.

The folder is not called `probes`: on the search path of the tests that name would hide
the package.
"""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.stats import kstest, norm

import probes
from interp.errors import (
    ConfigError,
    DataError,
    EmptyClassError,
    ShapeError,
)
from interp.results.files import read_description, read_result, write_result
from interp.results.sweep import ProbeSweep
from interp.statistics import auroc
from probes.controls import Controls, random_band, selectivity
from probes.design import chosen_probes, designed
from probes.evaluate import aurocs, held_out, quality
from probes.folds import assign_folds
from probes.linear import LinearProbe
from probes.mdl import online_compression
from probes.permutation import permutation_p_values, shuffled_aurocs, shuffles


CHEAP = Controls(permutations=50, random_directions=50, resamples=200)
NONE = Controls(permutations=0, random_directions=0, resamples=50)


def planted(n=240, layers=3, d=16, *, at=1, delta=2.0, seed=0):
    """Rows in which one layer holds the label, `delta` standard deviations apart."""
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.5
    rows = rng.normal(size=(n, layers, d)).astype(np.float32)
    rows[:, at, 0] += delta * labels
    return rows, labels


def test_a_planted_layer_is_found_and_the_others_are_not():
    rows, labels = planted()
    found = probes.sweep(rows, labels, controls=CHEAP)
    assert found.best_site == "activations.1"
    assert found.auroc[1] > 0.85
    assert found.permutation_p[1] == pytest.approx(1 / 51)
    assert (found.permutation_p_corrected >= found.permutation_p).all()
    assert (found.permutation_p[[0, 2]] > 0.02).all()
    assert found.auroc_lo[0] < 0.5 < found.auroc_hi[0]
    assert (found.chosen == 1).all()
    assert found.nested_auroc == pytest.approx(found.auroc[1], abs=1e-6)


def test_the_table_has_one_row_per_site_with_every_column():
    rows, labels = planted(80)
    found = probes.sweep(rows, labels, controls=CHEAP)
    frame = found.to_dataframe()
    assert frame["site"].tolist() == [f"activations.{i}" for i in range(3)]
    assert frame["layer"].tolist() == [0, 1, 2]
    assert {
        "position", "auroc", "auroc_lo", "auroc_hi", "accuracy", "brier", "ece",
        "selectivity", "permutation_p", "mdl_compression",
    } <= {*frame.columns}  # fmt: skip
    assert np.isnan(found.selectivity).all()
    assert "activations.1" in found._repr_html_()


def test_held_out_scores_are_those_of_a_loop_over_folds():
    rows, labels = planted(60, 2, 5)
    found = probes.sweep(rows, labels, fit=probes.fit_mean_difference, controls=NONE)
    for layer in range(2):
        for fold in range(5):
            out = found.folds == fold
            probe = probes.fit_mean_difference(
                torch.from_numpy(rows[~out, layer]), torch.from_numpy(labels[~out])
            )
            alone = probe.logits(torch.from_numpy(rows[out, layer])).numpy()
            np.testing.assert_allclose(found.scores[layer, out], alone, atol=1e-4)
    assert found.auroc[1] == pytest.approx(auroc(found.scores[1], labels), abs=1e-6)


def test_a_group_is_never_on_both_sides():
    rows, labels = planted(90)
    groups = [f"city {i // 4}" for i in range(90)]
    found = probes.sweep(rows, labels, groups=groups, controls=NONE)
    assert found.split == "group"
    for group in {*groups}:
        inside = [fold for fold, at in zip(found.folds, groups, strict=True)
                  if at == group]  # fmt: skip
        assert len({*inside}) == 1


def test_given_folds_leave_one_data_set_out():
    rows, labels = planted(90)
    datasets = np.repeat(["a", "b", "c"], 30)
    found = probes.sweep(rows, labels, folds=datasets, controls=NONE)
    assert found.split == "given"
    assert [*found.folds[::30]] == [0, 1, 2]
    many = probes.sweep(rows, labels, folds=[f"{i // 2}" for i in range(90)],
                        controls=NONE)  # fmt: skip
    assert many.split == "group"
    assert found.chosen.size == 3


def test_given_folds_that_cut_a_group_are_refused():
    rows, labels = planted(20)
    with pytest.raises(ShapeError, match="'0' lies in more than one"):
        probes.sweep(
            rows, labels, groups=[i // 2 for i in range(20)], folds=np.arange(20) % 2
        )


def test_the_choice_of_a_site_never_sees_its_fold():
    """Labels of a fold may change: what that fold chooses may not."""
    rng = np.random.default_rng(0)
    labels = rng.random(60) < 0.5
    logits = rng.normal(size=(8, 15, 60))
    design = designed(labels, None, 5, 0)
    before = chosen_probes(logits, design)
    for fold in range(5):
        inside = design.folds == fold
        changed = np.where(inside, ~labels, labels)
        after = chosen_probes(
            logits,
            type(design)(
                labels=changed, groups=None, folds=design.folds, split="random"
            ),
        )
        assert after[fold] == before[fold]
    assert len(design.pairs) == 10
    for mask, pair in zip(design.masks[5:], design.pairs, strict=True):
        assert not np.isin(design.folds[mask], pair).any()


def test_nested_choice_pays_for_choosing_where_there_is_nothing():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(100, 30, 4)).astype(np.float32)
    found = probes.sweep(
        rows, rng.random(100) < 0.5, fit=probes.fit_mean_difference, controls=CHEAP
    )
    assert found.auroc.max() > 0.58
    assert found.nested_auroc < found.auroc.max()
    assert found.headline().startswith("No probe")


def test_a_sweep_survives_its_folder(tmp_path):
    rows, labels = planted(60)
    found = probes.sweep(rows, labels, controls=CHEAP, groups=np.arange(60) // 2)
    folder = write_result(found, tmp_path / "sweep")
    description = read_description(folder)
    again = read_result(folder, description, ProbeSweep, newest=ProbeSweep.SCHEMA)
    assert again.headline() == found.headline()
    np.testing.assert_array_equal(again.scores, found.scores)
    assert again.to_dataframe().equals(found.to_dataframe())


def test_any_function_can_be_the_fit():
    rows, labels = planted(60)

    def first_feature(rows, labels):
        weights = torch.zeros(rows.shape[1])
        weights[0] = 1.0
        return LinearProbe.closed(weights, -rows[:, 0].mean())

    found = probes.sweep(
        rows, labels, fit=probes.one_by_one(first_feature), controls=NONE
    )
    assert found.fit == "first_feature"
    assert found.auroc[1] == pytest.approx(auroc(found.scores[1], labels))
    path = partial(probes.fit_logistic_cv, strengths=(0.1, 1.0))
    assert probes.sweep(rows, labels, fit=path, controls=NONE).fit == "fit_logistic_cv"


def test_baselines_are_judged_on_the_folds_of_the_probes():
    rows, labels = planted(60)
    texts = [f"{'true' if label else 'no'} {i}" for i, label in enumerate(labels)]
    controls = Controls(
        permutations=0, texts=texts, baselines={"log-probability": labels * 1.0}
    )
    found = probes.sweep(rows, labels, controls=controls).baselines_dataframe()
    assert found["name"].tolist() == ["bag of words", "length", "log-probability"]
    assert min(found["auroc"].tolist()) > 0.9


# Statistics by simulation, in their small form; benchmarks/validity.py has the full.


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
    for row, wanted in zip(drawn, quick, strict=True):
        scores = np.empty(40)
        for fold in range(2):
            kept, out = folds != fold, folds == fold
            x = rows[:, 0].astype(np.float64)
            theta = x[kept & row].mean(0) - x[kept & ~row].mean(0)
            scores[out] = (x[out] - x[kept].mean(0)) @ theta
        assert auroc(scores, row) == pytest.approx(float(wanted[0]), abs=1e-6)
    fitted = shuffled_aurocs(site, drawn, folds, fit=probes.fit_logistic)
    assert fitted.shape == quick.shape
    assert np.abs(fitted - quick).max() > 0


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


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"labels": np.zeros(40, bool)}, EmptyClassError, "All 40 examples"),
        ({"labels": np.arange(40)}, DataError, "compare one with the rest"),
        ({"labels": np.ones(39, bool)}, ShapeError, "for 40 examples"),
        ({"groups": ["a"] * 39}, ShapeError, "39 groups for 40"),
        ({"groups": ["a"] * 20 + ["b"] * 20}, DataError, "2 groups for 5 folds"),
        ({"folds": 1}, ConfigError, "2 or more"),
        ({"controls": Controls(texts=["a"])}, ShapeError, "1 texts for 40"),
        ({"controls": Controls(baselines={"x": [1.0]})}, ShapeError, "'x'"),
    ],
)
def test_unusable_input_is_refused_in_one_line(change, error, says):
    rows, labels = planted(40)
    arguments = {"labels": labels, **change}
    with pytest.raises(error, match=says) as caught:
        probes.sweep(rows, **arguments)
    assert "\n" not in str(caught.value)
