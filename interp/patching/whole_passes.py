"""The grid by whole forward passes with hooks: one row of a batch for every cell.

The slow way, which asks nothing of a model but its hook points. It serves where blocks
cannot be entered in the middle, and the checks compare the fast way with it.
"""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from interp.activations.batching import run_batches
from interp.models.hookpoints import plant
from interp.patching.cache import Prefix
from interp.patching.plan import Component, Group, Job
from interp.patching.recording import Runs, final_logits, logit_difference
from interp.sites import Site


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One patch: a unit, a pair (counted in its group), the first layer, a position."""

    unit: int
    pair: int
    layer: int
    position: int


def patched_ld(
    job: Job,
    group: Group,
    runs: Runs,
    cells: Sequence[Cell],
    *,
    prefix: Prefix | None,
) -> Float[Tensor, " cell"]:
    """LD of every cell by a forward pass of the whole model.

    Args:
        job: The trace.
        group: The pairs.
        runs: Their unpatched runs.
        cells: What to patch.
        prefix: The keys and values of the prefix, or None to run whole prompts.
    """
    length = group.length if prefix is not None else group.length + len(group.prefix)
    found = torch.empty(len(cells))

    def step(chosen: tuple[int, ...]) -> None:
        picked = [cells[i] for i in chosen]
        found[list(chosen)] = _batch(job, group, runs, picked, prefix).float().cpu()

    run_batches([length] * len(cells), step, token_budget=job.token_budget)
    return found


def _batch(
    job: Job, group: Group, runs: Runs, cells: Sequence[Cell], prefix: Prefix | None
) -> Float[Tensor, " cell"]:
    skip = len(group.prefix) if prefix is not None else 0
    pairs = [group.pairs[cell.pair] for cell in cells]
    n_layers = job.model.n_layers
    by_site: dict[tuple[Component, int], list[int]] = defaultdict(list)
    for number, cell in enumerate(cells):
        component = job.units[cell.unit].component
        for layer in range(cell.layer, min(cell.layer + job.window, n_layers)):
            by_site[component, layer].append(number)
    with ExitStack() as stack:
        for (component, layer), numbers in by_site.items():
            site = Site(layer=layer, component=component)
            point = job.model.architecture.point(site)
            source = runs.source[component, layer]
            replace = _Replace(job, group, cells, numbers, source)
            for remove in plant(point, replace):
                stack.callback(remove)
        cache = None if prefix is None else prefix.cache(len(cells))
        tails = [job.base_ids[i][skip:] for i in pairs]
        logits = final_logits(job.model, tails, cache)
    return logit_difference(logits, job, pairs)


class _Replace:
    """Puts the source's values into some rows of a batch, one position in each."""

    def __init__(
        self,
        job: Job,
        group: Group,
        cells: Sequence[Cell],
        numbers: Sequence[int],
        source: Tensor,
    ) -> None:
        self._patches = [
            (number, cells[number], job.units[cells[number].unit].head)
            for number in numbers
        ]
        self._source = source
        self._length = group.length

    def __call__(self, value: Tensor) -> Tensor:
        value = value.clone()
        first = value.shape[1] - self._length
        for number, cell, head in self._patches:
            new = self._source[cell.pair, cell.position]
            at = (number, first + cell.position)
            if head is None:
                value[at] = new.to(value)
            else:
                value[(*at, head)] = new[head].to(value)
        return value
