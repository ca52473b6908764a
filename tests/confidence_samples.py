"""A made-up confidence result with the shape of real ones."""

from typing import Any

import numpy as np
from sample_results import MODELS, provenance

from interp.results import ConfidenceComparison, ConfidenceRow, NeuronEffect
from interp.results.confidence import Chosen, Swap
from interp.results.neurons import NeuronTokens
from interp.results.truthfulness import ROLES, Role


N_NEURONS = 40
CANDIDATES = ((3, 5, 8), (5, 3, 9))
TESTED: tuple[tuple[Chosen, int], ...] = (
    ("entropy", 3),
    ("entropy", 5),
    ("control", 20),
    ("control", 21),
    ("frequency", 30),
)


def confidence(seed: int = 0, *, token: str = " the") -> ConfidenceComparison:
    """Two models that share two of three candidates."""
    rng = np.random.default_rng(seed)
    norm, variance = _weights(rng)
    top = rng.uniform(0.1, 1, (2, 120)).astype(np.float32)
    sizes = np.array([1, 2, 3], dtype=np.int32)
    rate = np.array([0.0, 1.0, 0.5], dtype=np.float32)
    return ConfidenceComparison(
        models=MODELS,
        datasets=("texts.txt",),
        n_texts=12,
        layer=3,
        final_norm="RMSNorm",
        percentile=75.0,
        null_directions=1,
        norm=norm,
        logit_var=variance,
        null_fraction=rng.uniform(0, 1, (2, N_NEURONS)).astype(np.float32),
        frequency_cosine=rng.uniform(-1, 1, (2, N_NEURONS)).astype(np.float32),
        singular_values=np.tile(np.linspace(9, 0.1, 16), (2, 1)).astype(np.float32),
        mlp_moved=0.1,
        gain_moved=0.1,
        candidates=CANDIDATES,
        sizes=sizes,
        overlap=rate,
        overlap_expected=0.1 * np.ones(3, np.float32),
        overlap_low=np.zeros(3, np.float32),
        overlap_high=0.3 * np.ones(3, np.float32),
        overlap_p=0.01 * np.ones(3, np.float32),
        effects=tuple(
            _effect(role, chosen, neuron) for role in ROLES for chosen, neuron in TESTED
        ),
        confidence=tuple(
            _row(role, swapped)
            for role in ROLES
            for swapped in ("none", "entropy neurons", "final gain")
        ),
        gap=-0.2,
        gap_low=-0.3,
        gap_high=-0.1,
        entropy=rng.uniform(0, 2, (2, 120)).astype(np.float32),
        top=top,
        correct=rng.uniform(0, 1, (2, 120)) < top,
        loss=rng.uniform(0, 2, (2, 120)).astype(np.float32),
        brier=rng.uniform(0, 1, (2, 120)).astype(np.float32),
        groups=np.repeat(np.arange(12, dtype=np.int32), 10),
        tokens=(_tokens(token), _tokens(token)),
        provenance=provenance("confidence"),
    )


def _weights(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Norm and LogitVar [model, neuron], in which the candidates stand out."""
    norm = rng.uniform(0.2, 0.5, (2, N_NEURONS)).astype(np.float32)
    variance = rng.uniform(0.01, 0.02, (2, N_NEURONS)).astype(np.float32)
    for role, own in enumerate(CANDIDATES):
        norm[role, list(own)] = 1.0
        variance[role, list(own)] = [0.001, 0.002, 0.003]
    return norm, variance


def _tokens(token: str) -> tuple[NeuronTokens, ...]:
    return tuple(
        NeuronTokens(
            neuron=neuron,
            up=(token, " a"),
            up_weights=(0.5, 0.25),
            down=(" of", " in"),
            down_weights=(-0.5, -0.25),
        )
        for _, neuron in TESTED
    )


def _effect(role: Role, chosen: Chosen, neuron: int) -> NeuronEffect:
    size = {"entropy": 0.04, "control": 0.002, "frequency": 0.01}[chosen]
    return NeuronEffect(
        model=role,
        neuron=neuron,
        chosen=chosen,
        norm=1.0,
        logit_var=0.001,
        null_fraction=0.5,
        frequency_cosine=0.01 * neuron,
        loss_total=size,
        loss_total_low=size / 2,
        loss_total_high=size * 2,
        loss_direct=size / 4,
        loss_direct_low=size / 8,
        loss_direct_high=size / 2,
        mediated=0.75,
        mediated_low=0.6,
        mediated_high=0.9,
        entropy_change=size,
        entropy_change_low=size / 2,
        entropy_change_high=size * 2,
        entropy_direct=size / 10,
        kl=size,
        argmax_changed=0.01,
        frequency_mediated=0.1,
    )


def _row(role: Role, swapped: Swap) -> ConfidenceRow:
    names = ("entropy", "loss", "top", "accuracy", "brier", "entropy_change")
    bounds: dict[str, Any] = {
        f"{name}{end}": value
        for name in names
        for end, value in (("", 0.5), ("_low", 0.4), ("_high", 0.6))
    }
    return ConfidenceRow(
        model=role,
        swapped=swapped,
        ece=0.11 if role == "base" else 0.22,
        ece_low=0.1,
        ece_high=0.3,
        share=0.5,
        share_low=0.4,
        share_high=0.6,
        **bounds,
    )
