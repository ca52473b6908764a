"""Choosing where a truth direction is added, on validation statements only."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from interp.data import Splits, Statements
from interp.models.language_model import LanguageModel
from interp.progress import progress_bar
from interp.statistics import Interval, auroc
from probes.studies.truthfulness.effects import effect, gap_interval
from probes.studies.truthfulness.readout import fit, project, split_rows
from probes.studies.truthfulness.spec import TruthfulnessSpec
from probes.studies.truthfulness.spots import FINAL_TWO, Slots, spots_of
from probes.studies.truthfulness.steering import (
    Place,
    Quiz,
    Vectors,
    judge,
    layers_to_try,
    pushing_vector,
    random_vectors,
)


# Where truth cannot be read on validation better than this, no vector is tried.
READABLE = 0.6


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

    def difference_at(self, place: Place) -> Float[Tensor, " d_model"]:
        """The difference of class means where a place's vector is read."""
        return self.difference[place.first, self._slot(place)]

    def train_at(self, place: Place) -> Float[Tensor, "example d_model"]:
        """The training activations where a place's vector is read."""
        return self.train[:, place.first, self._slot(place)]

    def norm_at(self, place: Place) -> float:
        """The mean norm of the training activations, over a place's layers."""
        inside = self.train[:, place.first : place.last + 1, self._slot(place)]
        return float(inside.norm(dim=-1).mean())

    def readable_at(self, place: Place) -> float:
        """How well truth is read there on validation statements, as AUROC."""
        return float(self.readable[place.first, self._slot(place)])

    def pushed_along(self, other: "Subject", place: Place) -> Float[Tensor, " d_model"]:
        """This model's own difference of means, along another model's direction."""
        return pushing_vector(other.difference_at(place), self.difference_at(place))

    def _slot(self, place: Place) -> int:
        return self.slots.names.index(place.spot.read)


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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asked:
    """Questions with the answers that the unchanged model gives."""

    quiz: Quiz
    clean: Float[np.ndarray, " example"]

    def gap(self, *, resamples: int, seed: int) -> Interval:
        """How far the model tells true from false statements when asked."""
        return gap_interval(
            self.clean,
            self.quiz.labels,
            groups=self.quiz.groups,
            resamples=resamples,
            seed=seed,
        )

    def pushed(
        self,
        subject: Subject,
        place: Place,
        vector: Vectors,
        *,
        strength: float = 1.0,
    ) -> Float[np.ndarray, " example"]:
        """The answers with a vector added that pushes towards the other judgement."""
        return judge(
            self.quiz,
            vector=vector,
            place=place,
            slots=subject.slots,
            strength=strength,
        )


def best_place(
    subjects: tuple[Subject, Subject],
    asked: Sequence[Asked],
    able: Sequence[int],
    *,
    spec: TruthfulnessSpec,
) -> Place | None:
    """Where models' own vectors do most beyond a random vector of equal length.

    Args:
        subjects: The two models.
        asked: Questions about validation statements, for each of them.
        able: The models that tell true from false statements when asked.
        spec: Which tokens and layers may be tried.

    Returns:
        None if truth can be read at no place that is tried, unless there is but one.
    """
    n_layers = subjects[0].model.n_layers
    layers = layers_to_try(n_layers) if spec.layers is None else (spec.layers,)
    spots = spots_of(subjects[0].slots)
    tried = [
        Place(spot=spot, first=first, last=last)
        for spot in spots
        if spec.tokens == "chosen" or spot.name == FINAL_TWO
        for first, last in layers
    ]
    places = [
        place
        for place in tried
        if all(subjects[role].readable_at(place) >= READABLE for role in able)
    ]
    if len(tried) == 1:
        # Asked for by the user, who gets an answer there.
        return tried[0]
    if len(places) < 2:
        return places[0] if places else None
    found = np.zeros(len(places))
    with progress_bar("choose place", len(places), "places") as bar:
        for number, place in enumerate(places):
            for role in able:
                own = subjects[role].difference_at(place)
                (drawn,) = random_vectors(
                    1, float(own.norm()), own.numel(), seed=spec.seed
                )
                found[number] += _moved(asked[role], subjects[role], place, own)
                found[number] -= _moved(asked[role], subjects[role], place, drawn)
            bar.advance()
    return places[int(np.argmax(found))]


def _moved(
    asked: Asked, subject: Subject, place: Place, vector: Float[Tensor, " d_model"]
) -> float:
    moved = effect(
        asked.clean,
        asked.pushed(subject, place, vector),
        asked.quiz.labels,
        groups=asked.quiz.groups,
        resamples=1,
    )
    return float(moved.saturation.estimate)
