"""The probes that the truthfulness study leaves as files are those that it judged."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

import interp
from interp.data import split_by_group
from interp.provenance import ModelRecord, record
from interp.statistics import auroc
from probes.studies.truthfulness.negation import with_negations_together
from probes.studies.truthfulness.study import truthfulness


NAMES = ("mean_difference", "lda", "logistic", "ridge")
MODELS = (ModelRecord(name="b"), ModelRecord(name="p", weights_hash="1f", revision="r"))


@pytest.fixture
def run(plant, unit, marked, quick, tmp_path):
    """Runs the study in a folder, perhaps going on where an earlier run stopped."""
    base, post = plant(2 * unit), plant(2 * unit, seed=1)

    def go(**settings):
        few = {"permutations": 2, "resamples": 10, "interventions": False}
        spec = replace(quick, probes=NAMES, **few, **settings)
        result = truthfulness(
            *(base, post, marked),
            spec=spec,
            provenance=record("truthfulness", models=MODELS),
            run=tmp_path,
        )
        return result, tmp_path / "probes", (base, post), marked, spec

    return go


def test_a_saved_probe_gives_every_test_statement_the_score_of_the_result(run):
    result, folder, models, _, _ = run()
    files = sorted(folder.iterdir())
    assert len(files) == 2 * len(NAMES)
    for path in files:
        probe = interp.load_probe(path)
        kind, role = path.stem.rsplit("-", 1)
        assert probe.kind == kind
        rows = {
            (row.probe, row.model, row.layer): k for k, row in enumerate(result.probes)
        }
        at = rows[kind, role, probe.layer]
        same = [row for row in result.probes if (row.probe, row.model) == (kind, role)]
        assert result.probes[at].validation_auroc == max(
            row.validation_auroc for row in same
        )
        read = interp.capture(
            models[role == "post"],
            result.statements,
            sites=probe.site,
            positions=probe.position,
        )
        logits = probe.logits(read[probe.site].numpy())
        np.testing.assert_allclose(
            logits, result.probe_scores[at], rtol=1e-3, atol=1e-3
        )
        area = auroc(logits, result.labels)
        assert probe.test_auroc == pytest.approx(area, abs=1e-6)
        assert (probe.model, probe.weights_hash) == (
            ("p", "1f") if role == "post" else ("b", "")
        )
        train = result.counts[0]
        assert (probe.n_positive, probe.n_negative) == (
            train.true,
            train.statements - train.true,
        )


def test_a_run_that_goes_on_writes_the_same_files(run):
    folder = run()[1]
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    shutil.rmtree(folder)
    run()
    assert first == {path.name: path.read_bytes() for path in folder.iterdir()}


def test_probes_of_centred_rows_read_texts_as_they_are(run):
    _, folder, models, statements, spec = run(centring="transductive")
    probe = interp.load_probe(folder / "logistic-post.safetensors")
    whole = with_negations_together(statements)
    splits = split_by_group(
        whole.groups, whole.labels, fractions=spec.fractions, seed=spec.seed
    )
    training = whole.take(splits.train)
    read = interp.capture(
        models[1], training.prompts, sites=probe.site, positions="last"
    )
    logits = probe.logits(read[probe.site].numpy())
    # The classes are of one size, so the middle of what was fitted is zero.
    assert abs(logits.mean()) < 0.3 * logits.std()
    assert logits[training.labels].mean() == pytest.approx(
        probe.positive_mean, rel=1e-3
    )
    assert auroc(logits, training.labels) > 0.95
