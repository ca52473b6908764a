"""Sweeps: folds, nested choice, controls, and their statistics by simulation.

The folder is not called `probes`: on the search path of the tests that name would hide
the package.
"""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from sweep_samples import CHEAP, NONE, planted

import probes
from interp import results
from interp.activations import Activations
from interp.errors import (
    ConfigError,
    DataError,
    EmptyClassError,
    ShapeError,
)
from interp.figures.sections import report_section
from interp.positions import Positions
from interp.provenance import ModelRecord
from interp.results.sweep import ProbeSweep
from interp.sites import Site
from interp.statistics import auroc
from probes import keeping
from probes.controls import Controls
from probes.design import chosen_probes, designed
from probes.linear import LinearProbe
from probes.studies.summary import brief_table, numbers


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


def test_a_truth_that_only_the_fit_can_see_is_not_called_nothing():
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2 == 0
    rows = 10 * rng.normal(size=(200, 50)).astype(np.float32)
    # One narrow axis tells; the means differ far more along the wide ones, by chance.
    rows[:, 0] = 0.1 * rng.normal(size=200) + labels
    separates = "The probe at activations separates held-out examples best"
    found = probes.sweep(rows, labels, fit=probes.fit_lda)
    assert found.auroc[0] > 0.95
    assert found.permutation_p_corrected[0] == pytest.approx(1 / 201)
    assert found.permutation_fit == "the better of difference of means and ridge"
    assert found.headline().startswith(separates)
    own = Controls(permutations=40, permutation_fit=probes.fit_lda)
    said = probes.sweep(rows, labels, fit=probes.fit_lda, controls=own)
    assert said.permutation_fit == "fit_lda"
    assert said.headline().startswith(separates)
    blind = Controls(permutations=40, permutation_fit=probes.fit_mean_difference)
    undecided = probes.sweep(rows, labels, fit=probes.fit_lda, controls=blind)
    assert undecided.permutation_p_corrected[0] > 0.05
    assert undecided.headline().startswith("Whether the probe at activations separates")
    assert "is fit_mean_difference, not this probe" in undecided.headline()
    decided = replace(undecided, permutation_fit="fit_lda").headline()
    assert decided.startswith("No probe separates")
    without = probes.sweep(rows, labels, fit=probes.fit_lda, controls=NONE)
    assert without.permutation_fit == ""


@pytest.mark.parametrize(("n_groups", "narrow"), [(7, True), (8, False)])
def test_intervals_over_too_few_groups_are_named(n_groups: int, narrow: bool):
    rows, labels = planted(120)
    groups = np.arange(120) % n_groups
    for given, said in ((groups, narrow), (None, False)):
        found = probes.sweep(rows, labels, groups=given, controls=NONE)
        assert any("not known" in note for note in found.notes) == said


