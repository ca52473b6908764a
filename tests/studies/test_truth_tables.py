"""Probe tables, data sets, cosines and controls against oracles and planted truths."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import roc_auc_score

import interp
from interp.data import split_by_group
from interp.data.statements import Statements
from probes.studies.truthfulness.controls import (
    ALIKE,
    control_vectors,
    covariance_vectors,
    dataset_directions,
)
from probes.studies.truthfulness.cosines import cosine_table
from probes.studies.truthfulness.datasets import transfer_table
from probes.studies.truthfulness.probing import probe_table
from probes.studies.truthfulness.spec import PROBES, TruthfulnessSpec


N, D = 160, 6
SPEC = TruthfulnessSpec(
    base="b", post="p", statements=("s",), permutations=50, resamples=50
)


@pytest.fixture(scope="module")
def negated(tmp_path_factory) -> Statements:
    """Statements about eighty things, each with its negation, in two data sets."""
    folder = tmp_path_factory.mktemp("negated")
    for name, word, flip in (("plain.csv", "is", 0), ("neg.csv", "is not", 1)):
        rows = [f"It{i} {word} red.,{(i % 2) ^ flip}" for i in range(N // 2)]
        (folder / name).write_text("\n".join(["statement,label", *rows]) + "\n")
    parts = [interp.data.statements(folder / n) for n in ("plain.csv", "neg.csv")]
    return interp.data.join(parts)


@pytest.fixture(scope="module")
def splits(negated):
    return split_by_group(negated.groups, negated.labels)


def _rows(statements, *, general, polar, layers=2, seed=0):
    """Truth along axis 0, truth times polarity along axis 1, polarity along 2.

    The first layer holds nothing but noise.
    """
    y = np.where(statements.labels, 1.0, -1.0)
    q = np.where([s == "plain.csv" for s in statements.sources], 1.0, -1.0)
    noise = torch.randn(
        len(y), layers, D, generator=torch.Generator().manual_seed(seed)
    )
    signal = np.stack([general * y, polar * y * q, 2 * q], axis=1)
    noise[:, -1, :3] += torch.from_numpy(signal).float()
    return noise


@pytest.fixture(scope="module")
def table(negated, splits):
    rows = _rows(negated, general=3.0, polar=0.0)
    return rows, probe_table("base", rows, negated, splits, spec=SPEC)


def test_every_probe_finds_a_planted_truth_and_nothing_in_noise(table):
    _, found = table
    assert {row.probe for row in found.rows} == set(PROBES)
    assert len(found.rows) == 2 * len(PROBES)
    for row in found.rows:
        if row.layer == 1:
            # Forty pairs without labels give a rougher direction.
            least = 0.8 if row.probe in ("ccs", "crc") else 0.95
            assert row.auroc > least, row
            assert row.permutation_p < 0.01
            assert row.accuracy_low <= row.accuracy <= row.accuracy_high
            assert row.accuracy > least - 0.1
            assert 0.5 < row.random_auroc <= 1
        else:
            assert row.auroc_low < 0.6, row
            assert row.auroc < row.random_auroc + 0.1
            assert 0.5 < row.covariance_auroc < 0.75


def test_a_probe_is_scored_on_test_statements_only(table, negated, splits):
    rows, found = table
    sklearn = LinearDiscriminantAnalysis(solver="lsqr").fit(
        rows[splits.train, 1].numpy(), negated.labels[splits.train]
    )
    scores = rows[splits.test, 1].numpy() @ sklearn.coef_[0]
    own = next(row for row in found.rows if (row.probe, row.layer) == ("lda", 1))
    expected = roc_auc_score(negated.labels[splits.test], scores)
    assert own.auroc == pytest.approx(expected, abs=1e-6)


def test_the_single_scores_that_are_kept_are_those_that_were_judged(
    table, negated, splits
):
    _, found = table
    labels = negated.labels[splits.test]
    assert len(found.scores) == len(found.rows)
    for row, scores in zip(found.rows, found.scores, strict=True):
        assert row.auroc == pytest.approx(roc_auc_score(labels, scores), abs=1e-6)
        right = np.mean((np.array(scores) > 0) == labels)
        assert row.accuracy == pytest.approx(right, abs=1e-6)


def test_probes_that_need_negations_are_left_out_with_a_reason(splits, negated):
    alone = replace(
        negated,
        prompts=tuple(text.replace(" not", "") + str(i) for i, text in
                      enumerate(negated.prompts)),
    )  # fmt: skip
    rows = _rows(negated, general=1.5, polar=0.0)
    found = probe_table("post", rows, alone, splits, spec=SPEC)
    assert {row.probe for row in found.rows} == set(PROBES) - {"ccs", "crc", "ttpd"}
    assert len(found.notes) == 3
    assert all("negat" in note for note in found.notes)


def test_no_probes_asked_for_give_an_empty_table(negated, splits):
    rows = _rows(negated, general=1.0, polar=0.0)
    spec = replace(SPEC, probes=())
    assert probe_table("base", rows, negated, splits, spec=spec).rows == ()


def test_polarity_turns_a_direction_around_between_data_sets(negated):
    # Nearly all of the truth is truth times polarity, as in the published data.
    rows = _rows(negated, general=0.3, polar=2.0)
    found = transfer_table("base", rows, negated, spec=SPEC)
    cells = {(r.train, r.test): r.auroc for r in found.rows if r.layer == 1}
    assert cells["plain.csv", "plain.csv"] > 0.95
    assert cells["plain.csv", "neg.csv"] < 0.1
    assert cells["all others", "plain.csv"] == cells["neg.csv", "plain.csv"] < 0.1
    assert any("about the same things" in note for note in found.notes)


@pytest.mark.parametrize("probe", PROBES)
def test_any_probe_can_be_carried_between_data_sets(negated, probe):
    rows = _rows(negated, general=2.0, polar=0.0)
    spec = replace(SPEC, transfer_probe=probe, resamples=20)
    found = transfer_table("post", rows, negated, spec=spec)
    if probe in ("ccs", "crc", "ttpd"):
        # One data set holds one polarity only.
        assert not found.rows
        assert "could be measured" in found.notes[0]
        return
    cells = {(r.train, r.test): r.auroc for r in found.rows if r.layer == 1}
    assert len(found.rows) == 2 * 3 * 2
    assert min(cells.values()) > 0.9


def test_one_data_set_or_no_probe_gives_no_matrix(negated):
    rows = _rows(negated, general=2.0, polar=0.0)
    one = replace(negated, sources=("a",) * len(negated))
    assert transfer_table("base", rows, one, spec=SPEC).rows == ()
    spec = replace(SPEC, transfer_probe=None)
    assert transfer_table("base", rows, negated, spec=spec).rows == ()


def test_cosines_have_every_null_plain_and_whitened(negated):
    base = _rows(negated, general=1.5, polar=0.0)
    # A post-trained model is nearly the same: so are directions of any labels.
    post = base + 0.1 * torch.randn(
        base.shape, generator=torch.Generator().manual_seed(3)
    )
    found = cosine_table(base, post, negated, spec=SPEC)
    assert [(r.layer, r.metric) for r in found.rows] == [
        (layer, metric) for layer in range(2) for metric in ("plain", "whitened")
    ]
    noise, truth = found.rows[0], found.rows[2]
    assert noise.shared_low > 0.8, "labels shuffled alike show the likeness of models"
    assert noise.signal_p > 0.05 > truth.signal_p
    assert truth.cosine > truth.independent_high
    assert np.isnan(truth.shrinkage)
    assert 0 <= found.rows[3].shrinkage <= 1
    none = cosine_table(base, post, negated, spec=replace(SPEC, permutations=0))
    assert none.rows == ()


def test_covariance_draws_are_spread_as_the_activations_are():
    generator = torch.Generator().manual_seed(0)
    scale = torch.tensor([3.0, 1.0, 0.1])
    rows = torch.randn(400, 3, generator=generator) * scale + 5
    drawn = covariance_vectors(rows, 4000, seed=1)
    np.testing.assert_allclose(drawn.norm(dim=-1), 1, rtol=1e-5)
    # Unit vectors: the shares of the axes, against draws by NumPy.
    wide = np.random.default_rng(0).multivariate_normal(
        np.zeros(3), np.cov(rows.numpy().T), size=4000
    )
    expected = (wide / np.linalg.norm(wide, axis=1, keepdims=True)) ** 2
    np.testing.assert_allclose(drawn.square().mean(0), expected.mean(0), atol=0.02)


def test_controls_along_the_truth_direction_are_also_drawn_without_it(negated):
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(N, D, generator=generator)
    # Truth is nearly all that varies: so shuffled labels give it, one way or the other.
    rows[:, 0] += 30 * torch.from_numpy(negated.labels).float()
    truth = torch.zeros(D)
    truth[0] = 1.0
    drawn = list(
        control_vectors(rows, truth, negated.labels, ("a",) * N, draws=3, seed=0)
    )
    assert {one.condition for one in drawn} == {"random", "covariance", "shuffled"}
    for one in drawn:
        assert isinstance(one.vector, torch.Tensor)
        assert float(one.vector.norm()) == pytest.approx(1, abs=1e-5)
        along = abs(float(one.vector @ truth))
        if one.orthogonal:
            assert along < 1e-5
            twins = [
                two.vector
                for two in drawn
                if (two.condition, two.draw) == (one.condition, one.draw)
            ]
            assert len(twins) == 2
            assert isinstance(twins[0], torch.Tensor)
            assert abs(float(twins[0] @ truth)) > ALIKE
    assert sum(one.orthogonal for one in drawn) >= 4


def test_the_data_set_control_gives_each_data_set_the_direction_of_another(negated):
    rows = _rows(negated, general=0.0, polar=3.0)[:, 1]
    own = dataset_directions(rows, negated.labels, negated.sources)
    assert own["plain.csv"][1] > 0.9
    assert own["neg.csv"][1] < -0.9
    truth = own["plain.csv"]
    drawn = [
        one
        for one in control_vectors(
            rows, truth, negated.labels, negated.sources, draws=2, seed=0
        )
        if one.condition == "dataset"
    ]
    # Of two data sets there is one other.
    (one,) = drawn
    assert isinstance(one.vector, dict)
    assert torch.equal(one.vector["plain.csv"], own["neg.csv"])
    assert torch.equal(one.vector["neg.csv"], own["plain.csv"])


def test_a_data_set_of_one_label_gives_no_data_set_control(negated):
    sources = ["true" if label else "false" for label in negated.labels]
    rows = torch.randn(N, D, generator=torch.Generator().manual_seed(0))
    assert dataset_directions(rows, negated.labels, sources) == {}
