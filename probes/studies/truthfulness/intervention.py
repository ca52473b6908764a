"""The intervention of the truthfulness study: chosen on validation, then tested."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Int

from interp.data import Splits, Statements
from interp.errors import DataError, PromptError
from interp.progress import progress_bar
from interp.results import TruthEffect
from interp.results.truthfulness import ROLES, Control
from probes.studies.shards import Shards
from probes.studies.truthfulness.controls import ALIKE, control_vectors
from probes.studies.truthfulness.effects import effect
from probes.studies.truthfulness.places import Asked, Subject, best_place
from probes.studies.truthfulness.readout import cosines
from probes.studies.truthfulness.spec import TruthfulnessSpec
from probes.studies.truthfulness.steering import (
    Place,
    Vectors,
    judge,
    quiz,
    some_of,
)


NAMES = ("the base model", "the post-trained model")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interventions:
    """What was measured, and in sentences what was chosen or is missing."""

    effects: tuple[TruthEffect, ...] = ()
    doses: tuple[TruthEffect, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Where vectors are added, if truth can be read anywhere."""

    place: Place | None


def intervene(
    subjects: tuple[Subject, Subject],
    statements: Statements,
    splits: Splits,
    *,
    spec: TruthfulnessSpec,
    shards: Shards | None = None,
) -> Interventions:
    """Push true statements towards false and false ones towards true, and ask.

    Args:
        subjects: The base and the post-trained model.
        statements: All statements.
        splits: Which are for training, validation and test.
        spec: The settings.
        shards: Keeps what is finished.

    Returns:
        No effects but a note if the models cannot be asked, or do not tell true from
        false statements when asked.
    """
    shards = Shards() if shards is None else shards
    try:
        chosen_on = [_asked(one, statements, splits, "val", spec) for one in subjects]
        tested_on = [_asked(one, statements, splits, "test", spec) for one in subjects]
    except (DataError, PromptError) as error:
        return Interventions(notes=(f"No intervention could be measured: {error}",))
    able = [
        role
        for role, one in enumerate(chosen_on)
        if one.gap(resamples=spec.resamples, seed=spec.seed).low > 0
    ]
    clean = tuple(_unchanged(role, tested_on[role], spec) for role in range(2))
    notes = tuple(
        note for role in range(2) for note in _answers(role, tested_on[role], spec)
    )
    place = _place(subjects, chosen_on, able, spec, shards) if able else None
    if place is None:
        why = "neither model told true from false validation statements."
        if able:
            why = "truth cannot be read at any token that was tried."
        note = f"No vector was added: {why}"
        return Interventions(effects=clean, notes=(*notes, note))
    tests = _Tests(
        subjects=subjects,
        place=place,
        labels=statements.labels[splits.train],
        sources=tuple(statements.sources[int(i)] for i in splits.train),
        spec=spec,
    )
    parts = [tests.kept(target, tested_on[target], shards) for target in able]
    effects = (*clean, *(row for part in parts for row in part.effects))
    return Interventions(
        effects=effects,
        doses=tuple(row for part in parts for row in part.doses),
        notes=(
            *notes,
            _place_note(place, chosen_on[0], tested_on[0], spec),
            *_control_notes(effects),
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Job:
    """One condition: whose vector, in which model, of what kind.

    Attributes:
        source: Whose direction, or for controls whose norm.
        target: The model that is changed.
        condition: What kind of vector.
        vector: It, as long as it is added once.
        cosine: With the target's own direction; a mean over data sets.
        orthogonal: Whether its part along the target's own direction was taken out.
        draw: Which of several.
    """

    source: int
    target: int
    condition: Control
    vector: Vectors
    cosine: float
    orthogonal: bool = False
    draw: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Tests:
    """All conditions at one place."""

    subjects: tuple[Subject, Subject]
    place: Place
    labels: Bool[np.ndarray, " example"]
    sources: tuple[str, ...]
    spec: TruthfulnessSpec

    def kept(self, target: int, asked: Asked, shards: Shards) -> Interventions:
        """What `of` measures, from the disk if it is there."""
        name = f"interventions-{ROLES[target]}"
        return shards.kept(name, Interventions, lambda: self.of(target, asked))

    def of(self, target: int, asked: Asked) -> Interventions:
        """Every vector in one model, at the strength of the study and at doses."""
        spec, subject = self.spec, self.subjects[target]
        jobs = list(self._jobs(target))
        length = float(subject.difference_at(self.place).norm())
        norm = subject.norm_at(self.place)
        few = _fewer(asked, spec.dose_statements, spec.seed) if spec.doses else asked
        # The first of each kind; of a control with and without truth the latter.
        first = {(job.source, job.condition): job for job in jobs if job.draw == 0}
        at_doses = [
            (replace(job, vector=_scaled(job.vector, dose * norm)), dose)
            for dose in spec.doses
            for job in first.values()
        ]
        total, effects, doses = len(jobs) + len(at_doses), [], []
        with progress_bar(f"intervene in {ROLES[target]}", total, "conditions") as bar:
            for job in jobs:
                share = spec.strength * _length(job.vector) / norm
                effects.append(self._row(job, asked, spec.strength, share))
                bar.advance()
            for job, dose in at_doses:
                gaps = dose * norm / length
                doses.append(self._row(job, few, gaps, dose, strength=1.0))
                bar.advance()
        return Interventions(effects=tuple(effects), doses=tuple(doses))

    def _jobs(self, target: int) -> Iterator[_Job]:
        """Both directions, and controls as long as the model's own."""
        subject, place = self.subjects[target], self.place
        own = subject.difference_at(place)
        for source in range(2):
            vector = subject.pushed_along(self.subjects[source], place)
            yield _Job(
                source=source,
                target=target,
                condition="direction",
                vector=vector,
                cosine=float(cosines(vector, own)),
            )
        for drawn in control_vectors(
            subject.train_at(place),
            own,
            self.labels,
            self.sources,
            draws=self.spec.controls,
            seed=self.spec.seed + target,
        ):
            each = drawn.vector
            every = list(each.values()) if isinstance(each, Mapping) else [each]
            yield _Job(
                source=target,
                target=target,
                condition=drawn.condition,
                vector=_scaled(each, float(own.norm())),
                cosine=float(np.mean([cosines(one, own) for one in every])),
                orthogonal=drawn.orthogonal,
                draw=drawn.draw,
            )

    def _row(
        self,
        job: _Job,
        asked: Asked,
        coefficient: float,
        norm_share: float,
        *,
        strength: float | None = None,
    ) -> TruthEffect:
        edited = asked.pushed(
            self.subjects[job.target],
            self.place,
            job.vector,
            strength=coefficient if strength is None else strength,
        )
        return replace(
            _effect_row(asked, edited, self.spec),
            direction=ROLES[job.source],
            target=ROLES[job.target],
            condition=job.condition,
            coefficient=coefficient,
            norm_share=norm_share,
            cosine=job.cosine,
            layers=self.place.layers,
            position=self.place.spot.name,
            orthogonal=job.orthogonal,
            draw=job.draw,
        )


def _place(
    subjects: tuple[Subject, Subject],
    asked: Sequence[Asked],
    able: Sequence[int],
    spec: TruthfulnessSpec,
    shards: Shards,
) -> Place | None:
    """The place that validation statements choose, from the disk if it is there."""

    def choose() -> Chosen:
        return Chosen(place=best_place(subjects, asked, able, spec=spec))

    return shards.kept("place", Chosen, choose).place


def _asked(
    subject: Subject,
    statements: Statements,
    splits: Splits,
    split: str,
    spec: TruthfulnessSpec,
) -> Asked:
    rows: Int[np.ndarray, " n"] = getattr(splits, split)
    limit = spec.asked_validation if split == "val" else spec.asked_test
    chosen = some_of(rows, statements.labels, limit, seed=spec.seed)
    asked = quiz(subject.model, statements, chosen, train=splits.train, seed=spec.seed)
    return Asked(quiz=asked, clean=judge(asked))


def _fewer(asked: Asked, limit: int, seed: int) -> Asked:
    """A sample of the questions, with the answers that are known."""
    n = len(asked.quiz.rows)
    kept = some_of(range(n), asked.quiz.labels, limit, seed=seed)
    return Asked(quiz=asked.quiz.take(kept), clean=asked.clean[list(kept)])


def _answers(role: int, asked: Asked, spec: TruthfulnessSpec) -> Iterator[str]:
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


def _place_note(
    place: Place, chosen_on: Asked, tested_on: Asked, spec: TruthfulnessSpec
) -> str:
    chosen = ["the tokens"] * (spec.tokens == "chosen")
    chosen += ["the layers"] * (spec.layers is None)
    how = "as the settings say"
    if chosen:
        n = len(chosen_on.quiz.rows)
        how = f"{' and '.join(chosen)} chosen on {n} validation statements"
    return (
        f"Vectors are added at the {place} (counted from 0), {how}; what is reported "
        f"was measured on {len(tested_on.quiz.rows)} test statements."
    )


def _control_notes(effects: Sequence[TruthEffect]) -> Iterator[str]:
    """Whether vectors from shuffled labels and from the covariance are controls."""
    kinds: dict[Control, str] = {
        "shuffled": "Vectors from shuffled labels",
        "covariance": "Random vectors that are spread as the activations are",
    }
    for condition, name in kinds.items():
        found = [
            row.cosine
            for row in effects
            if row.condition == condition and not row.orthogonal
        ]
        if any(abs(cosine) > ALIKE for cosine in found):
            listed = ", ".join(f"{cosine:.2f}" for cosine in found)
            yield (
                f"{name} lie along what statements differ in most, which here is "
                f"partly truth itself (cosines with the truth direction: {listed}); "
                "those that are closer to it than "
                f"{ALIKE} were also added without their part along it."
            )


def _unchanged(role: int, asked: Asked, spec: TruthfulnessSpec) -> TruthEffect:
    row = _effect_row(asked, asked.clean, spec)
    return replace(row, direction=ROLES[role], target=ROLES[role])


def _effect_row(
    asked: Asked, edited: np.ndarray, spec: TruthfulnessSpec
) -> TruthEffect:
    found = effect(
        asked.clean,
        edited,
        asked.quiz.labels,
        groups=asked.quiz.groups,
        resamples=spec.resamples,
        seed=spec.seed,
    )
    return TruthEffect(
        direction="base",
        target="base",
        condition="none",
        coefficient=0.0,
        layers="",
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


def _scaled(vector: Vectors, length: float) -> Vectors:
    if isinstance(vector, Mapping):
        return {
            name: torch.nn.functional.normalize(one, dim=-1) * length
            for name, one in vector.items()
        }
    return torch.nn.functional.normalize(vector, dim=-1) * length


def _length(vector: Vectors) -> float:
    one = next(iter(vector.values())) if isinstance(vector, Mapping) else vector
    return float(one.norm())
