"""Linear readouts of activations, batch studies, and the `interp` command.

Importing this package imports nothing heavy: every name below is loaded on first use.
"""

from typing import TYPE_CHECKING

from interp.lazy import lazy_names


if TYPE_CHECKING:
    from interp.directions.probe import Probe as Probe
    from probes.comparing import compare_sweeps as compare_sweeps
    from probes.controls import Controls as Controls
    from probes.fitted import fit_probe as fit_probe, probe_of as probe_of
    from probes.linear import Fit as Fit, LinearProbe as LinearProbe
    from probes.logistic import fit_logistic as fit_logistic
    from probes.loops import one_by_one as one_by_one
    from probes.means import (
        fit_lda as fit_lda,
        fit_mean_difference as fit_mean_difference,
        fit_ridge as fit_ridge,
    )
    from probes.model_controls import (
        text_log_probability as text_log_probability,
        untrained_like as untrained_like,
    )
    from probes.optimum import NotConvergedWarning as NotConvergedWarning
    from probes.path import fit_logistic_cv as fit_logistic_cv
    from probes.studies.refusal.phrases import (
        refusal_rates as refusal_rates,
        refusals as refusals,
        refused as refused,
    )
    from probes.studies.refusal.repetition import repetition as repetition
    from probes.studies.refusal.score import (
        refusal_score as refusal_score,
        refusal_tokens as refusal_tokens,
    )
    from probes.studies.refusal.side_effects import side_effects as side_effects
    from probes.studies.truthfulness.effects import (
        nie_gap as nie_gap,
        nie_saturation as nie_saturation,
    )
    from probes.sweeping import sweep as sweep
    from probes.transfer import transfer_matrix as transfer_matrix
    from probes.ttpd import fit_ttpd as fit_ttpd, truth_directions as truth_directions
    from probes.unsupervised import fit_ccs as fit_ccs, fit_crc as fit_crc

    from . import estimators as estimators


_WHERE = {
    "Controls": "probes.controls",
    "Fit": "probes.linear",
    "LinearProbe": "probes.linear",
    "Probe": "interp.directions.probe",
    "NotConvergedWarning": "probes.optimum",
    "compare_sweeps": "probes.comparing",
    "fit_ccs": "probes.unsupervised",
    "fit_crc": "probes.unsupervised",
    "fit_lda": "probes.means",
    "fit_logistic": "probes.logistic",
    "fit_logistic_cv": "probes.path",
    "fit_mean_difference": "probes.means",
    "fit_probe": "probes.fitted",
    "fit_ridge": "probes.means",
    "fit_ttpd": "probes.ttpd",
    "nie_gap": "probes.studies.truthfulness.effects",
    "nie_saturation": "probes.studies.truthfulness.effects",
    "one_by_one": "probes.loops",
    "probe_of": "probes.fitted",
    "refusal_rates": "probes.studies.refusal.phrases",
    "refusal_score": "probes.studies.refusal.score",
    "refusal_tokens": "probes.studies.refusal.score",
    "refusals": "probes.studies.refusal.phrases",
    "refused": "probes.studies.refusal.phrases",
    "repetition": "probes.studies.refusal.repetition",
    "side_effects": "probes.studies.refusal.side_effects",
    "sweep": "probes.sweeping",
    "text_log_probability": "probes.model_controls",
    "transfer_matrix": "probes.transfer",
    "truth_directions": "probes.ttpd",
    "untrained_like": "probes.model_controls",
}
_MODULES = ("estimators",)

__getattr__, __dir__ = lazy_names(__name__, _WHERE, _MODULES)
