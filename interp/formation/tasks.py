"""Two tasks on which induction heads form: repeated tokens and few-shot labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.errors import ConfigError
from interp.formation.batches import Batch, integers, normal, uniform


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatedTokens:
    """Blocks of distinct random tokens, repeated until the sequence is full.

    The period is drawn for each sequence, so that no fixed distance helps: what comes
    next is what followed the earlier occurrence. Every next token is scored.

    Attributes:
        vocabulary: How many tokens there are.
        length: Positions of a sequence.
        shortest: The shortest period.
        longest: The longest.
    """

    vocabulary: int = 32
    length: int = 32
    shortest: int = 5
    longest: int = 12

    def __post_init__(self) -> None:
        if not 1 < self.shortest <= self.longest <= self.vocabulary:
            raise ConfigError(
                f"Periods from {self.shortest} to {self.longest} of distinct tokens "
                f"cannot be drawn from {self.vocabulary}."
            )

    def sample(self, generators: Sequence[torch.Generator], examples: int) -> Batch:
        """Sequences for each generator."""
        order = uniform(generators, examples, self.vocabulary).argsort(dim=-1)
        periods = integers(generators, self.shortest, self.longest + 1, examples)
        places = torch.arange(self.length + 1) % periods[..., None]
        tokens = order.gather(-1, places)
        return Batch(symbols=tokens[..., :-1], targets=tokens[..., 1:], periods=periods)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FewShotLabels:
    """Two items with labels, then one of the items again: which label did it have?

    Labels are dealt anew in every sequence, so only the context tells. Classes are
    vectors that stay; some pairs of labels never occur in training.

    Attributes:
        prototypes: The vector of each class.
        pairs: The pairs of labels that may occur, in either order.
        labels: How many labels there are.

    Source:
        Singh et al. (2024), arXiv:2404.07129, with Gaussian classes instead of images.
    """

    prototypes: Float[Tensor, "class d_item"]
    pairs: Int[Tensor, "pair 2"]
    labels: int

    def sample(self, generators: Sequence[torch.Generator], examples: int) -> Batch:
        """Sequences for each generator: item, label, item, label, item."""
        classes = len(self.prototypes)
        first = integers(generators, 0, classes, examples)
        other = (first + integers(generators, 1, classes, examples)) % classes
        pair = self.pairs[integers(generators, 0, len(self.pairs), examples)]
        flipped = integers(generators, 0, 2, examples).bool()
        asked = integers(generators, 0, 2, examples)
        shown = torch.where(flipped[..., None], pair.flip(-1), pair)
        of = torch.stack([first, other], dim=-1)
        symbols = torch.full((*first.shape, 5), -1)
        symbols[..., 1::2] = shown
        items = torch.zeros(*first.shape, 5, self.prototypes.shape[1])
        items[..., 0:4:2, :] = self.prototypes[of]
        items[..., 4, :] = self.prototypes[_pick(of, asked)]
        targets = torch.full_like(symbols, -1)
        targets[..., 4] = _pick(shown, asked)
        return Batch(
            symbols=symbols, items=items, targets=targets, answers=2 * asked + 1
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FewShotSplits:
    """The few-shot task as trained, with label pairs held out, and with new classes."""

    train: FewShotLabels
    new_pairs: FewShotLabels
    new_classes: FewShotLabels


def few_shot_labels(
    *,
    classes: int = 50,
    labels: int = 5,
    d_item: int = 64,
    likeness: float = 0.0,
    held_out: float = 0.2,
    seed: int = 0,
) -> FewShotSplits:
    """The few-shot task with its held-out label pairs and classes.

    Args:
        classes: Classes in training; as many others are held out.
        labels: Labels; every label occurs in training.
        d_item: Width of the vectors, each entry of which has unit variance.
        likeness: Expected cosine between two classes.
        held_out: Share of the pairs of labels that never occur in training.
        seed: Draws classes and pairs.

    Raises:
        ConfigError: If there are not enough classes or labels, or some label would
            never occur.
    """
    if classes < 2 or labels < 3 or not 0 <= likeness < 1:
        raise ConfigError(
            f"{classes} classes, {labels} labels and a likeness of {likeness} make no "
            "task.",
            expected="At least 2 classes, 3 labels, and a likeness from 0 to below 1.",
        )
    own = [torch.Generator().manual_seed(seed)]
    shared = normal(own, 1, d_item)[0]
    vectors = normal(own, 2 * classes, d_item)[0]
    vectors = likeness**0.5 * shared + (1 - likeness) ** 0.5 * vectors
    every = torch.combinations(torch.arange(labels), 2)
    kept = round(len(every) * (1 - held_out))
    for _ in range(1000):
        order = uniform(own, len(every))[0].argsort()
        train, rest = every[order[:kept]], every[order[kept:]]
        if len(train.unique()) == labels and len(rest):
            break
    else:
        raise ConfigError(
            f"With a share of {held_out} of the pairs held out, no split has all "
            f"{labels} labels in training and one pair outside it."
        )
    train_classes, new_classes = vectors[:classes], vectors[classes:]
    return FewShotSplits(
        train=FewShotLabels(prototypes=train_classes, pairs=train, labels=labels),
        new_pairs=FewShotLabels(prototypes=train_classes, pairs=rest, labels=labels),
        new_classes=FewShotLabels(prototypes=new_classes, pairs=train, labels=labels),
    )


def _pick(of: Tensor, which: Tensor) -> Tensor:
    return of.gather(-1, which[..., None])[..., 0]