def test_a_sweep_survives_its_folder(tmp_path):
    rows, labels = planted(60)
    found = probes.sweep(rows, labels, controls=CHEAP, groups=np.arange(60) // 2)
    again = results.load(results.save(found, tmp_path / "sweep"))
    assert isinstance(again, ProbeSweep)
    assert again.headline() == found.headline()
    np.testing.assert_array_equal(again.scores, found.scores)
    assert again.to_dataframe().equals(found.to_dataframe())
    assert report_section(again).title == "Probes"
    assert len(brief_table(again)) == 3
    assert numbers(again)["best_site"] == "activations.1"


def test_a_sweep_knows_the_texts_and_scores_behind_every_cell(tmp_path):
    rows, labels = planted(60)
    texts = [f"text {i}" for i in range(60)]
    controls = replace(CHEAP, texts=texts)
    found = probes.sweep(rows, labels, controls=controls)
    again = results.load(results.save(found, tmp_path / "sweep"))
    assert isinstance(again, ProbeSweep)
    for probe in range(3):
        frame = again.examples_dataframe(probe)
        order = frame["example"].to_numpy()
        assert frame["text"].tolist() == [texts[i] for i in order]
        np.testing.assert_array_equal(frame["score"], found.scores[probe][order])
        wrong = np.where(frame["label"], -frame["score"], frame["score"])
        assert (np.diff(wrong) <= 0).all()
        area = auroc(frame["score"].to_numpy(), frame["label"].to_numpy())
        assert area == pytest.approx(found.auroc[probe], abs=1e-6)


def test_a_large_sweep_keeps_the_scores_of_its_best_probes(monkeypatch, tmp_path):
    rows, labels = planted(60)
    whole = probes.sweep(rows, labels, controls=CHEAP)
    monkeypatch.setattr(keeping, "MOST_SCORES", 130)
    found = probes.sweep(rows, labels, controls=CHEAP)
    assert found.scored.size == 2
    assert {whole.best, *whole.chosen.tolist()} <= {*found.scored.tolist()}
    assert any("2 of 3 probes" in note for note in found.notes)
    again = results.load(results.save(found, tmp_path / "sweep"))
    assert isinstance(again, ProbeSweep)
    for probe in range(3):
        kept = again.scores_of(probe)
        if probe in found.scored:
            np.testing.assert_array_equal(kept, whole.scores[probe])
        else:
            assert kept is None
            assert again.examples_dataframe(probe).empty
    both = probes.compare_sweeps(found, whole, resamples=20, permutations=20)
    assert both.sites == tuple(whole.sites[i] for i in found.scored)


def test_long_texts_are_cut_and_the_cut_is_said(monkeypatch):
    monkeypatch.setattr(keeping, "MOST_OF_ONE", 5)
    notes = []
    assert keeping.kept_texts(["short", "longer"], 2, notes) == ("short", "longe…")
    assert notes == ["1 of 2 texts are kept up to their letter 5."]


def captured(n=60, *, slots=1):
    """Activations as a capture gives them: two layers and a site without one."""
    rows, labels = planted(n, 2, 6)
    if slots > 1:
        rows = np.repeat(rows[:, :, None], slots, axis=2)
    index = tuple(tuple(range(4 - slots, 4)) for _ in range(n))
    acts = Activations(
        sites=(Site("embed"), Site("resid_post", 3), Site("resid_post", 7)),
        values={
            "resid_post": torch.from_numpy(rows).bfloat16(),
            "embed": torch.from_numpy(rows[:, 0]),
        },
        token_ids=((1, 2, 3, 4),) * n,
        texts=tuple(
            f"{'yes' if label else 'no'} {i}" for i, label in enumerate(labels)
        ),
        resolved=Positions(
            spec="last" if slots == 1 else "template[-2:]",
            kind="one" if slots == 1 else "several",
            index=index,
        ),
        provenance=ModelRecord(name="tiny"),
    )
    return acts, labels


def test_captured_activations_keep_the_names_of_their_sites():
    acts, labels = captured()
    found = probes.sweep(acts, labels, controls=NONE)
    assert found.sites == ("embed", "resid_post.3", "resid_post.7")
    assert found.layers.tolist() == [-1, 3, 7]
    assert {*found.positions} == {"last"}
    assert found.best_site == "resid_post.7"
    assert found.models == ("tiny",)
    assert [one.name for one in found.baselines] == ["bag of words", "length"]


def test_every_position_is_a_probe_of_its_own():
    acts, labels = captured(slots=2)
    found = probes.sweep(acts, labels, controls=NONE)
    assert len(found.sites) == 6
    assert found.positions[:2] == ("template[-2:]:0", "template[-2:]:1")
    listed = replace(acts, resolved=replace(acts.resolved, spec="-2, -1"))
    named = probes.sweep(listed, labels, controls=NONE)
    assert named.positions[:2] == ("-2", "-1")
    ragged = replace(
        acts, resolved=replace(acts.resolved, index=((3,), *acts.resolved.index[1:]))
    )
    with pytest.raises(ShapeError, match="Prompt 0 lacks"):
        probes.sweep(ragged, labels, controls=NONE)


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
