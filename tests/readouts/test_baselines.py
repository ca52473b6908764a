"""What a probe must beat, erasure, and two sweeps side by side."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import kstest, t
from sweep_samples import NONE, planted

import probes
from interp import results
from interp.errors import DataError, ShapeError
from interp.statistics import auroc, auroc_difference
from probes.baselines import oriented
from probes.comparing import compare_sweeps
from probes.erasing import erasures
from probes.folds import assign_folds


def test_a_baseline_is_turned_by_training_examples_only():
    rng = np.random.default_rng(0)
    labels = rng.random(200) < 0.5
    folds = assign_folds(labels)
    informative = rng.normal(size=200) - 2 * labels
    assert auroc(oriented(informative, labels, folds), labels) > 0.85
    noise = [
        auroc(oriented(rng.normal(size=200), labels, folds), labels) for _ in range(40)
    ]
    assert abs(np.mean(noise) - 0.5) < 0.03


def test_references_are_fitted_on_the_folds_of_the_sweep():
    rows, labels = planted(160)
    other = np.roll(rows, 1, axis=1)
    controls = replace(NONE, references={"untrained": rows[:, :1], "moved": other})
    found = probes.sweep(rows, labels, controls=controls)
    untrained, moved = found.baselines
    assert untrained.name == "untrained"
    assert untrained.auroc == pytest.approx(found.auroc[0], abs=1e-6)
    # The same sites in another order: the nested choice finds the same one.
    assert moved.auroc == pytest.approx(found.nested_auroc, abs=1e-6)
    assert moved.auroc_lo == pytest.approx(found.nested_auroc_lo, abs=1e-6)


def test_a_reference_of_other_examples_is_refused():
    rows, labels = planted(60)
    controls = replace(NONE, references={"untrained": rows[:10]})
    with pytest.raises(ShapeError, match="'untrained' has 10 examples"):
        probes.sweep(rows, labels, controls=controls)


def test_what_is_erased_cannot_be_read_again():
    rng = np.random.default_rng(0)
    labels = rng.permutation(400) % 2 == 0
    rows = rng.normal(size=(2, 400, 6)).astype(np.float32)
    rows[0, :, 0] += 4 * labels
    # Larger for positive examples, in spread as in mean: not linear alone.
    rows[1, :, 1] *= 1 + 3 * labels
    folds = assign_folds(labels)
    found = erasures(
        torch.from_numpy(rows), labels, folds, fit=probes.fit_logistic, first=5
    )
    assert [(row.method, row.probe) for row in found] == [
        ("leace", 5), ("inlp", 5), ("leace", 6), ("inlp", 6),
    ]  # fmt: skip
    assert all(abs(row.auroc - 0.5) < 0.12 for row in found)
    assert found[0].dimensions == 1 < found[1].dimensions


def test_a_sweep_reports_what_erasure_leaves(tmp_path):
    rows, labels = planted(120, delta=4.0)
    found = probes.sweep(rows, labels, controls=replace(NONE, erasure=True))
    frame = found.to_dataframe()
    assert found.auroc[1] > 0.95
    assert frame["leace_auroc"].tolist()[1] < 0.7
    assert not np.isnan(frame["inlp_accuracy"].to_numpy()).any()
    again = results.load(results.save(found, tmp_path / "sweep"))
    assert again.to_dataframe().equals(frame)
    plain = probes.sweep(rows, labels, controls=NONE).to_dataframe()
    assert "leace_auroc" not in plain


def two_sweeps(seed=0, *, better=0.0, n=120):
    """Two noisy readings of one label by groups; the first is `better`."""
    rng = np.random.default_rng(seed)
    groups = np.arange(n) // 2
    labels = (rng.permutation(n // 2) % 2 == 0)[groups]
    shared = labels + rng.normal(size=n // 2)[groups]
    found = []
    for bonus in (better, 0.0):
        rows = shared[:, None, None] + rng.normal(size=(n, 2, 1))
        rows[:, 1, 0] += bonus * labels
        found.append(
            probes.sweep(
                rows.astype(np.float32),
                labels,
                groups=groups,
                fit=probes.fit_mean_difference,
                controls=NONE,
            )
        )
    return found


def test_a_better_readout_is_found_better_where_it_is():
    a, b = two_sweeps(better=4.0)
    found = compare_sweeps(a, b, resamples=200, permutations=99)
    assert found.sites == a.sites
    assert found.difference.low[1] > 0
    assert found.p[1] == pytest.approx(0.01)
    assert found.p_corrected[1] <= 0.02
    assert found.p[0] > 0.02
    frame = found.to_dataframe()
    np.testing.assert_allclose(frame["auroc_a"] - frame["auroc_b"], frame["difference"])
    groups = np.array(a.groups)
    alone = auroc_difference(
        a.scores[1], b.scores[1], a.labels, groups=groups, resamples=200
    )
    assert found.difference.low[1] == alone.low
    assert float(found.nested.estimate) == pytest.approx(
        a.nested_auroc - b.nested_auroc, abs=1e-6
    )


def test_the_paired_p_is_uniform_between_equal_readouts():
    base, _ = two_sweeps(n=60)
    p = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        labels = (rng.permutation(30) % 2 == 0)[np.arange(60) // 2]
        shared = labels + rng.normal(size=30)[np.arange(60) // 2]
        # One logit is on another scale, which must not matter.
        scores = (shared + rng.normal(size=(2, 2, 60))).astype(np.float32)
        a = replace(base, scores=scores[0], labels=labels)
        b = replace(base, scores=10 * scores[1], labels=labels)
        p.append(compare_sweeps(a, b, resamples=2, permutations=39).p[0])
    spread = np.array(p) - np.random.default_rng(0).random(100) / 40
    assert kstest(spread, "uniform").pvalue > 0.01


def test_procedures_that_are_equally_good_are_rarely_told_apart():
    """Each fit has noise of its own, which the p of the fitted probes leaves out."""
    fitted, procedures = 0, 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        labels = rng.permutation(60) % 2 == 0
        rows = rng.normal(size=(2, 60, 12)).astype(np.float32)
        rows[:, :, 0] += labels
        a, b = (
            probes.sweep(one, labels, fit=probes.fit_mean_difference, controls=NONE)
            for one in rows
        )
        found = compare_sweeps(a, b, resamples=2, permutations=39)
        fitted += int(found.p[0] <= 0.05)
        procedures += int(found.procedure_p[0] <= 0.05)
    # 3 standard errors of 5 % are 8 points.
    assert procedures <= 8
    assert procedures < fitted


def test_the_difference_of_procedures_is_a_mean_over_folds():
    a, b = two_sweeps(better=4.0)
    found = compare_sweeps(a, b, resamples=20, permutations=19)
    by_fold = [
        auroc(a.scores[1][at].astype(float), a.labels[at])
        - auroc(b.scores[1][at].astype(float), a.labels[at])
        for at in (a.folds == fold for fold in range(5))
    ]
    assert found.procedure.estimate[1] == pytest.approx(np.mean(by_fold))
    # Five folds, each tested by a quarter as many examples as it is fitted on.
    error = np.std(by_fold, ddof=1) * np.sqrt(1 / 5 + 1 / 4)
    assert found.procedure_p[1] == pytest.approx(2 * t.sf(np.mean(by_fold) / error, 4))
    assert found.procedure_p[1] < found.procedure_p[0]
    assert found.procedure_p_corrected[1] == pytest.approx(2 * found.procedure_p[1])
    # A fold of one label tells nothing of an AUROC.
    folds = np.where(a.labels, 0, 1).astype(np.int32)
    apart = compare_sweeps(replace(a, folds=folds), replace(b, folds=folds))
    assert np.isnan(apart.procedure_p).all()


def test_sweeps_of_other_examples_or_sites_are_not_compared():
    rows, labels = planted(60)
    a = probes.sweep(rows, labels, controls=NONE)
    with pytest.raises(ShapeError, match="same examples"):
        compare_sweeps(a, probes.sweep(rows[1:], labels[1:], controls=NONE))
    with pytest.raises(ShapeError, match="different groups"):
        compare_sweeps(
            a, probes.sweep(rows, labels, groups=np.arange(60) // 2, controls=NONE)
        )
    with pytest.raises(DataError, match="share none"):
        compare_sweeps(a, probes.sweep(rows[:, 0], labels, controls=NONE))
    assert np.isfinite(compare_sweeps(a, a, resamples=20).nested.estimate)
