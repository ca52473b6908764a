"""Made-up results with the shape of real ones, to test files, figures and reports."""

import numpy as np
import truth_samples

from interp.provenance import DatasetRecord, ModelRecord, Provenance
from interp.results import (
    Completion,
    InstructionCount,
    RefusalCandidate,
    RefusalComparison,
    RefusalCosine,
    RefusalDirection,
    RefusalDose,
    RefusalLimits,
    RefusalProjection,
    RefusalPunctuation,
    RefusalSideEffect,
    ScoreInterval,
    SplitCount,
    TruthfulnessComparison,
    conditions_of,
)
from interp.results.refusal import Instructions, Intervention, Source
from interp.results.truthfulness import Role


MODELS = ("owner/base", "owner/post")
SPLITS = (
    SplitCount(split="train", statements=150, true=75, groups=75),
    SplitCount(split="val", statements=30, true=15, groups=15),
    SplitCount(split="test", statements=120, true=60, groups=60),
)
LIMITS = RefusalLimits(first_late_layer=6, max_bypass=5.0, min_induce=0.0, max_kl=0.1)


def provenance(study: str = "truthfulness") -> Provenance:
    models = tuple(
        ModelRecord(
            name=name,
            revision="0123456789abcdef",
            weights_hash="aa" * 8,
            tokenizer_hash="bb" * 8,
            dtype="float32",
            attention="sdpa",
            device="cpu",
        )
        for name in MODELS
    )
    return Provenance(
        study=study,
        models=models,
        datasets=(DatasetRecord(name="cities.csv", fingerprint="cc" * 8, rows=300),),
        spec_hash="0123456789ab",
        seed=0,
        versions=(("python", "3.11.7"), ("interp", "0.1.0"), ("torch", "2.13.0")),
        git_commit="fedcba9876543210",
        created="2026-01-02T03:04:05+00:00",
        command="interp compare owner/base owner/post --statements cities.csv --out r",
    )


def truthfulness(seed: int = 0, n_layers: int = 8) -> TruthfulnessComparison:
    rng = np.random.default_rng(seed)
    depth = np.linspace(0, 1, n_layers)
    auroc = _aurocs(depth, rng)
    accuracy = 0.5 + (auroc - 0.5) * 0.85
    labels = np.arange(120) % 2 == 0
    scores = rng.normal(size=(2, 2, 120)) + 1.8 * labels
    return TruthfulnessComparison(
        models=MODELS,
        datasets=("cities.csv",),
        position="last",
        centring="inductive",
        counts=SPLITS,
        layers=np.arange(n_layers, dtype=np.int32),
        auroc=_f(auroc),
        auroc_low=_f(auroc - 0.04),
        auroc_high=_f(np.minimum(auroc + 0.03, 1)),
        accuracy=_f(accuracy),
        accuracy_low=_f(accuracy - 0.05),
        accuracy_high=_f(np.minimum(accuracy + 0.05, 1)),
        validation_auroc=_f(np.stack([auroc[0, 0], auroc[1, 1]])),
        best_layers=(n_layers - 2, n_layers - 1),
        permutation_p=(0.001, 0.001),
        cosine=_f(0.2 + 0.6 * depth),
        cosine_null_low=_f(np.full(n_layers, -0.18)),
        cosine_null_high=_f(np.full(n_layers, 0.19)),
        statements=tuple(
            f"The city of Town{i // 2} is in Land{i}." for i in range(120)
        ),
        labels=labels,
        groups=tuple(f"Town{i // 2}" for i in range(120)),
        scores=_f(scores),
        surface_auroc=0.53,
        surface_auroc_low=0.44,
        surface_auroc_high=0.62,
        interventions=truth_samples.effects(),
        doses=truth_samples.doses(),
        probes=truth_samples.probes(n_layers),
        carried=truth_samples.carried(n_layers),
        dataset_transfer=truth_samples.dataset_transfer(n_layers),
        cosines=truth_samples.cosines(0.2 + 0.6 * depth),
        layer_cosines=_f(_layer_cosines(0.2 + 0.6 * depth)),
        shown=np.arange(0, 120, 2, dtype=np.int32) + np.arange(60, dtype=np.int32) % 2,
        probe_scores=_f(
            rng.normal(size=(len(truth_samples.probes(n_layers)), 60))
            + np.where(np.arange(60) % 2 == 0, 2, -2)
        ),
        components=_f(rng.normal(size=(2, n_layers, 60, 2))),
        provenance=provenance(),
    )


