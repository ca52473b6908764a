"""Presets: experiments with the findings they stand for, one call each."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from interp.formation import holding, toy
from interp.formation.findings import (
    Group,
    Preset,
    above,
    below,
    earlier,
    formation_run,
    split,
    times_of,
)
from interp.formation.measures import measure_repeats
from interp.formation.network import NetworkConfig
from interp.formation.spec import Evaluation, Experiment, TrainingConfig
from interp.formation.tasks import RepeatedTokens
from interp.formation.training import train
from interp.results.formation import FormationFinding, FormationRun
from interp.statistics import wilson


Size = Literal["full", "small"]


def toy_preset() -> FormationRun:
    """The two models in closed form: a product of parts, and nested logits."""
    preset = Preset(name="toy", metric="loss", level=0.025, plateau=0.5)
    held = {"none": "", "c held": "c", "b and c held": "bc"}
    groups: list[Group] = []
    for condition, factors in held.items():
        run = toy.three_factors(held=factors)
        groups.append(
            Group(
                condition=condition,
                seeds=tuple(range(len(run.loss))),
                steps=np.arange(run.loss.shape[1]),
                curves={"loss": run.loss, "unaligned_a": run.unaligned[..., 0]},
            )
        )
    none, one, two = groups
    findings = [earlier(one, none, preset), earlier(two, one, preset)]
    flow = toy.nested_logits(np.array([8.0, 8.0]), np.array([32.0, 8.0]), until=450)
    reached = flow.time[(flow.loss < 0.3 * np.log(8)).argmax(axis=1)]
    for labels, time, bound in ((32, reached[0], 100.0), (8, reached[1], 300.0)):
        below_bound = labels == 32
        findings.append(
            FormationFinding(
                claim=f"time until nested logits with N=8 and L={labels} learn "
                f"({'below' if below_bound else 'above'} {bound:.0f})",
                value=float(time),
                low=np.nan,
                high=np.nan,
                held=bool(time < bound) == below_bound,
            )
        )
    return formation_run(
        groups,
        findings,
        preset,
        notes=(
            "A run that does not cross the level within 1000 iterations counts as if "
            "it did at the last, so differences are lower bounds.",
        ),
    )


def induction_lm_tiny(
    *, size: Size = "full", seed: int = 0, out: Path | None = None
) -> FormationRun:
    """Repeated tokens: two layers form an induction head, one layer never does.

    Args:
        size: `"small"` has fewer tokens, seeds and steps.
        seed: The first seed.
        out: Folder for checkpoints, which a second call resumes from.
    """
    count = 8 if size == "full" else 3
    seeds = tuple(range(seed, seed + count))
    experiment = _repeated_tokens(size, seeds)
    run = train(experiment, out=None if out is None else out / "two-layers")
    conditions = ("none", "previous token held")
    none, held = split(conditions, seeds, run.steps, run.curves)
    shallow = replace(
        experiment,
        network=replace(experiment.network, layers=1),
        seeds=seeds[: max(2, count // 2)],
        clamps=(),
    )
    run = train(shallow, out=None if out is None else out / "one-layer")
    (one,) = split(("one layer",), shallow.seeds, run.steps, run.curves)
    preset = Preset(
        name="induction-lm-tiny",
        metric="loss",
        level=1.0,
        plateau=float(np.log(experiment.network.outputs)),
        seed=seed,
    )
    return formation_run(
        [none, held, one],
        _induction_findings(none, held, one, preset),
        preset,
        notes=(
            "A run that has not crossed the level counts as if it did at the last step,"
            " so differences are lower bounds.",
            "Loss and accuracy are of next tokens that the context tells.",
            "Held is measured with the clamp; '(released)' is the same network without"
            " it.",
        ),
    )


def _repeated_tokens(size: Size, seeds: tuple[int, ...]) -> Experiment:
    """Two layers without a clamp, then with the previous-token head held."""
    task, steps = RepeatedTokens(), 500
    if size == "small":
        task = RepeatedTokens(vocabulary=16, length=24, shortest=4, longest=8)
        steps = 280
    held = tuple(range(len(seeds), 2 * len(seeds)))
    return Experiment(
        network=NetworkConfig(
            symbols=task.vocabulary, outputs=task.vocabulary, symbol_std=0.5
        ),
        task=task,
        training=TrainingConfig(
            steps=steps,
            evaluate_every=10 if size == "full" else 20,
            evaluate_on=128 if size == "full" else 64,
            checkpoint_every=100,
        ),
        seeds=seeds * 2,
        clamps=holding.previous_token(0, [0], replicas=held),
        evaluations=(Evaluation(task=task, measure=measure_repeats),),
    )


def _induction_findings(
    none: Group, held: Group, one: Group, preset: Preset
) -> list[FormationFinding]:
    crossed = np.isfinite(times_of(none, preset))
    share = wilson(int(crossed.sum()), len(crossed))
    return [
        earlier(held, none, preset),
        FormationFinding(
            claim="share of two-layer runs that form an induction head (above 0.5)",
            value=share.rate,
            low=share.low,
            high=share.high,
            held=share.low > 0.5,
        ),
        below(
            "highest prefix matching of one layer at the end",
            one.last("prefix_matching"),
            0.35,
        ),
        above("loss of one layer at the end", one.last("loss"), 1.0),
        above(
            "loss of the held network when it is released",
            held.last("loss (released)"),
            1.0,
        ),
    ]
