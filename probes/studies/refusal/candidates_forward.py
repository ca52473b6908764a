"""Trees of prompts under many candidate directions, one tree and candidate a row.

Adding a vector before a block changes nothing in the blocks before it, so such a row
enters at that block with the clean values. What all prompts begin with runs once for
each candidate and is kept as keys and values. All of this is exact, and depends on how
a model treats masks, caches and blocks: `candidates_clean` tries it first.
"""

import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import DynamicCache

from interp.activations.batching import run_batches
from interp.activations.budget import default_token_budget
from interp.models.hookpoints import HookPoint
from interp.models.language_model import LanguageModel
from interp.sites import Site
from probes.studies.refusal.candidates_pass import (
    batch_of,
    new_cache,
    picked,
    planted,
    skipped,
    tree_logits,
)
from probes.studies.refusal.candidates_plain import (
    Measure,
    PlainBatches,
    Scores,
    Vectors,
)
from probes.studies.refusal.candidates_tree import (
    Ids,
    PromptTree,
)


logger = logging.getLogger("interp.studies")

# Allowed difference of logits in a dtype that the self-check does not list: float64.
EXACT = 1e-6
# Trees of at least this share of the largest run beside it.
EVEN = 0.8
# Logits that are measured at once, in numbers of float64.
MEASURED_NUMBERS = 2**23


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clean:
    """A tree with its clean residual stream before every block.

    Attributes:
        tree: The tree.
        stream: The values.
    """

    tree: PromptTree
    stream: Float[Tensor, "layer node d_model"]


