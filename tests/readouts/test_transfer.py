"""The train x test matrix of data sets against one fit at a time."""

import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch

import probes
from interp import results
from interp.errors import DataError, EmptyClassError, ShapeError
from interp.figures import report_section
from interp.figures.brief import brief
from interp.results.transfer import ALL_OTHERS
from interp.statistics import auroc
from probes.studies.summary import brief_table, numbers


def datasets(n=60, d=5, *, shift=3.0, seed=0):
    """Three data sets that share a direction and differ in their mean."""
    rng = np.random.default_rng(seed)
    rows, labels, groups = {}, {}, {}
    for index, name in enumerate(("cities", "animals", "sums")):
        truth = rng.permutation(n) % 2 == 0
        values = rng.normal(size=(n, 2, d)).astype(np.float32)
        values[:, 1, 0] += 2 * truth
        values[:, :, 0] += shift * index
        rows[name], labels[name], groups[name] = values, truth, np.arange(n) // 2
    return rows, labels, groups


def matrix(rows, labels, **options):
    options = {"fit": probes.fit_mean_difference, "resamples": 50, **options}
    return probes.transfer_matrix(rows, labels, **options)


def test_every_cell_is_that_of_one_fit():
    rows, labels, _ = datasets()
    found = matrix(rows, labels)
    assert found.trains == ("cities", "animals", "sums", ALL_OTHERS)
    for i, train in enumerate(found.trains):
        for j, test in enumerate(found.tests):
            if train == test:
                continue
            names = [n for n in rows if n != test] if train == ALL_OTHERS else [train]
            for layer in range(2):
                probe = probes.fit_mean_difference(
                    torch.from_numpy(
                        np.concatenate([rows[n][:, layer] for n in names])
                    ),
                    torch.from_numpy(np.concatenate([labels[n] for n in names])),
                )
                logits = probe.logits(torch.from_numpy(rows[test][:, layer])).numpy()
                assert found.auroc[i, j, layer] == pytest.approx(
                    float(auroc(logits, labels[test])), abs=1e-6
                )
                right = (logits > 0) == labels[test]
                assert found.accuracy[i, j, layer] == pytest.approx(right.mean())
    assert (found.auroc_lo <= found.auroc).all()
    assert (found.auroc <= found.auroc_hi).all()


