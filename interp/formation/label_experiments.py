"""Presets on labels in context: few-shot clamps, data, and Reddy's classes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from torch import Tensor

from interp.formation import holding
from interp.formation.batches import Batch
from interp.formation.clamps import Clamp
from interp.formation.findings import (
    Group,
    Preset,
    above,
    abruptness,
    below,
    earlier,
    formation_run,
    split,
)
from interp.formation.forward import Pass
from interp.formation.measures import accuracy, measure_labels
from interp.formation.network import NetworkConfig
from interp.formation.reddy import evaluator, reddy_task
from interp.formation.spec import Evaluation, Experiment, TrainingConfig
from interp.formation.tasks import FewShotSplits, few_shot_labels
from interp.formation.training import train
from interp.results.formation import FormationFinding, FormationRun


Size = Literal["full", "small"]
HEAD, HEADS = 0, 8
LN2 = float(np.log(2))
# Runs far below the level have nothing more to tell.
ENOUGH = 0.12
Hold = Callable[[tuple[int, ...] | None], tuple[Clamp, ...]]
HOLDS: Mapping[str, Hold] = {
    "none": lambda replicas: (),
    "step 1 held": lambda r: holding.previous_token(0, [0], replicas=r),
    "layer 1 held": lambda r: holding.perfect_previous_token_input(1, replicas=r),
    "copying held": lambda r: holding.copy(1, HEAD, replicas=r),
    "only matching left": lambda r: (
        *holding.perfect_previous_token_input(1, replicas=r),
        *holding.copy(1, HEAD, replicas=r),
    ),
    "only copying left": lambda r: holding.match(1, [HEAD], replicas=r),
}
NOTE = (
    "In every condition one head of the second layer is active; classes are Gaussian "
    "vectors, not images."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _FewShot:
    """Settings of one few-shot training run."""

    conditions: tuple[str, ...]
    seeds: tuple[int, ...]
    steps: int
    learning_rate: float


def few_shot_clamp(
    *, size: Size = "full", seed: int = 0, out: Path | None = None
) -> FormationRun:
    """Holding parts of the circuit: earlier, and smooth once a single part is left.

    Args:
        size: `"small"` compares two conditions at a higher learning rate.
        seed: The first seed.
        out: Folder for checkpoints, which a second call resumes from.
    """
    settings = _FewShot(
        conditions=tuple(HOLDS),
        seeds=tuple(range(seed, seed + 4)),
        steps=1000,
        learning_rate=3e-4,
    )
    if size == "small":
        settings = _FewShot(
            conditions=("none", "only copying left"),
            seeds=tuple(range(seed, seed + 4)),
            steps=80,
            learning_rate=1e-3,
        )
    groups = _few_shot(few_shot_labels(), settings, out)
    preset = Preset(
        name="fewshot-clamp", metric="loss", level=0.4 * LN2, plateau=LN2, seed=seed
    )
    none, *held = groups
    findings = [earlier(group, none, preset) for group in held]
    if size == "full":
        # The share is 0.6 or more for an exponential, less behind a plateau.
        findings += [_smooth(group, none, preset) for group in groups[4:]]
    return formation_run(groups, findings, preset, notes=(NOTE,))


def few_shot_data(
    *, size: Size = "full", seed: int = 0, out: Path | None = None
) -> FormationRun:
    """More classes slow matching, more labels slow copying.

    Args:
        size: `"small"` has fewer seeds.
        seed: The first seed.
        out: Folder for checkpoints, which a second call resumes from.
    """
    preset = Preset(
        name="fewshot-data", metric="loss", level=0.4 * LN2, plateau=LN2, seed=seed
    )
    settings = _FewShot(
        conditions=("only matching left", "only copying left"),
        seeds=tuple(range(seed, seed + (6 if size == "full" else 3))),
        steps=400,
        learning_rate=3e-4,
    )
    found: dict[tuple[int, int], list[Group]] = {}
    for classes, labels in ((50, 5), (200, 5), (50, 15)):
        splits = few_shot_labels(classes=classes, labels=labels)
        place = None if out is None else out / f"{classes}-{labels}"
        name = f"{classes} classes, {labels} labels"
        groups = _few_shot(splits, settings, place)
        found[classes, labels] = [
            Group(
                condition=f"{group.condition}: {name}",
                seeds=group.seeds,
                steps=group.steps,
                curves=group.curves,
            )
            for group in groups
        ]
    plain, classes, labels = found[50, 5], found[200, 5], found[50, 15]
    findings = [
        earlier(plain[0], classes[0], preset),
        earlier(plain[1], labels[1], preset),
    ]
    groups = [group for part in found.values() for group in part]
    return formation_run(groups, findings, preset, notes=(NOTE,))


def reddy_preset(
    *, size: Size = "full", seed: int = 0, out: Path | None = None
) -> FormationRun:
    """Few classes are learned in weights, many in context.

    Args:
        size: `"small"` has fewer steps, too few to learn all.
        seed: The first seed.
        out: Folder for checkpoints, which a second call resumes from.
    """
    groups: list[Group] = []
    for classes in (64, 2048):
        experiment = _reddy(classes, size=size, seed=seed)
        run = train(experiment, out=None if out is None else out / f"{classes}")
        name = f"{classes} classes"
        groups += split((name,), experiment.seeds, run.steps, run.curves)
    few, many = groups
    preset = Preset(
        name="reddy", metric="loss", level=0.3, plateau=float(np.log(4)), seed=seed
    )
    findings: list[FormationFinding] = [
        above("accuracy in weights, 64 classes", few.last("IW"), 0.8),
        below("accuracy in context, 64 classes", few.last("IC"), 0.3),
        below("accuracy in weights, 2048 classes", many.last("IW"), 0.3),
        above("accuracy in context, 2048 classes", many.last("IC"), 0.8),
        above("accuracy on swapped labels, 2048 classes", many.last("IC2"), 0.8),
    ]
    return formation_run(
        groups, findings, preset, notes=("p_B is 0.75 and p_C 0; L=16, N=4, D=31.",)
    )


def _reddy(classes: int, *, size: Size, seed: int) -> Experiment:
    """One run of Reddy's network on so many classes, with his three tests."""
    task = reddy_task(
        classes=classes,
        labels=16,
        content=31,
        places=17,
        context=4,
        p_bursty=0.75,
        seed=seed,
    )
    tests = tuple(
        Evaluation(name=name, task=evaluator(task, name), measure=_accuracy)
        for name in ("IC", "IC2", "IW")
    )
    is_full = size == "full"
    return Experiment(
        network=NetworkConfig(
            heads=1,
            d_model=task.width,
            outputs=16,
            d_item=task.width,
            raw_items=True,
            positions="none",
            norm=False,
            project=False,
            scaled=False,
            readout=(128, 128),
        ),
        task=task,
        training=TrainingConfig(
            steps=2500 if is_full else 20,
            batch=64,
            learning_rate=1e-3,
            betas=(0.9, 0.999),
            evaluate_every=50 if is_full else 10,
            checkpoint_every=500,
        ),
        seeds=tuple(range(seed, seed + 3)),
        evaluations=(Evaluation(task=task, measure=measure_labels), *tests),
    )


