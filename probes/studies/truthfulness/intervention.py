"""The intervention of the truthfulness study: chosen on validation, then tested."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from interp.data import Splits, Statements
from interp.errors import DataError, PromptError
from interp.progress import progress_bar
from interp.results import TruthEffect
from interp.results.truthfulness import ROLES, Control
from probes.studies.truthfulness.effects import effect
from probes.studies.truthfulness.places import Asked, Subject, best_place
from probes.studies.truthfulness.readout import cosines, shuffled_direction
from probes.studies.truthfulness.steering import (
    Place,
    judge,
    quiz,
    random_vectors,
    some_of,
)


if TYPE_CHECKING:
    from probes.studies.truthfulness.spec import TruthfulnessSpec

NAMES = ("the base model", "the post-trained model")
# A control that is closer than this to the direction it is to control is none.
ALIKE = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Interventions:
    """What was measured, and in sentences what was chosen or is missing."""

    effects: tuple[TruthEffect, ...]
    notes: tuple[str, ...]


def intervene(
    subjects: tuple[Subject, Subject],
    statements: Statements,
    splits: Splits,
    *,
    spec: "TruthfulnessSpec",
) -> Interventions:
    """Push true statements towards false and false ones towards true, and ask.

    Args:
        subjects: The base and the post-trained model.
        statements: All statements.
        splits: Which are for training, validation and test.
        spec: The settings.

    Returns:
        No effects but a note if the models cannot be asked, or do not tell true from
        false statements when asked.
    """
    try:
        chosen_on = [_asked(one, statements, splits, "val", spec) for one in subjects]
        tested_on = [_asked(one, statements, splits, "test", spec) for one in subjects]
    except (DataError, PromptError) as error:
        note = f"No intervention could be measured: {error}"
        return Interventions(effects=(), notes=(note,))
    able = [
        role
        for role, one in enumerate(chosen_on)
        if one.gap(resamples=spec.resamples, seed=spec.seed).low > 0
    ]
    effects = [_row(_Job(role, role), one, spec) for role, one in enumerate(tested_on)]
    notes = [
        note for role in range(2) for note in _answers(role, tested_on[role], spec)
    ]
    place = best_place(subjects, chosen_on, able, seed=spec.seed) if able else None
    if place is None:
        notes.append(
            "No vector was added: "
            + (
                "truth cannot be read at any token that was tried."
                if able
                else "neither model told true from false validation statements."
            )
        )
        return Interventions(effects=tuple(effects), notes=tuple(notes))
    notes.append(
        f"Vectors are added at the {place} (counted from 0), chosen on "
        f"{len(chosen_on[0].quiz.rows)} validation statements; what is reported was "
        f"measured on {len(tested_on[0].quiz.rows)} test statements."
    )
    jobs = list(_jobs(subjects, able, place, statements.labels[splits.train], spec))
    notes += _control_notes(jobs)
    with progress_bar("intervene", len(jobs), "conditions") as bar:
        for job in jobs:
            effects.append(
                _row(job, tested_on[job.target], spec, subjects[job.target], place)
            )
            bar.advance()
    return Interventions(effects=tuple(effects), notes=tuple(notes))


@dataclass(frozen=True, slots=True)
class _Job:
    """One condition: whose vector, in which model, of what kind."""

    source: int
    target: int
    condition: Control = "none"
    vector: Tensor | None = None
    draw: int = 0


def _asked(
    subject: Subject,
    statements: Statements,
    splits: Splits,
    split: str,
    spec: "TruthfulnessSpec",
) -> Asked:
    rows: Int[np.ndarray, " n"] = getattr(splits, split)
    limit = spec.asked_validation if split == "val" else spec.asked_test
    chosen = some_of(rows, statements.labels, limit, seed=spec.seed)
    asked = quiz(subject.model, statements, chosen, train=splits.train, seed=spec.seed)
    return Asked(quiz=asked, clean=judge(asked))


def _answers(role: int, asked: Asked, spec: "TruthfulnessSpec") -> Iterator[str]:
    """What the unchanged model says when it is asked, and at which tokens."""
    gap, answers = (
        asked.gap(resamples=spec.resamples, seed=spec.seed),
        asked.quiz.answers,
    )
    yield (
        f"Asked after four examples, {NAMES[role]} puts P(TRUE) - P(FALSE) "
        f"{float(gap.estimate):.2f} [{float(gap.low):.2f}, {float(gap.high):.2f}] "
        f"higher for true than for false statements (read at the tokens "
        f"{answers.true_text!r} and {answers.false_text!r})."
    )
    if not gap.low > 0:
        yield (
            f"So {NAMES[role]} does not tell true from false statements when asked, "
            "and no effect on its judgement can be measured: a null result."
        )


def _jobs(
    subjects: tuple[Subject, Subject],
    able: Sequence[int],
    place: Place,
    labels: np.ndarray,
    spec: "TruthfulnessSpec",
) -> Iterator[_Job]:
    """Both directions in every model that can be asked, and controls of equal norm."""
    for target in able:
        for source in range(2):
            vector = subjects[target].pushed_along(subjects[source], place)
            yield _Job(source, target, "direction", vector)
        subject = subjects[target]
        length = float(subject.difference_at(place).norm())
        rows = subject.train_at(place)
        drawn = random_vectors(
            spec.controls, length, rows.shape[-1], seed=spec.seed + target
        )
        for draw in range(spec.controls):
            yield _Job(target, target, "random", drawn[draw], draw)
            shuffled = shuffled_direction(rows, labels, seed=spec.seed + draw)
            vector = torch.nn.functional.normalize(shuffled, dim=-1) * length
            yield _Job(target, target, "shuffled", vector, draw)


def _control_notes(jobs: Sequence[_Job]) -> Iterator[str]:
    """Whether vectors from shuffled labels are a control at all."""
    own = {
        job.target: job.vector
        for job in jobs
        if job.condition == "direction"
        and job.source == job.target
        and job.vector is not None
    }
    found = [
        float(cosines(job.vector, own[job.target]))
        for job in jobs
        if job.condition == "shuffled" and job.vector is not None
    ]
    if any(abs(cosine) > ALIKE for cosine in found):
        listed = ", ".join(f"{cosine:.2f}" for cosine in found)
        yield (
            "Vectors from shuffled labels lie along what statements differ in most, "
            "which here is partly truth itself (cosines with the truth direction: "
            f"{listed}); the random vectors are the cleaner control."
        )


def _row(
    job: _Job,
    asked: Asked,
    spec: "TruthfulnessSpec",
    subject: Subject | None = None,
    place: Place | None = None,
) -> TruthEffect:
    edited = asked.clean
    if subject is not None and place is not None and job.vector is not None:
        edited = asked.pushed(subject, place, job.vector, strength=spec.strength)
    found = effect(
        asked.clean,
        edited,
        asked.quiz.labels,
        groups=asked.quiz.groups,
        resamples=spec.resamples,
        seed=spec.seed,
    )
    return TruthEffect(
        direction=ROLES[job.source],
        target=ROLES[job.target],
        condition=job.condition,
        coefficient=spec.strength if place else 0.0,
        layers=place.layers if place else "",
        position=place.spot.name if place else "",
        draw=job.draw,
        n=len(asked.quiz.rows),
        p_difference_true=float(found.true.estimate),
        p_difference_false=float(found.false.estimate),
        nie_saturation=float(found.saturation.estimate),
        nie_saturation_low=float(found.saturation.low),
        nie_saturation_high=float(found.saturation.high),
        nie_gap=float(found.gap.estimate),
        nie_gap_low=float(found.gap.low),
        nie_gap_high=float(found.gap.high),
    )