def test_a_matrix_survives_its_folder_and_is_opened_as_any_result(tmp_path):
    rng = np.random.default_rng(0)
    truth = np.arange(40) % 2 == 0
    rows = {
        name: rng.normal(size=(40, 2, 3)).astype(np.float32) + 2 * truth[:, None, None]
        for name in ("a", "b")
    }
    found = probes.transfer_matrix(rows, {"a": truth, "b": truth}, resamples=50)
    again = results.load(results.save(found, tmp_path / "r"))
    assert isinstance(again, results.TransferMatrix)
    for name in ("auroc", "auroc_lo", "accuracy", "scores", "labels"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    assert again.headline() == found.headline()
    assert again.to_dataframe().equals(found.to_dataframe())
    section = report_section(again)
    assert section.title == "Transfer between data sets"
    assert [panel.name for panel in section.panels] == ["transfer_heatmap"]
    left_out = numbers(again)["left_out"]
    assert left_out == {
        name: pytest.approx(float(found.left_out[i, found.best]), abs=1e-6)
        for i, name in enumerate(found.tests)
    }
    assert brief_table(again).shape == (3, 3)
    assert brief(again).number == f"{found.left_out[:, found.best].mean():.2f}"


def test_the_diagonal_is_that_of_a_sweep_over_the_same_folds():
    rows, labels, groups = datasets()
    found = matrix(rows, labels, groups=groups)
    controls = probes.Controls(permutations=0, random_directions=0, resamples=50)
    for index, name in enumerate(rows):
        alone = probes.sweep(
            rows[name],
            labels[name],
            groups=groups[name],
            fit=probes.fit_mean_difference,
            controls=controls,
        )
        np.testing.assert_allclose(found.auroc[index, index], alone.auroc, atol=1e-6)
        np.testing.assert_allclose(
            found.auroc_lo[index, index], alone.auroc_lo, atol=1e-6
        )


def test_only_transductive_centring_forgives_a_shift_of_the_test_set():
    rows, labels, _ = datasets(200, shift=6.0)
    inductive = matrix(rows, labels)
    transductive = matrix(rows, labels, centring="transductive")
    layer = 1
    off = ~np.eye(3, dtype=bool)
    np.testing.assert_allclose(
        inductive.auroc[:3, :, layer][off], transductive.auroc[:3, :, layer][off],
        atol=1e-6,
    )  # fmt: skip
    assert (inductive.accuracy[:3, :, layer][off] < 0.6).all()
    assert (transductive.accuracy[:3, :, layer][off] > 0.75).all()
    assert transductive.centring == "transductive"


def test_an_inductive_cell_knows_no_other_test_example():
    rows, labels, _ = datasets()
    before = matrix(rows, labels)
    kept = np.arange(60) < 40
    after = matrix(
        {**rows, "sums": rows["sums"][kept]}, {**labels, "sums": labels["sums"][kept]}
    )
    sums = before.dataset_index == 2
    np.testing.assert_allclose(
        before.scores[0][:, sums][:, kept],
        after.scores[0][:, after.dataset_index == 2],
        atol=1e-5,
    )


def test_what_cannot_be_trained_on_costs_its_own_row_only():
    rows, labels, _ = datasets()
    affirmative = np.ones(180, bool)
    affirmative[60:] = np.arange(120) % 3 == 0
    fit = partial(probes.fit_ttpd, affirmative=torch.from_numpy(affirmative))
    found = matrix(rows, labels, fit=fit)
    assert np.isnan(found.auroc[0]).all()
    assert np.isfinite(found.auroc[1:]).all()
    assert any("one polarity" in note for note in found.notes)
    assert found.fit == "fit_ttpd"
    nothing = partial(probes.fit_ttpd, affirmative=torch.ones(180, dtype=torch.bool))
    with pytest.raises(DataError, match="None of the data sets"):
        matrix(rows, labels, fit=nothing)


def test_a_data_set_with_too_few_groups_is_not_judged_on_itself():
    rows, labels, groups = datasets()
    found = matrix(rows, labels, groups={**groups, "sums": np.arange(60) % 3})
    assert np.isnan(found.auroc[2, 2]).all()
    assert np.isfinite(found.auroc[2, :2]).all()
    assert any("sums is not judged on itself" in note for note in found.notes)


def test_the_table_has_one_row_per_cell():
    rows, labels, groups = datasets()
    found = matrix(rows, labels, groups=groups)
    frame = found.to_dataframe()
    assert len(frame) == 4 * 3 * 2
    cell = frame[(frame.train == ALL_OTHERS) & (frame.test == "sums")]
    np.testing.assert_array_equal(cell["auroc"], found.left_out[2])
    assert found.groups[0] == "cities: 0"
    assert "on the one left out" in found.headline()


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (lambda r, y, g: ({"cities": r["cities"]}, y, g), DataError, "two or more"),
        (lambda r, y, g: (r, {"cities": y["cities"]}, g), DataError, "has no labels"),
        (
            lambda r, y, g: ({**r, "sums": r["sums"][:, :1]}, y, g),
            ShapeError,
            "'cities' and 'sums' have different sites",
        ),
        (
            lambda r, y, g: (r, {**y, "sums": np.ones(60, bool)}, g),
            EmptyClassError,
            "All 60",
        ),
        (
            lambda r, y, g: (r, y, {**g, "sums": ["a"]}),
            ShapeError,
            "1 groups for the 60 examples of 'sums'",
        ),
    ],
)
def test_unusable_data_sets_are_refused_in_one_line(change, error, says):
    rows, labels, groups = change(*datasets())
    with pytest.raises(error, match=says) as caught:
        matrix(rows, labels, groups=groups)
    assert "\n" not in str(caught.value)


def test_a_sweep_of_plain_arrays_imports_no_transformers():
    code = (
        "import sys, numpy as np, probes\n"
        "rows = np.random.default_rng(0).normal(size=(40, 2, 4))\n"
        "labels = np.arange(40) % 2 == 0\n"
        "controls = probes.Controls(permutations=5, resamples=10)\n"
        "probes.sweep(rows, labels, controls=controls)\n"
        "probes.transfer_matrix({'a': rows, 'b': rows}, {'a': labels, 'b': labels})\n"
        "heavy = {'transformers', 'sklearn', 'nnsight', 'scipy.stats', 'plotly'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