def _few_shot(
    splits: FewShotSplits, settings: _FewShot, out: Path | None
) -> list[Group]:
    # A run for each condition: the fast ones end in a tenth of the steps of the slow.
    groups: list[Group] = []
    for condition in settings.conditions:
        experiment = _experiment(splits, settings, HOLDS[condition](None))
        place = None if out is None else out / condition.replace(" ", "-")
        run = train(experiment, out=place, until=_is_enough)
        groups += split((condition,), settings.seeds, run.steps, run.curves)
    return groups


def _experiment(
    splits: FewShotSplits, settings: _FewShot, clamps: tuple[Clamp, ...]
) -> Experiment:
    task = splits.train
    silent = holding.ablate(1, [head for head in range(HEADS) if head != HEAD])
    return Experiment(
        network=NetworkConfig(
            heads=HEADS,
            d_model=64,
            symbols=task.labels,
            outputs=task.labels,
            d_item=task.prototypes.shape[1],
        ),
        task=task,
        training=TrainingConfig(
            steps=settings.steps,
            learning_rate=settings.learning_rate,
            betas=(0.9, 0.999),
            warm_up=1,
            clip=0.0,
            evaluate_every=10,
            checkpoint_every=200,
        ),
        seeds=settings.seeds,
        clamps=(*silent, *clamps),
        evaluations=(Evaluation(task=task, measure=measure_labels),),
    )


def _smooth(group: Group, none: Group, preset: Preset) -> FormationFinding:
    shares, reference = abruptness(group, preset), abruptness(none, preset)
    pairs = np.isfinite(shares) & np.isfinite(reference)
    if not pairs.any():
        return FormationFinding(
            claim=f"'{group.condition}' is smoother than 'none'",
            value=np.nan,
            low=np.nan,
            high=np.nan,
            held=False,
        )
    gap = shares[pairs] - reference[pairs]
    return above(f"by how much {group.condition!r} is smoother than 'none'", gap, 0.0)


def _accuracy(run: Pass, batch: Batch) -> dict[str, Tensor]:
    return {"": accuracy(run, batch)}


def _is_enough(now: Mapping[str, Tensor]) -> bool:
    return bool((now["loss"] < ENOUGH).all())
