"""Reddy's classification task: what makes a network learn in context or in weights.

Items are noisy copies of class means; a sequence is N items with their labels and one
item to be labelled. All are vectors: the position, one-hot, beside the content.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from interp.errors import ConfigError
from interp.formation.batches import Batch, integers, normal, uniform


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReddyTask:
    """The task with its fixed classes and labels.

    Attributes:
        means: The mean of each class; class k has the label k mod L.
        label_vectors: The content that stands for each label.
        context: Pairs of item and label before the item that is asked (N).
        copies: Items of each class in a bursty context (B).
        p_bursty: Share of bursty sequences, in whose context the asked class is; in the
            others all classes are drawn alike (p_B).
        p_novel: Share of sequences of new classes with random labels (p_C).
        noise: Size of the noise on items (epsilon).
        skew: Exponent of the classes' frequencies (alpha).
        places: Width of the one-hot positions; sequences start anywhere in it.
        swapped: Whether labels are those of the next class, in context and answer.

    Source:
        Reddy (2023), arXiv:2312.03002.
    """

    means: Float[Tensor, "class d_content"]
    label_vectors: Float[Tensor, "label d_content"]
    context: int = 8
    copies: int = 1
    p_bursty: float = 1.0
    p_novel: float = 0.0
    noise: float = 0.1
    skew: float = 0.0
    places: int = 65
    swapped: bool = False

    def __post_init__(self) -> None:
        classes, labels = len(self.means), len(self.label_vectors)
        if classes % labels:
            raise ConfigError(f"K={classes} is not a multiple of L={labels}.")
        if self.context % self.copies or self.context // self.copies > classes:
            raise ConfigError(
                f"N={self.context} items in copies of B={self.copies} cannot be drawn "
                f"from K={classes} classes."
            )
        if self.places < 2 * self.context + 1:
            raise ConfigError(
                f"{2 * self.context + 1} positions do not fit into {self.places}."
            )

    @property
    def width(self) -> int:
        """The width of an item: position and content."""
        return self.places + self.means.shape[1]

    def sample(self, generators: Sequence[torch.Generator], examples: int) -> Batch:
        """Sequences for each generator."""
        classes, labels = self._classes(generators, examples)
        content = self._content(generators, classes)
        symbols = torch.full((*classes.shape[:2], 2 * self.context + 1), -1)
        symbols[..., 1::2] = labels[..., :-1]
        vectors = torch.zeros(*symbols.shape, content.shape[-1])
        vectors[..., 0::2, :] = content
        vectors[..., 1::2, :] = self.label_vectors[labels[..., :-1]]
        spare = self.places - symbols.shape[-1]
        offset = integers(generators, 0, spare + 1, examples)[..., None]
        at = F.one_hot(torch.arange(symbols.shape[-1]) + offset, self.places)
        targets = torch.full_like(symbols, -1)
        targets[..., -1] = labels[..., -1]
        same = classes[..., :-1] == classes[..., -1:]
        there = same.any(dim=-1)
        # The latest of several copies.
        latest = self.context - 1 - same.flip(-1).int().argmax(dim=-1)
        return Batch(
            symbols=symbols,
            items=torch.cat([at.float(), vectors], dim=-1),
            targets=targets,
            answers=torch.where(there, 2 * latest + 1, -1),
        )

    def _classes(
        self, generators: Sequence[torch.Generator], examples: int
    ) -> tuple[
        Int[Tensor, "replica example item"], Int[Tensor, "replica example item"]
    ]:
        """The class and the label of each item; new classes are below zero."""
        known, n_labels = len(self.means), len(self.label_vectors)
        distinct = self.context // self.copies
        ranks = torch.arange(1, known + 1, dtype=torch.float64) ** -self.skew
        edges = (ranks.cumsum(0) / ranks.sum()).float()
        free = torch.searchsorted(
            edges, uniform(generators, examples, self.context + 1)
        ).clamp(max=known - 1)
        # The first so many of a race are a draw without replacement (Gumbel).
        race = -(uniform(generators, examples, known).clamp(min=1e-12).log())
        chosen = (race / ranks.float()).argsort(dim=-1)[..., :distinct]
        shuffle = uniform(generators, examples, self.context).argsort(dim=-1)
        bursty = chosen.repeat_interleave(self.copies, dim=-1).gather(-1, shuffle)
        asked = integers(generators, 0, self.context, examples)[..., None]
        bursty = torch.cat([bursty, bursty.gather(-1, asked)], dim=-1)
        is_bursty = uniform(generators, examples, 1) < self.p_bursty
        classes = torch.where(is_bursty, bursty, free)
        labels = (classes + self.swapped) % n_labels
        is_novel = uniform(generators, examples, 1) < self.p_novel
        # Where in the sequence a class comes first names a new one.
        first = (classes[..., :, None] == classes[..., None, :]).int().argmax(dim=-1)
        random = integers(generators, 0, n_labels, examples, self.context + 1)
        classes = torch.where(is_novel, -1 - first, classes)
        labels = torch.where(is_novel, random.gather(-1, first), labels)
        return classes, labels

    def _content(
        self,
        generators: Sequence[torch.Generator],
        classes: Int[Tensor, "replica example item"],
    ) -> Float[Tensor, "replica example item d_content"]:
        width = self.means.shape[1]
        shape = (classes.shape[1], classes.shape[2], width)
        known = self.means[classes.clamp(min=0)]
        if self.p_novel:
            new = normal(generators, *shape) / width**0.5
            of = (-1 - classes).clamp(min=0)[..., None].expand(*classes.shape, width)
            known = torch.where(classes[..., None] < 0, new.gather(2, of), known)
        drawn = normal(generators, *shape) / width**0.5
        return (known + self.noise * drawn) / (1 + self.noise**2) ** 0.5


def reddy_task(
    *,
    classes: int,
    labels: int = 32,
    content: int = 63,
    places: int = 65,
    context: int = 8,
    copies: int = 1,
    p_bursty: float = 1.0,
    p_novel: float = 0.0,
    noise: float = 0.1,
    skew: float = 0.0,
    seed: int = 0,
) -> ReddyTask:
    """The task with class means and label vectors drawn from a seed.

    Args:
        classes: K, a multiple of the labels.
        labels: L.
        content: D, the width of the content.
        places: P, the width of the position.
        context: N, pairs of item and label.
        copies: B, items of a class in a bursty context.
        p_bursty: p_B, the share of bursty sequences.
        p_novel: p_C, the share of sequences with new classes.
        noise: epsilon.
        skew: alpha, the exponent of the classes' frequencies.
        seed: Draws the vectors.

    Raises:
        ConfigError: If the numbers do not fit each other.
    """
    own = [torch.Generator().manual_seed(seed)]
    return ReddyTask(
        means=normal(own, classes, content)[0] / content**0.5,
        label_vectors=normal(own, labels, content)[0] / content**0.5,
        context=context,
        copies=copies,
        p_bursty=p_bursty,
        p_novel=p_novel,
        noise=noise,
        skew=skew,
        places=places,
    )


def evaluator(task: ReddyTask, kind: Literal["IC", "IC2", "IW"]) -> ReddyTask:
    """The task that tests one kind of learning.

    Args:
        task: The task of training.
        kind: `"IC"`: new classes, which only the context explains. `"IC2"`: known
            classes whose labels are others than in training. `"IW"`: known classes that
            need not be in the context.
    """
    match kind:
        case "IC":
            return replace(task, p_bursty=1.0, p_novel=1.0)
        case "IC2":
            return replace(task, p_bursty=1.0, p_novel=0.0, swapped=True)
        case "IW":
            return replace(task, p_bursty=0.0, p_novel=0.0)
