"""The grid of one group of pairs, by the fastest path that is exact for the model."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from interp.activations.batching import run_batches
from interp.models.language_model import LanguageModel
from interp.patching.block_call import CannotEnterError
from interp.patching.cache import Prefix, compute_prefix
from interp.patching.plan import Group, Job
from interp.patching.readout import agrees, readout_of
from interp.patching.recording import Recording, Runs, run_unpatched
from interp.patching.wavefront import Wavefront
from interp.patching.whole_passes import Cell, patched_ld


logger = logging.getLogger("interp.patching")

# From the fastest to the plainest: blocks entered behind the patch; whole passes behind
# a cached prefix; whole passes over whole prompts.
Path = Literal["wavefront", "cached prefix", "whole prompts"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroupGrid:
    """LD of every cell of a group; NaN where it was not asked for."""

    ld: Float32[np.ndarray, "unit pair layer position"]
    base_ld: Float32[np.ndarray, " pair"]
    other_ld: Float32[np.ndarray, " pair"]
    token_layers: int

    @staticmethod
    def joined(parts: "Mapping[tuple[int, ...], GroupGrid]") -> "GroupGrid":
        """The grid of a whole group, from parts by the pairs that they hold."""
        order = np.argsort([i for chosen in parts for i in chosen])
        found = list(parts.values())
        return GroupGrid(
            ld=np.concatenate([part.ld for part in found], axis=1)[:, order],
            base_ld=np.concatenate([part.base_ld for part in found])[order],
            other_ld=np.concatenate([part.other_ld for part in found])[order],
            token_layers=sum(part.token_layers for part in found),
        )


class Prefixes:
    """The keys and values of the prefix that was used last, of each model."""

    def __init__(self) -> None:
        self._held: dict[int, tuple[tuple[int, ...], Prefix | None]] = {}

    def of(self, model: LanguageModel, ids: tuple[int, ...]) -> Prefix | None:
        """The prefix, computed unless it is the last one; None if it has no cache."""
        held = self._held.get(id(model.hf))
        if held is None or held[0] != ids:
            self._held[id(model.hf)] = (ids, None)  # lets the last one go first
            self._held[id(model.hf)] = (ids, compute_prefix(model, ids))
        return self._held[id(model.hf)][1]


def grid_of(job: Job, group: Group, path: Path, prefixes: Prefixes) -> GroupGrid:
    """The grid of a group, in smaller parts if memory runs out.

    Raises:
        OutOfMemoryError: If a single pair does not fit.
    """
    return in_parts(
        job,
        group,
        lambda some: _part(job, some, path, prefixes),
        length=group.length + (len(group.prefix) if path == "whole prompts" else 0),
    )


def in_parts(
    job: Job, group: Group, grid: Callable[[Group], GroupGrid], *, length: int
) -> GroupGrid:
    """The grid of a group, from as few parts of it as memory allows.

    Args:
        job: Bounds the tokens of a part.
        group: The pairs.
        grid: Computes the grid of some of them.
        length: How many tokens of a prompt run.

    Raises:
        OutOfMemoryError: If a single pair does not fit.
    """
    parts: dict[tuple[int, ...], GroupGrid] = {}

    def step(chosen: tuple[int, ...]) -> None:
        chosen = tuple(sorted(chosen))
        some = replace(group, pairs=tuple(group.pairs[i] for i in chosen))
        parts[chosen] = grid(some)

    # Of each pair both prompts run.
    run_batches([2 * length] * len(group.pairs), step, token_budget=job.token_budget)
    return GroupGrid.joined(parts)


def wavefront_of(job: Job, group: Group, prefixes: Prefixes) -> tuple[Wavefront, Runs]:
    """The unpatched runs of a group and the wavefront that starts from them.

    Raises:
        CannotEnterError: If the model's blocks cannot be entered in the middle, or its
            logits are more than a norm, a matrix and a bound.
    """
    prefix = prefixes.of(job.model, group.prefix)
    source_prefix = prefixes.of(job.source, group.prefix) if job.crosses else prefix
    if prefix is None or source_prefix is None:
        raise CannotEnterError("its state is no cache of keys and values")
    recording = Recording()
    runs = run_unpatched(job, group, prefix, source_prefix, recording=recording)
    readout = readout_of(job.model)
    answers = torch.tensor(
        [[job.pairs.positive[i], job.pairs.negative[i]] for i in group.pairs] * 2,
        device=recording.final.device,
    )
    right = agrees(
        readout,
        recording,
        answers[:, 0],
        answers[:, 1],
        logit_scale=runs.logit_scale,
    )
    if not right:
        raise CannotEnterError("its logits are not those of norm and unembedding")
    front = Wavefront(
        job=job,
        group=group,
        runs=runs,
        recording=recording,
        prefix=prefix,
        readout=readout,
    )
    return front, runs


def _part(job: Job, group: Group, path: Path, prefixes: Prefixes) -> GroupGrid:
    if path == "wavefront":
        try:
            return _by_wavefront(job, group, prefixes)
        except CannotEnterError as error:
            # It was possible for the pair that was checked: the numbers come first.
            logger.warning("a group is computed by whole passes: %s", error)
            path = "cached prefix"
    return _by_whole_passes(job, group, path, prefixes)


def _by_wavefront(job: Job, group: Group, prefixes: Prefixes) -> GroupGrid:
    n_layers = job.model.n_layers
    front, runs = wavefront_of(job, group, prefixes)
    ld = _start(job, group, runs)
    if group.rows and n_layers > 1:
        found = front.grid(group.rows, range(n_layers - 1))
        ld[:, :, :-1, list(group.rows)] = found.numpy()
    if group.includes_last:
        ld[:, :, -1, -1] = _last(job, runs, front)
    passes = 3 if job.crosses else 2
    computed = passes * len(group.pairs) * group.length * n_layers
    return _finished(ld, runs, front.token_layers + computed)


def _by_whole_passes(
    job: Job, group: Group, path: Path, prefixes: Prefixes
) -> GroupGrid:
    prefix = source_prefix = None
    if path == "cached prefix":
        prefix = prefixes.of(job.model, group.prefix)
        source_prefix = prefixes.of(job.source, group.prefix)
    runs = run_unpatched(job, group, prefix, source_prefix)
    ld = _start(job, group, runs)
    cells = _cells(job, group)
    found = patched_ld(job, group, runs, cells, prefix=prefix)
    for cell, value in zip(cells, found.tolist(), strict=True):
        ld[cell.unit, cell.pair, cell.layer, cell.position] = value
    length = group.length + (0 if prefix else len(group.prefix))
    rows = len(cells) + (3 if job.crosses else 2) * len(group.pairs)
    return _finished(ld, runs, rows * length * job.model.n_layers)


def _start(job: Job, group: Group, runs: Runs) -> np.ndarray:
    """The cells that are known without a patched run; the others are overwritten."""
    shape = (len(job.units), len(group.pairs), job.model.n_layers, group.length)
    ld = np.full(shape, np.nan, dtype=np.float32)
    ld[..., list(group.wanted)] = _plain(runs.base_ld)[None, :, None, None]
    return ld


def _last(job: Job, runs: Runs, front: Wavefront) -> np.ndarray:
    """The last layer at the last position: the other run's end, if it is all of it."""
    found = front.last_cell().numpy()
    for number, unit in enumerate(job.units):
        if unit.component == "resid_post" and not job.crosses:
            found[number] = _plain(runs.other_ld)
    return found


def _cells(job: Job, group: Group) -> list[Cell]:
    last = job.model.n_layers - 1
    places = [(layer, t) for layer in range(last) for t in group.rows]
    if group.includes_last:
        places.append((last, group.length - 1))
    return [
        Cell(unit=unit, pair=pair, layer=layer, position=position)
        for unit in range(len(job.units))
        for pair in range(len(group.pairs))
        for layer, position in places
    ]


def _finished(ld: np.ndarray, runs: Runs, token_layers: int) -> GroupGrid:
    return GroupGrid(
        ld=ld,
        base_ld=_plain(runs.base_ld),
        other_ld=_plain(runs.other_ld),
        token_layers=token_layers,
    )


def _plain(values: Tensor) -> np.ndarray:
    return values.float().cpu().numpy()
