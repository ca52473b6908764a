"""The sentences that summaries of studies say, on made-up results."""

from dataclasses import replace

import confidence_samples
import knowledge_samples
import numpy as np
import pytest
import sample_results

from probes.studies.confidence.summary import sentences as of_confidence
from probes.studies.knowledge.summary import sentences as of_knowledge
from probes.studies.truthfulness.summary import sentences as of_truthfulness


@pytest.mark.parametrize(
    ("control", "reached", "told"),
    [("random_auroc", 0.999, True), ("covariance_auroc", 0.999, True),
     ("random_auroc", 0.6, False), ("random_auroc", np.nan, False)],
)  # fmt: skip
def test_a_probe_that_random_directions_equal_is_told(control, reached, told):
    result = sample_results.truthfulness()
    drawn = {"random_auroc": 0.6, "covariance_auroc": 0.6, control: reached}
    rows = tuple(replace(row, **drawn) for row in result.probes)
    said = " ".join(of_truthfulness(replace(result, probes=rows)))
    assert ("one in twenty reaches 0.999 at layer" in said) == told


def test_an_effect_that_is_nowhere_has_no_layer():
    result = knowledge_samples.knowledge()
    rows = tuple(replace(row, layer=float("nan")) for row in result.staircase)
    said = " ".join(of_knowledge(replace(result, staircase=rows)))
    assert "subject nowhere" in said
    assert "nan" not in said


def test_changes_of_entropy_have_their_unit_beside_them():
    said = " ".join(of_confidence(confidence_samples.confidence()))
    assert "nats (" in said
    assert ") nats" not in said.replace("] nats", "")