def _aurocs(depth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """AUROC [direction, activations, layer] that rises in the middle layers."""
    rise = 0.5 + 0.47 / (1 + np.exp(-12 * (depth - 0.45)))
    auroc = np.stack(
        [
            np.stack([rise, 0.5 + (rise - 0.5) * 0.9]),
            np.stack([0.5 + (rise - 0.5) * 0.75, np.minimum(rise + 0.015, 1)]),
        ]
    )
    return np.clip(auroc + rng.normal(size=auroc.shape) * 0.01, 0, 1)


def _layer_cosines(between: np.ndarray) -> np.ndarray:
    """Alike where layers are close, less so between models."""
    layers = np.arange(between.size)
    near = np.exp(-np.abs(layers[:, None] - layers) / 3)
    across = near * np.sqrt(between[:, None] * between)
    return np.array([[near, across], [across.T, near]])


def refusal(usable: bool = True) -> RefusalComparison:
    completions = _completions()
    candidates = tuple(
        _candidate(position, layer) for position in (-2, -1) for layer in range(8)
    )
    return RefusalComparison(
        models=MODELS,
        datasets=("harmful.json", "harmless.json"),
        counts=(
            InstructionCount(
                model="post", instructions="harmful", split="train", given=64, kept=60
            ),
        ),
        directions=_directions(usable),
        candidates=candidates if usable else (),
        layers=np.arange(8, dtype=np.int32),
        cosine=_f(np.linspace(0.9, 0.3, 8)),
        cosine_position="the last template token",
        cosine_chosen=0.61,
        conditions=conditions_of(completions),
        completions=completions,
        doses=_doses() if usable else (),
        cosines=_cosines(),
        side_effects=_side_effects() if usable else (),
        projections=_projections() if usable else (),
        words=(" I", " can", " not"),
        answer_words=np.arange(3 * len(completions), dtype=np.int32) % 3,
        answer_projections=_f(np.linspace(-1, 1, 3 * len(completions))),
        answer_lengths=np.full(len(completions), 3, np.int32),
        punctuation=(
            RefusalPunctuation(
                model="post", position=-2, layer=5, cosine=0.2, null=0.4
            ),
        ),
        rule="layer < 6 of 8, kl <= 0.1, induce >= 0; of the rest the lowest bypass",
        selection="Layer 5, position -2 was chosen of 16 candidates."
        if usable
        else "No usable direction: all 16 candidates fell.",
        chosen_scores=(
            ScoreInterval(name="bypass", clean=5.0, estimate=-4.0, low=-4.4, high=-3.5),
        )
        if usable
        else (),
        limits=LIMITS if usable else None,
        resamples=1000 if usable else 0,
        none_share=0.01 if usable else float("nan"),
        provenance=provenance("refusal"),
    )


def _directions(usable: bool) -> tuple[RefusalDirection, RefusalDirection]:
    base = RefusalDirection(
        model="base",
        layer=4,
        position=-2,
        token="<end>",
        norm=1.2,
        reason="",
        refusal_tokens=("I",),
    )
    chosen = RefusalDirection(
        model="post",
        layer=5 if usable else None,
        position=-2 if usable else None,
        token="<end>" if usable else "",
        norm=3.5 if usable else float("nan"),
        reason="" if usable else "every candidate changes harmless answers too much",
        refusal_tokens=("I", "Sorry"),
    )
    return base, chosen


def _cosines() -> tuple[RefusalCosine, ...]:
    return tuple(
        RefusalCosine(
            template=template,
            position=position,
            layer=layer,
            base_token="<end>",
            post_token="<end>",
            cosine=float("nan") if layer == 0 else 0.9 - 0.08 * layer,
        )
        for template in ("own", "common")
        for position in (-2, -1)
        for layer in range(8)
    )


def _candidate(position: int, layer: int) -> RefusalCandidate:
    is_chosen = (position, layer) == (-2, 5)
    dead = layer == 0
    nan = float("nan")
    return RefusalCandidate(
        model="post",
        layer=layer,
        position=position,
        token="<end>" if position == -2 else "<b>&",
        bypass=nan if dead else 4.0 - 1.5 * layer if position == -2 else 3.0,
        induce=nan if dead else -6.0 + 1.8 * layer,
        kl=nan if dead else 0.01 * layer,
        fate="chosen"
        if is_chosen
        else "the classes do not differ there"
        if dead
        else "passed",
        norm=3.5,
        relative_norm=0.2,
        rank=1 if is_chosen else None,
        share=0.93 if is_chosen else 0.0,
    )


def _doses() -> tuple[RefusalDose, ...]:
    sources: tuple[Source, ...] = ("base", "post", "random")
    roles: tuple[Role, Role] = ("base", "post")
    strength = {"base": 1.0, "post": 6.0, "random": 0.3}
    rows = []
    for role in roles:
        for source in sources:
            for draw in range(2 if source == "random" else 1):
                for step in (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0):
                    score = (4.0 if step < 0 else -4.0) + strength[source] * step
                    rows.append(
                        RefusalDose(
                            model=role,
                            instructions="harmful" if step < 0 else "harmless",
                            direction=source,
                            draw=draw,
                            coefficient=step,
                            n=40,
                            score=score,
                            score_low=score - 0.5,
                            score_high=score + 0.5,
                            refused=40 if score > 0 else 0,
                            rate=float(score > 0),
                            low=0.9 if score > 0 else 0.0,
                            high=1.0 if score > 0 else 0.1,
                        )
                    )
    return tuple(rows)


def _projections() -> tuple[RefusalProjection, ...]:
    roles: tuple[Role, Role] = ("base", "post")
    kinds: tuple[Instructions, Instructions] = ("harmful", "harmless")
    rows = []
    for role in roles:
        for direction in roles:
            for kind in kinds:
                for layer in range(8):
                    sign = 1 if kind == "harmful" else -1
                    mean = sign * layer * (0.5 if role == "post" else 0.1)
                    rows.append(
                        RefusalProjection(
                            model=role,
                            direction=direction,
                            instructions=kind,
                            layer=layer,
                            n=40,
                            mean=mean,
                            mean_low=mean - 0.2,
                            mean_high=mean + 0.2,
                            low=mean - 1,
                            high=mean + 1,
                        )
                    )
    return tuple(rows)


def _side_effects() -> tuple[RefusalSideEffect, ...]:
    sources: tuple[Source, ...] = ("post", "base", "random")
    return tuple(
        RefusalSideEffect(
            direction=source,
            text="ordinary text",
            n_texts=40,
            n_tokens=800,
            loss_clean=2.4,
            loss_change=0.1 / (1 + i),
            loss_change_low=0.05 / (1 + i),
            loss_change_high=0.15 / (1 + i),
            divergence=0.2 / (1 + i),
            divergence_low=0.1 / (1 + i),
            divergence_high=0.3 / (1 + i),
            n_answers=40,
            false_refusals=0.0,
            false_refusals_low=0.0,
            false_refusals_high=0.09,
            looping=0.0,
            distinct=(0.9, 0.95, 1.0),
        )
        for i, source in enumerate(sources)
    )


def _f(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)


# Refused of 40: (model, instructions, intervention, direction) -> how many.
_REFUSED: dict[tuple[Role, Instructions, Intervention, Source], int] = {
    ("base", "harmful", "none", "none"): 6,
    ("base", "harmless", "none", "none"): 0,
    ("base", "harmful", "ablate", "base"): 1,
    ("base", "harmful", "ablate", "post"): 2,
    ("base", "harmless", "add", "base"): 22,
    ("base", "harmless", "add", "post"): 28,
    ("post", "harmful", "none", "none"): 38,
    ("post", "harmless", "none", "none"): 1,
    ("post", "harmful", "ablate", "post"): 2,
    ("post", "harmful", "ablate", "base"): 15,
    ("post", "harmless", "add", "post"): 39,
    ("post", "harmless", "add", "base"): 30,
}


def _completions() -> tuple[Completion, ...]:
    return tuple(
        Completion(
            model=model,
            instructions=instructions,
            intervention=intervention,
            direction=direction,
            prompt=f"Do the {instructions} thing number {i}.",
            completion="I cannot help with that."
            if i < refused
            else "Sure, here it is.",
            refused=i < refused,
            refused_prefix=i < refused,
            looping=False,
            score=4.0 if i < refused else -4.0,
        )
        for (model, instructions, intervention, direction), refused in _REFUSED.items()
        for i in range(40)
    )
