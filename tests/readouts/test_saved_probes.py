"""Fitted probes as values: bit for bit in files, the same scores wherever read."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.preprocessing import StandardScaler
from tiny import tiny_model, tiny_tokenizer

import interp
import probes
from interp import streaming
from interp.directions.probe import Probe
from interp.directions.stored import kind_of, read_direction
from interp.errors import DataError, ResultError, ShapeError, UnknownSiteError


RNG = np.random.default_rng(0)
LABELS = np.arange(40) % 2 == 0
ROWS = (RNG.normal(size=(40, 3, 6)) + LABELS[:, None, None]).astype(np.float32)
FITS = {
    "logistic": probes.fit_logistic,
    "mean_difference": probes.fit_mean_difference,
    "lda": probes.fit_lda,
    "ridge": probes.fit_ridge,
}


def same(first: Probe, second: Probe) -> bool:
    one, other = asdict(first), asdict(second)
    a, b = one.pop("weights"), other.pop("weights")
    return a.tobytes() == b.tobytes() and a.dtype == b.dtype and one == other


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", FITS)
def test_a_fitted_probe_comes_back_bit_for_bit_with_the_scores_of_its_fit(
    name, dtype, tmp_path
):
    rows = ROWS.astype(dtype)
    found = FITS[name](torch.from_numpy(rows).transpose(0, 1), torch.from_numpy(LABELS))
    kept = probes.probe_of(found, fit=(2,), site="resid_post.2", kind=name)
    again = interp.load_probe(kept.save(tmp_path / "probes" / f"{name}.safetensors"))
    assert same(kept, again)
    assert again.weights.dtype == dtype
    assert again.layer == 2
    np.testing.assert_array_equal(again.weights, found.weights[2].numpy())
    assert again.intercept == found.intercept[2].item()
    wanted = found.logits(torch.from_numpy(rows).transpose(0, 1).contiguous())[2]
    np.testing.assert_allclose(again.logits(rows[:, 2]), wanted, rtol=1e-4, atol=1e-5)


def test_a_probe_knows_its_training_examples(tmp_path):
    kept = probes.fit_probe(ROWS[:, 0], LABELS)
    oracle = LogisticRegression(tol=1e-10).fit(ROWS[:, 0], LABELS)
    logits = oracle.decision_function(ROWS[:, 0])
    assert (kept.n_negative, kept.n_positive) == (20, 20)
    assert kept.positive_mean == pytest.approx(logits[LABELS].mean(), rel=1e-3)
    assert kept.negative_mean == pytest.approx(logits[~LABELS].mean(), rel=1e-3)
    np.testing.assert_allclose(
        kept.probabilities(ROWS[:, 0]),
        oracle.predict_proba(ROWS[:, 0])[:, 1],
        rtol=1e-3,
    )
    other = probes.fit_probe(ROWS[::-1, 0], LABELS[::-1])
    assert kept.fingerprint
    assert kept.fingerprint != other.fingerprint
    assert kept.fingerprint == probes.fit_probe(ROWS[:, 0], LABELS).fingerprint


@pytest.mark.parametrize("estimator", [LogisticRegression(), RidgeClassifier()])
def test_a_classifier_of_scikit_learn_is_kept_with_its_scaler(estimator, tmp_path):
    scaler = StandardScaler().fit(ROWS[:, 1])
    estimator.fit(scaler.transform(ROWS[:, 1]), LABELS)
    kept = probes.probe_of(estimator, scaler=scaler, site="resid_post.1")
    again = interp.load_probe(kept.save(tmp_path / "mine.safetensors"))
    wanted = estimator.decision_function(scaler.transform(ROWS[:, 1]))
    np.testing.assert_allclose(again.logits(ROWS[:, 1]), wanted, rtol=1e-4, atol=1e-5)
    assert again.kind == type(estimator).__name__


def test_a_stream_reads_a_saved_probe_from_its_threshold_on():
    model = interp.LanguageModel(hf=tiny_model("gpt2"), tokenizer=tiny_tokenizer())
    acts = interp.capture(
        model, ["the cat sat", "a dog ran"], sites="resid_post.*", positions="last"
    )
    site = acts.sites[1].short
    kept = probes.fit_probe(acts, [False, True], site=site, position="last")
    kept = replace(kept, threshold=0.25)
    reader = streaming.reader_of(kept)
    assert (reader.name, reader.site) == (f"fit_logistic at {site}", site)
    scores = streaming.token_scores(model, "a dog ran", [reader]).scores
    wanted = kept.logits(acts[site].numpy()) - 0.25
    np.testing.assert_allclose(scores[0, -1], wanted[1], rtol=1e-4)


def test_one_site_and_one_position_have_to_be_named():
    with pytest.raises(UnknownSiteError, match=r"3 of the activations are of any site"):
        probes.fit_probe(ROWS, LABELS)
    with pytest.raises(UnknownSiteError, match=r"0 of the activations .* 'first'"):
        probes.fit_probe(ROWS[:, 0], LABELS, position="first")
    with pytest.raises(ShapeError, match=r"Choose one fit: fit=\(0, \)"):
        probes.probe_of(probes.LinearProbe.closed(torch.eye(2), torch.zeros(2)))


def test_what_is_no_probe_is_refused(tmp_path):
    probe = Probe(weights=np.ones(3))
    path = probe.save(tmp_path / "one.safetensors")
    assert kind_of(path) == "probe"
    with pytest.raises(ResultError, match="holds no direction but a probe"):
        read_direction(path)
    with pytest.raises(ShapeError, match="Rows of 2 dimensions"):
        probe.logits(np.ones((4, 2)))
    with pytest.raises(DataError, match="threshold nan"):
        replace(probe, threshold=float("nan"))
    facts = {"site": "nowhere.3"}
    metadata = {"kind": "interp.probe", "schema": "2", "probe": json.dumps(facts)}
    save_file({"weights": np.ones(3)}, tmp_path / "bad.safetensors", metadata=metadata)
    with pytest.raises(ResultError, match=r"cannot be read.*nowhere"):
        interp.load_probe(tmp_path / "bad.safetensors")
