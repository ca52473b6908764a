"""The intervention of the truthfulness study: chosen on validation, then tested."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.data import Splits, Statements
from interp.errors import DataError, PromptError
from interp.models.language_model import LanguageModel
from interp.progress import progress_bar
from interp.results import TruthEffect
from interp.results.truthfulness import ROLES, Control
from interp.statistics import Interval, auroc
from probes.studies.effects import effect, gap_interval
from probes.studies.readout import cosines, fit, project, shuffled_direction, split_rows
from probes.studies.spots import Slots, spots_of
from probes.studies.steering import (
    Place,
    Quiz,
    judge,
    layers_to_try,
    pushing_vector,
    quiz,
    random_vectors,
    some_of,
)


if TYPE_CHECKING:
    from probes.studies.truthfulness import TruthfulnessSpec

NAMES = ("the base model", "the post-trained model")
# Where truth cannot be read on validation better than this, no vector is tried.
READABLE = 0.6
# A control that is closer than this to the direction it is to control is none.
ALIKE = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Interventions:
    """What was measured, and in sentences what was chosen or is missing."""

    effects: tuple[TruthEffect, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subject:
    """One of the two models, with what is needed to push its judgement.

    Attributes:
        model: The model.
        slots: The tokens of the statements.
        train: Activations of the bare training statements at these tokens.
        difference: Their mean over true minus their mean over false statements.
        readable: AUROC of this difference on validation statements.
    """

    model: LanguageModel
    slots: Slots
    train: Float[Tensor, "example layer slot d_model"]
    difference: Float[Tensor, "layer slot d_model"]
    readable: Float[np.ndarray, "layer slot"]


def subject_of(
    model: LanguageModel,
    slots: Slots,
    rows: Float[Tensor, "example layer slot d_model"],
    *,
    statements: Statements,
    splits: Splits,
) -> Subject:
    """A model with its directions at every layer and token slot."""
    train, val, _ = split_rows(rows.flatten(1, 2), splits)
    found = fit(train, statements.labels[splits.train])
    scores = project(val, found.direction, found.centre)
    shape = tuple(rows.shape[1:3])
    return Subject(
        model=model,
        slots=slots,
        train=train.unflatten(1, shape),
        difference=found.direction.unflatten(0, shape),
        readable=auroc(scores, statements.labels[splits.val]).reshape(shape),
    )


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
    able = [role for role, one in enumerate(chosen_on) if one.gap(spec).low > 0]
    effects = [_row(_Job(role, role), one, spec) for role, one in enumerate(tested_on)]
    notes = [
        note for role in range(2) for note in _answers(role, tested_on[role], spec)
    ]
    place = _best_place(subjects, chosen_on, able) if able else None
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Asked:
    """Questions with the answers that the unchanged model gives."""

    quiz: Quiz
    clean: Float[np.ndarray, " example"]

    def gap(self, spec: "TruthfulnessSpec") -> Interval:
        return gap_interval(
            self.clean,
            self.quiz.labels,
            groups=self.quiz.groups,
            resamples=spec.resamples,
            seed=spec.seed,
        )


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
) -> _Asked:
    rows: Int[np.ndarray, " n"] = getattr(splits, split)
    limit = spec.asked_validation if split == "val" else spec.asked_test
    chosen = some_of(rows, statements.labels, limit, seed=spec.seed)
    asked = quiz(subject.model, statements, chosen, train=splits.train, seed=spec.seed)
    return _Asked(quiz=asked, clean=judge(asked))


def _answers(role: int, asked: _Asked, spec: "TruthfulnessSpec") -> Iterator[str]:
    """What the unchanged model says when it is asked, and at which tokens."""
    gap, answers = asked.gap(spec), asked.quiz.answers
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


def _best_place(
    subjects: tuple[Subject, Subject], asked: Sequence[_Asked], able: Sequence[int]
) -> Place | None:
    """Where a model's own vector moves validation statements furthest, on average."""
    places = [
        Place(spot=spot, first=first, last=last)
        for spot in spots_of(subjects[0].slots)
        for first, last in layers_to_try(subjects[0].model.n_layers)
        if all(
            subjects[role].readable[first, subjects[role].slots.names.index(spot.read)]
            >= READABLE
            for role in able
        )
    ]
    if not places:
        return None
    found: list[float] = []
    with progress_bar("choose place", len(places), "places") as bar:
        for place in places:
            effects = [
                effect(
                    asked[role].clean,
                    _judged(
                        asked[role], subjects[role], place, _own(subjects, role, place)
                    ),
                    asked[role].quiz.labels,
                    groups=asked[role].quiz.groups,
                    resamples=1,
                )
                for role in able
            ]
            found.append(
                float(np.mean([float(one.saturation.estimate) for one in effects]))
            )
            bar.advance()
    return places[int(np.argmax(found))]


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
            vector = _vector(subjects, source, target, place)
            yield _Job(source, target, "direction", vector)
        length = float(_own(subjects, target, place).norm())
        subject = subjects[target]
        rows = subject.train[:, place.first, subject.slots.names.index(place.spot.read)]
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


def _vector(
    subjects: tuple[Subject, Subject], source: int, target: int, place: Place
) -> Tensor:
    own, into = (
        subjects[role].difference[
            place.first, subjects[role].slots.names.index(place.spot.read)
        ]
        for role in (source, target)
    )
    return pushing_vector(own, into)


def _own(subjects: tuple[Subject, Subject], role: int, place: Place) -> Tensor:
    return _vector(subjects, role, role, place)


def _judged(
    asked: _Asked, subject: Subject, place: Place, vector: Tensor, strength: float = 1.0
) -> np.ndarray:
    return judge(
        asked.quiz, vector=vector, place=place, slots=subject.slots, strength=strength
    )


def _row(
    job: _Job,
    asked: _Asked,
    spec: "TruthfulnessSpec",
    subject: Subject | None = None,
    place: Place | None = None,
) -> TruthEffect:
    edited = asked.clean
    if subject is not None and place is not None and job.vector is not None:
        edited = _judged(asked, subject, place, job.vector, spec.strength)
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
