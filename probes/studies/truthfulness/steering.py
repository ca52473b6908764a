"""Adding a truth direction while a model judges statements, and measuring what it does.

The place (token and layers) is chosen on validation statements and measured on test
statements, beside vectors of equal length that mean nothing.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.activations import capture
from interp.data import Statements
from interp.data.pairing_tokens import Labels
from interp.edits import steer
from interp.models.language_model import LanguageModel
from probes.studies.fewshot import Questions, demonstrations, questions
from probes.studies.truthfulness.spots import Slots, Spot


# One vector for all statements, or one for those of each data set.
Vectors = Float[Tensor, " d_model"] | Mapping[str, Float[Tensor, " d_model"]]
# Starting layers that are tried: beyond this many they are spread evenly.
MAX_STARTS = 6
# The latest start as a share of the depth: later there is little left to act on.
LATEST_START = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A spot and the layers, counted from 0, after which a vector is added."""

    spot: Spot
    first: int
    last: int

    @property
    def layers(self) -> str:
        same = self.first == self.last
        return str(self.first) if same else f"{self.first}..{self.last}"

    def __str__(self) -> str:
        word = "layer" if self.first == self.last else "layers"
        return f"{self.spot.name}, {word} {self.layers}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """The questions of one data set.

    Attributes:
        source: The data set.
        places: Which questions of the quiz these are.
        questions: The prompts.
    """

    source: str
    places: tuple[int, ...]
    questions: Questions


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quiz:
    """Statements put to one model as few-shot questions.

    Attributes:
        model: The model.
        rows: Which statements are asked, by their place in the data.
        labels: Which of them are true.
        groups: What each is about.
        parts: The questions by data set.
    """

    model: LanguageModel
    rows: tuple[int, ...]
    labels: Bool[np.ndarray, " example"]
    groups: tuple[str, ...]
    parts: tuple[Part, ...]

    @property
    def answers(self) -> Labels:
        return self.parts[0].questions.answers

    def take(self, index: Sequence[int]) -> "Quiz":
        """Some of the questions, in ascending order."""
        number = {old: new for new, old in enumerate(sorted(index))}
        parts = []
        for part in self.parts:
            kept = [i for i, place in enumerate(part.places) if place in number]
            if kept:
                parts.append(
                    Part(
                        source=part.source,
                        places=tuple(number[part.places[i]] for i in kept),
                        questions=part.questions.take(kept),
                    )
                )
        return Quiz(
            model=self.model,
            rows=tuple(self.rows[i] for i in number),
            labels=self.labels[list(number)],
            groups=tuple(self.groups[i] for i in number),
            parts=tuple(parts),
        )


def quiz(
    model: LanguageModel,
    statements: Statements,
    rows: Sequence[int],
    *,
    train: Sequence[int] | np.ndarray,
    seed: int,
) -> Quiz:
    """The questions about some statements, with demonstrations of their own data set.

    Args:
        model: The model to ask.
        statements: All statements.
        rows: Which are asked.
        train: Which may be shown as demonstrations.
        seed: Feeds the choice of demonstrations; the same for both models.

    Raises:
        DataError: If there are too few training statements.
        PromptError: If a prompt cannot be read by the model.
    """
    parts: list[Part] = []
    for source in dict.fromkeys(statements.sources[row] for row in rows):
        places = tuple(
            i for i, row in enumerate(rows) if statements.sources[row] == source
        )
        own = [int(i) for i in train if statements.sources[int(i)] == source]
        shown = demonstrations(statements, own, seed=seed)
        asked = [statements.prompts[rows[i]] for i in places]
        found = questions(model, asked, shown=shown)
        parts.append(Part(source=source, places=places, questions=found))
    return Quiz(
        model=model,
        rows=tuple(rows),
        labels=statements.labels[list(rows)],
        groups=tuple(statements.groups[row] for row in rows),
        parts=tuple(parts),
    )


def judge(
    asked: Quiz,
    *,
    vector: Vectors | None = None,
    place: Place | None = None,
    slots: Slots | None = None,
    strength: float = 1.0,
) -> Float[np.ndarray, " example"]:
    """P(TRUE) - P(FALSE) of each statement, with a vector added if one is given.

    The vector is subtracted in true statements and added in false ones, so that it
    pushes each towards the other judgement.

    Args:
        asked: The questions.
        vector: What is added; by data set if statements get different vectors.
        place: Where.
        slots: The tokens of the statements.
        strength: How often the vector is added.
    """
    result = np.empty(len(asked.rows))
    for each in asked.parts:
        places, part = each.places, each.questions
        edit = nullcontext()
        if vector is not None:
            assert place is not None
            assert slots is not None
            index = list(places)
            signs = np.where(asked.labels[index], -strength, strength)
            edit = steer(
                asked.model,
                vector[each.source] if isinstance(vector, Mapping) else vector,
                torch.from_numpy(signs.astype(np.float32)),
                site=[f"resid_post.{i}" for i in range(place.first, place.last + 1)],
                positions=slots.inside(
                    place.spot, [asked.rows[i] for i in index], part.spans
                ),
            )
        with edit:
            logits = capture(
                asked.model, part.ids, sites="logits", positions="last", dtype="float32"
            )["logits"]
        chances = torch.softmax(logits.double(), dim=-1)
        answers = part.answers
        said = chances[:, answers.true] - chances[:, answers.false]
        result[list(places)] = said.numpy()
    return result


def layers_to_try(n_layers: int) -> tuple[tuple[int, int], ...]:
    """First and last layers that are tried on validation statements.

    Example:
        >>> layers_to_try(4)
        ((0, 0), (0, 1), (1, 1), (1, 2), (2, 2), (2, 3))
    """
    latest = max(1, round(LATEST_START * n_layers))
    spread = np.linspace(0, latest - 1, min(latest, MAX_STARTS))
    starts = sorted({round(start) for start in spread})
    widths = sorted({1, max(2, n_layers // 6)})
    return tuple(
        (first, first + width - 1)
        for first in starts
        for width in widths
        if first + width <= n_layers
    )


def pushing_vector(
    direction: Float[Tensor, " d_model"], difference: Float[Tensor, " d_model"]
) -> Float[Tensor, " d_model"]:
    """The part of a difference of class means that lies along a direction.

    Args:
        direction: Of any length, maybe of another model.
        difference: Mean of the true minus mean of the false examples in the model that
            will be edited.

    Source:
        Marks & Tegmark (2023), arXiv:2310.06824.

    Example:
        >>> pushing_vector(torch.tensor([2.0, 0.0]), torch.tensor([3.0, 4.0])).tolist()
        [3.0, 0.0]
    """
    unit = torch.nn.functional.normalize(direction, dim=-1)
    return (difference @ unit) * unit


def random_vectors(
    n: int, length: float, d_model: int, *, seed: int
) -> Float[Tensor, "draw d_model"]:
    """Vectors of a given length in random directions."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(n, d_model, generator=generator)
    return torch.nn.functional.normalize(drawn, dim=-1) * length


def some_of(
    rows: Sequence[int] | np.ndarray,
    labels: Bool[np.ndarray, " example"],
    limit: int,
    *,
    seed: int,
) -> tuple[int, ...]:
    """At most so many rows, true and false ones alike, in their order."""
    rng = np.random.default_rng(seed)
    rows = np.asarray(rows)
    kept = [
        rng.permutation(rows[labels[rows] == label])[: max(1, limit // 2)]
        for label in (True, False)
    ]
    return tuple(sorted(int(i) for part in kept for i in part))