# The trees of a batch and the candidate of each.
Edited = Callable[[Sequence[Clean], Sequence[int]], AbstractContextManager[None]]
# From these and the clean values there to the values with which they enter.
Entry = Callable[[Sequence[Clean], Sequence[int], Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forest:
    """Prompts as trees, with what the unchanged model makes of them.

    Attributes:
        model: The model.
        prompts: Token ids.
        opening: What all prompts begin with, or None if that is short.
        trees: The prompts, without the opening.
        logits: The logits after each prompt in the unchanged model.
        cuts: Whether the last MLP runs at the ends of prompts only.
        blocks_give_tuples: Whether a block returns its value inside a tuple.
    """

    model: LanguageModel
    prompts: Ids
    opening: Clean | None
    trees: tuple[Clean, ...]
    logits: Float[Tensor, "prompt vocab"]
    cuts: bool
    blocks_give_tuples: bool

    @property
    def n_tokens(self) -> int:
        """How many tokens a candidate costs."""
        start = 0 if self.opening is None else len(self.opening.tree)
        return start + sum(len(clean.tree) for clean in self.trees)

    def ablated(self, units: Vectors, measure: Measure) -> Scores:
        """A number for each candidate and prompt, each direction ablated everywhere."""
        points = [self._point(site) for site in self.model.architecture.write_sites]

        @contextmanager
        def edited(cleans: Sequence[Clean], rows: Sequence[int]) -> Iterator[None]:
            chosen = units[list(rows)]

            def project_out(value: Tensor) -> Tensor:
                along = chosen.to(value.device, _at_least_float32(value))
                held = value.to(along.dtype)
                inside = held @ along[:, :, None]
                new = torch.baddbmm(held, inside, along[:, None, :], alpha=-1)
                return new.to(value.dtype)

            with planted(points, project_out):
                yield

        found = np.empty((len(units), len(self.prompts)))
        self._run(range(len(units)), edited, measure, found)
        return found

    def added(
        self, layers: Sequence[int], vectors: Vectors, measure: Measure
    ) -> Scores:
        """The same with each vector added before its block, at every token."""

        def value(
            cleans: Sequence[Clean], rows: Sequence[int], stream: Tensor
        ) -> Tensor:
            return stream + vectors[list(rows)].to(stream)[:, None]

        return self._entered(layers, value, measure)

    def levelled(
        self,
        layer: int,
        position: int,
        units: Vectors,
        levels: Float[Tensor, " candidate"],
        measure: Measure,
    ) -> Scores:
        """The same with the projection at one token before a block set to a level."""
        if not all(clean.tree.is_apart(position) for clean in self.trees):
            # What is that token of one prompt is another token of a second one.
            plain = PlainBatches(model=self.model, prompts=self.prompts)
            return plain.levelled(layer, position, units, levels, measure)

        def value(
            cleans: Sequence[Clean], rows: Sequence[int], stream: Tensor
        ) -> Tensor:
            along, wanted = units.to(stream), levels.to(stream)
            for clean, row, here in zip(cleans, rows, stream, strict=True):
                if clean is not self.opening:
                    nodes = clean.tree.nodes_at(position).unique().to(stream.device)
                    step = wanted[row] - here[nodes] @ along[row]
                    here[nodes] += step[:, None] * along[row]
            return stream

        return self._entered([layer] * len(units), value, measure)

    def _entered(self, layers: Sequence[int], value: Entry, measure: Measure) -> Scores:
        """Rows that start at their blocks."""
        found = np.empty((len(layers), len(self.prompts)))
        for layer in sorted(set(layers)):

            @contextmanager
            def edited(
                cleans: Sequence[Clean], rows: Sequence[int], layer: int = layer
            ) -> Iterator[None]:
                new = value(cleans, rows, _streams(cleans, layer))
                blocks = self.model.architecture.blocks[:layer]
                with (
                    skipped(blocks, in_tuples=self.blocks_give_tuples),
                    planted(
                        [self._point(Site("resid_pre", layer))],
                        lambda old: new.to(old.device, old.dtype),
                    ),
                ):
                    yield

            here = [row for row, one in enumerate(layers) if one == layer]
            self._run(here, edited, measure, found)
        return found

    def _run(
        self, rows: Sequence[int], edited: Edited, measure: Measure, found: Scores
    ) -> None:
        """Every tree under each of the edits, the numbers put into `found`."""
        budget = default_token_budget(self.model)
        start = 0 if self.opening is None else len(self.opening.tree)

        def group(which: tuple[int, ...]) -> None:
            some = [rows[i] for i in which]
            cache = self._opened(some, edited)
            pairs = list(itertools.product(self.trees, range(len(some))))

            def step(which: tuple[int, ...]) -> None:
                cleans = [pairs[i][0] for i in which]
                slots = [pairs[i][1] for i in which]
                here = [some[slot] for slot in slots]
                with edited(cleans, here):
                    logits = self._logits(cleans, picked(cache, slots))
                _measure_into(found, cleans, here, logits, measure)

            lengths = evened([len(clean.tree) for clean, _ in pairs])
            run_batches(lengths, step, token_budget=budget)

        with self.model.lock, torch.inference_mode():
            # The keys and values of a group's openings are held together.
            run_batches([max(start, 1)] * len(rows), group, token_budget=budget)

    def _opened(self, rows: Sequence[int], edited: Edited) -> DynamicCache | None:
        if self.opening is None:
            return None
        cache = new_cache(self.model)
        cleans = [self.opening] * len(rows)
        with edited(cleans, rows):
            self._logits(cleans, cache)
        return cache

    def _logits(
        self, cleans: Sequence[Clean], cache: DynamicCache | None
    ) -> Float[Tensor, "end vocab"]:
        batch = batch_of(self.model, [clean.tree for clean in cleans])
        return tree_logits(self.model, batch, cuts=self.cuts, cache=cache)

    def _point(self, site: Site) -> HookPoint:
        return self.model.architecture.point(site)


def evened(lengths: Sequence[int]) -> list[int]:
    """The lengths of trees as batches are made by: nearly equal ones are equal.

    Another forward pass costs more than the padding of a few nodes.

    Example:
        >>> evened([60, 55]), evened([60, 20])
        ([60, 60], [60, 20])
    """
    longest = max(lengths, default=0)
    is_even = min(lengths, default=0) >= EVEN * longest
    return [longest] * len(lengths) if is_even else list(lengths)


def _streams(cleans: Sequence[Clean], layer: int) -> Float[Tensor, "row node d_model"]:
    """The clean values before a block, a row for each tree."""
    kinds = {id(clean): clean.stream[layer] for clean in cleans}
    padded = nn.utils.rnn.pad_sequence(list(kinds.values()), batch_first=True)
    places = {kind: place for place, kind in enumerate(kinds)}
    which = torch.tensor([places[id(clean)] for clean in cleans])
    return padded[which.to(padded.device)].to(_at_least_float32(padded))


def _measure_into(
    found: Scores,
    cleans: Sequence[Clean],
    rows: Sequence[int],
    logits: Float[Tensor, "end vocab"],
    measure: Measure,
) -> None:
    prompts = [prompt for clean in cleans for prompt in clean.tree.prompts]
    counts = [len(clean.tree.prompts) for clean in cleans]
    n = max(1, MEASURED_NUMBERS // logits.shape[-1])
    numbers = torch.cat(
        [
            measure(prompts[i : i + n], logits[i : i + n]).cpu()
            for i in range(0, len(prompts), n)
        ]
    )
    found[np.repeat(rows, counts), prompts] = numbers.numpy()


def _at_least_float32(value: Tensor) -> torch.dtype:
    return torch.promote_types(value.dtype, torch.float32)
