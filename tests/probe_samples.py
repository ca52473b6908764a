"""Made-up results of probes on arrays: a sweep, and data sets against each other."""

import numpy as np
from sample_results import provenance

from interp.results import ProbeSweep, TransferMatrix
from interp.statistics import auroc


def sweep(n_positions: int) -> ProbeSweep:
    """A sweep of three layers whose AUROC falls by a tenth with each."""
    layers = np.repeat(np.arange(3, dtype=np.int32), n_positions)
    n, rng = len(layers), np.random.default_rng(0)
    auroc = (0.9 - 0.1 * layers).astype(np.float32)
    nothing = np.full(n, np.nan, np.float32)
    labels = np.arange(20) % 2 == 0
    return ProbeSweep(
        fit="fit_logistic",
        split="group",
        sites=tuple(f"resid_post.{layer}" for layer in layers),
        layers=layers,
        positions=tuple(["-2", "-1"][-n_positions:] * 3),
        auroc=auroc,
        auroc_lo=auroc - np.float32(0.1),
        auroc_hi=auroc + np.float32(0.05),
        accuracy=auroc,
        brier=nothing,
        ece=nothing,
        permutation_p=nothing,
        permutation_p_corrected=nothing,
        random_auroc=nothing,
        covariance_auroc=nothing,
        selectivity=nothing,
        mdl_compression=nothing,
        converged=np.ones(n, bool),
        chosen=np.zeros(5, np.int32),
        nested_auroc=0.9,
        nested_auroc_lo=0.8,
        nested_auroc_hi=0.95,
        baselines=(),
        scores=(rng.normal(size=(n, 20)) + labels).astype(np.float32),
        labels=labels,
        groups=tuple(str(i) for i in range(20)),
        folds=(np.arange(20) % 5).astype(np.int32),
        notes=(),
        provenance=provenance("sweep"),
    )


def transferred(seed: int = 0) -> TransferMatrix:
    """Two data sets and all others at two layers; nothing was trained on the second."""
    rng, n = np.random.default_rng(seed), 20
    labels = np.arange(2 * n) % 2 == 0
    scores = (rng.normal(size=(3, 2, 2 * n)) + labels).astype(np.float32)
    scores[1] = np.nan
    inside = [slice(0, n), slice(n, 2 * n)]
    reached = np.stack(
        [auroc(scores[..., at].astype(float), labels[at]) for at in inside], axis=1
    ).astype(np.float32)
    reached[1] = np.nan
    return TransferMatrix(
        fit="fit_logistic",
        centring="inductive",
        trains=("towns", "<b>beasts", "all others"),
        tests=("towns", "<b>beasts"),
        sites=("resid_post.0", "resid_post.1"),
        layers=np.arange(2, dtype=np.int32),
        positions=("last", "last"),
        auroc=reached,
        auroc_lo=reached - np.float32(0.1),
        auroc_hi=reached + np.float32(0.1),
        accuracy=reached,
        accuracy_lo=reached,
        accuracy_hi=reached,
        scores=scores,
        dataset_index=np.repeat(np.arange(2, dtype=np.int32), n),
        labels=labels,
        groups=tuple(f"thing {i // 2}" for i in range(2 * n)),
        notes=("Nothing is trained on <b>beasts: no negations",),
        provenance=provenance("transfer"),
    )
