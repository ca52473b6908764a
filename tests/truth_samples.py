"""Made-up rows of a truthfulness result with the shape of real ones."""

from typing import Literal

import numpy as np

from interp.results import (
    CarriedOver,
    DatasetTransfer,
    ProbeScore,
    TruthCosine,
    TruthEffect,
)
from interp.results.truthfulness import ROLES, Control


PROBES = {"mean_difference": 0.0, "logistic": 0.02, "ccs": -0.12, "ttpd": 0.01}
DATASETS = ("cities.csv", "neg_cities.csv", "facts.csv")
DOSES = (0.25, 0.5, 1.0, 2.0)
METRICS: tuple[tuple[Literal["plain", "whitened"], float], ...] = (
    ("plain", 1.0), ("whitened", 0.7),
)  # fmt: skip
SIZES: dict[Control, float] = {
    "direction": 0.6,
    "random": 0.03,
    "covariance": 0.08,
    "shuffled": 0.05,
    "dataset": 0.3,
}


def probes(n_layers: int) -> tuple[ProbeScore, ...]:
    return tuple(
        ProbeScore(
            model=role,
            probe=probe,
            layer=layer,
            auroc=_rise(layer, n_layers) + shift,
            auroc_low=_rise(layer, n_layers) + shift - 0.04,
            auroc_high=min(_rise(layer, n_layers) + shift + 0.03, 1.0),
            accuracy=_rise(layer, n_layers) - 0.05,
            accuracy_low=_rise(layer, n_layers) - 0.09,
            accuracy_high=_rise(layer, n_layers) - 0.01,
            brier=0.1,
            ece=0.02,
            validation_auroc=_rise(layer, n_layers) + shift - 0.01,
            permutation_p=0.001,
            converged=True,
            random_auroc=0.6,
            covariance_auroc=0.65,
        )
        for role in ROLES
        for probe, shift in PROBES.items()
        for layer in range(n_layers)
    )


def carried(n_layers: int) -> tuple[CarriedOver, ...]:
    return tuple(
        CarriedOver(
            direction=direction,
            activations=other,
            layer=layer,
            difference=-0.03,
            low=-0.06,
            high=0.0,
        )
        for direction, other in zip(ROLES, ROLES[::-1], strict=True)
        for layer in range(n_layers)
    )


def dataset_transfer(n_layers: int) -> tuple[DatasetTransfer, ...]:
    rng = np.random.default_rng(0)
    rows = []
    for role in ROLES:
        for layer in range(n_layers):
            for train in (*DATASETS, "all others"):
                for test in DATASETS:
                    value = 0.98 if train == test else float(rng.uniform(0.1, 0.95))
                    rows.append(
                        DatasetTransfer(
                            model=role,
                            probe="mean_difference",
                            layer=layer,
                            train=train,
                            test=test,
                            auroc=value,
                            auroc_low=value - 0.05,
                            auroc_high=min(value + 0.05, 1.0),
                            accuracy=0.5 + (value - 0.5) * 0.8,
                            accuracy_low=0.4,
                            accuracy_high=0.95,
                        )
                    )
    return tuple(rows)


def cosines(cosine: np.ndarray) -> tuple[TruthCosine, ...]:
    return tuple(
        TruthCosine(
            layer=layer,
            metric=metric,
            cosine=float(value) * scale,
            corrected=float(value) * scale + 0.02,
            isotropic_high=0.07,
            independent_low=-0.3 * scale,
            independent_high=0.3 * scale,
            independent_p=0.005,
            shared_low=float(value) * scale - 0.2,
            shared_high=float(value) * scale + 0.05,
            shared_p=0.2,
            signal=float(value) * scale - 0.1,
            signal_p=0.005,
            shrinkage=float("nan") if metric == "plain" else 0.01,
        )
        for layer, value in enumerate(cosine)
        for metric, scale in METRICS
    )


def effects() -> tuple[TruthEffect, ...]:
    rows = []
    for target in ROLES:
        for condition, size in SIZES.items():
            for direction in ROLES if condition == "direction" else (target,):
                moved = size * (1.0 if direction == target else 0.7)
                rows.append(_effect(direction, target, condition, moved, 1.0, 0.4))
        rows.append(_effect(target, target, "shuffled", 0.04, 1.0, 0.4, True))
    return tuple(rows)


def doses() -> tuple[TruthEffect, ...]:
    return tuple(
        _effect(
            row.direction,
            row.target,
            row.condition,
            row.nie_gap * 1.6 * dose / (dose + 0.6),
            dose * 2.5,
            dose,
            row.orthogonal,
        )
        for row in effects()
        for dose in DOSES
        if row.condition != "shuffled" or row.orthogonal
    )


def _effect(direction, target, condition, moved, coefficient, share, orthogonal=False):
    return TruthEffect(
        direction=direction,
        target=target,
        condition=condition,
        coefficient=coefficient,
        norm_share=share,
        cosine=1.0 if condition == "direction" else 0.05,
        layers="3..5",
        position="final two tokens",
        orthogonal=orthogonal,
        n=60,
        p_difference_true=0.4 - 0.8 * moved,
        p_difference_false=-0.3 + 0.8 * moved,
        nie_saturation=moved * 0.6,
        nie_saturation_low=moved * 0.6 - 0.05,
        nie_saturation_high=moved * 0.6 + 0.05,
        nie_gap=moved,
        nie_gap_low=moved - 0.08,
        nie_gap_high=moved + 0.08,
    )


def _rise(layer: int, n_layers: int) -> float:
    return 0.5 + 0.45 / (1 + float(np.exp(-12 * (layer / (n_layers - 1) - 0.45))))
