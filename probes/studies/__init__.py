"""Studies of a base and a post-trained model: settings in, a results folder out.

Each study is one frozen dataclass of settings; `specs_for` gives the usual ones, and
`compare` runs them into a folder with a report. Importing this package imports nothing
heavy: every name below is loaded on first use.
"""

from typing import TYPE_CHECKING

from interp.lazy import lazy_names


if TYPE_CHECKING:
    from probes.studies.comparing import Comparison as Comparison, compare as compare
    from probes.studies.confidence.spec import ConfidenceSpec as ConfidenceSpec
    from probes.studies.kinds import Sources as Sources, study_name as study_name
    from probes.studies.knowledge.spec import KnowledgeSpec as KnowledgeSpec
    from probes.studies.refusal.spec import RefusalSpec as RefusalSpec
    from probes.studies.specs import specs_for as specs_for
    from probes.studies.summary import sentences as sentences
    from probes.studies.truthfulness.spec import TruthfulnessSpec as TruthfulnessSpec


_WHERE = {
    "Comparison": "probes.studies.comparing",
    "ConfidenceSpec": "probes.studies.confidence.spec",
    "KnowledgeSpec": "probes.studies.knowledge.spec",
    "RefusalSpec": "probes.studies.refusal.spec",
    "Sources": "probes.studies.kinds",
    "TruthfulnessSpec": "probes.studies.truthfulness.spec",
    "compare": "probes.studies.comparing",
    "sentences": "probes.studies.summary",
    "specs_for": "probes.studies.specs",
    "study_name": "probes.studies.kinds",
}

__getattr__, __dir__ = lazy_names(__name__, _WHERE)
