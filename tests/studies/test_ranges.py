"""Settings that make no sense are refused before a model is loaded."""

import pytest

from interp.errors import ConfigError
from probes.studies.confidence.spec import ConfidenceSpec
from probes.studies.knowledge.spec import KnowledgeSpec
from probes.studies.refusal.spec import RefusalSpec
from probes.studies.truthfulness.spec import TruthfulnessSpec


STUDIES = {
    TruthfulnessSpec: {"statements": ("s.csv",)},
    KnowledgeSpec: {"statements": ("s.csv",)},
    ConfidenceSpec: {"texts": ("t.txt",)},
    RefusalSpec: {"harmful": ("a.txt",), "harmless": ("b.txt",)},
}
SENSELESS = (
    *((kind, "seed", value) for kind in STUDIES for value in (-1, 2**31, 10**23)),
    *((kind, "resamples", value) for kind in STUDIES for value in (-5, 0)),
    (TruthfulnessSpec, "permutations", -1),
    (TruthfulnessSpec, "controls", -1),
    (TruthfulnessSpec, "asked_validation", 0),
    (TruthfulnessSpec, "limit", 0),
    (TruthfulnessSpec, "strength", float("nan")),
    (TruthfulnessSpec, "doses", (1.0, float("inf"))),
    (KnowledgeSpec, "window", 0),
    (RefusalSpec, "n_val", 0),
    (RefusalSpec, "batch_size", 0),
    (RefusalSpec, "layer_share", float("nan")),
    (RefusalSpec, "coefficients", (float("nan"),)),
)


@pytest.mark.parametrize(("kind", "name", "value"), SENSELESS)
def test_a_setting_without_sense_is_refused_by_its_name(kind, name, value):
    usual = {"base": "a", "post": "b", **STUDIES[kind]}
    kind(**usual)
    with pytest.raises(ConfigError, match=rf"\b{name} is "):
        kind(**usual, **{name: value})
