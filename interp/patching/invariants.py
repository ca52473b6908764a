"""What must hold for every causal model, checked on real cells before a trace begins.

On one pair, by whole forward passes of the model under hooks:

(a) a patch before the first token that differs changes nothing;
(b) a patch in the last layer changes nothing unless it is at the last position;
(c) the residual stream of the last layer at the last position gives the other run's LD.

If one fails the sites are not where they should be, or the model is not causal, and no
cell could be trusted. Between models only (b) has to hold. The prefix is used as a
cache if both unpatched runs then end as whole prompts do; blocks are entered in the
middle if the cells that this gives are those of the whole passes.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from interp.activations.batching import is_out_of_memory
from interp.errors import InterpError, SelfCheckError
from interp.patching.block_call import CannotEnterError
from interp.patching.cache import Prefix
from interp.patching.group_grid import Path, Prefixes, wavefront_of
from interp.patching.packing import packed_size, split_rows
from interp.patching.plan import Group, Job, Unit
from interp.patching.readout import relative_tolerance
from interp.patching.recording import Runs, run_unpatched
from interp.patching.whole_passes import Cell, patched_ld


logger = logging.getLogger("interp.patching")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """How the grid is to be computed.

    Attributes:
        path: The fastest path that gave what whole passes give.
        reason: Why a faster one was not taken, or nothing.
        tolerance: How closely the paths had to agree, in units of LD.
        token_layers: Tokens times blocks that the check computed.
    """

    path: Path
    reason: str
    tolerance: float
    token_layers: int


def check(job: Job, groups: Sequence[Group], prefixes: Prefixes) -> Checked:
    """Check the invariants on one pair, and choose the path of computation.

    Args:
        job: The trace.
        groups: All pairs; the one that shows most is taken.
        prefixes: Where the prefix may be kept for the trace.

    Raises:
        SelfCheckError: If an invariant does not hold.
    """
    group = max(groups, key=lambda group: _telling(job, group))
    one = replace(group, pairs=group.pairs[:1])
    job = replace(job, units=_units(job))
    whole = run_unpatched(job, one, None, None)
    tolerance = _tolerance(job, whole)
    prefix, runs, rows = None, whole, 0
    if one.prefix and (found := _behind_prefix(job, one, whole, prefixes, tolerance)):
        prefix, runs = found
        rows = 2 + job.crosses
    known, spots = _invariant_cells(job, one), _spots(job, one)
    truth = patched_ld(job, one, runs, [*known, *spots], prefix=prefix)
    _check_invariants(job, one, runs, truth[: len(known)], tolerance)
    right = truth[len(known) :]
    reason = _objection(job, one, spots, right, prefixes, tolerance)
    slow: Path = "whole prompts" if prefix is None else "cached prefix"
    if reason:
        logger.info("%s: %s: %s", job.model.name, slow, reason)
    skip = 0 if prefix is None else len(one.prefix)
    length = len(one.prefix) + one.length
    tokens = (2 + job.crosses) * length + (rows + len(truth)) * (length - skip)
    return Checked(
        path=slow if reason else "wavefront",
        reason=reason,
        tolerance=tolerance,
        token_layers=tokens * job.model.n_layers,
    )


def planned_tokens(job: Job, groups: Sequence[Group]) -> int:
    """How many tokens the check computes, if the prefix can be used as a cache.

    Args:
        job: The trace.
        groups: All pairs.
    """
    group = max(groups, key=lambda group: _telling(job, group))
    one = replace(group, pairs=group.pairs[:1])
    job = replace(job, units=_units(job))
    cells = len(_invariant_cells(job, one)) + len(_spots(job, one))
    behind = (2 + job.crosses) * bool(one.prefix) + cells
    return (2 + job.crosses) * (len(one.prefix) + one.length) + behind * one.length


def _telling(job: Job, group: Group) -> tuple[bool, bool, int, bool]:
    """How much the first pair of a group can show.

    Open cells and a prefix first; then the longest packing, as attention that has a
    window or a mask of its own goes wrong the more the farther packed rows are from
    the keys; then an instance of (a).
    """
    pair = group.pairs[0]
    starts_alike = job.pairs.first_difference[pair] > job.pairs.start[pair]
    size = packed_size(group.rows, group.length)
    return bool(group.rows), bool(group.prefix), size, starts_alike


def _behind_prefix(
    job: Job, group: Group, whole: Runs, prefixes: Prefixes, tolerance: float
) -> tuple[Prefix, Runs] | None:
    """The prefix and the runs behind it, if they end as those of whole prompts do."""
    prefix = prefixes.of(job.model, group.prefix)
    source_prefix = prefixes.of(job.source, group.prefix)
    if prefix is None or source_prefix is None:
        return None
    runs = run_unpatched(job, group, prefix, source_prefix)
    errors = [
        (getattr(runs, name) - getattr(whole, name)).abs().max()
        for name in ("base_ld", "other_ld", "source_ld")
    ]
    return (prefix, runs) if max(errors) <= tolerance else None


def _units(job: Job) -> tuple[Unit, ...]:
    """The residual stream, which (c) is about, and one unit of each component."""
    first = {unit.component: unit for unit in reversed(job.units)}
    return (first.pop("resid_post", Unit(component="resid_post")), *first.values())


def _tolerance(job: Job, runs: Runs) -> float:
    # Of a difference of two logits.
    return 2 * relative_tolerance(job.model.dtype) * max(runs.logit_scale, 1e-12)


def _invariant_cells(job: Job, group: Group) -> list[Cell]:
    last = job.model.n_layers - 1
    places = {"b": (last, group.length - 2), "c": (last, group.length - 1)}
    start = job.pairs.start[group.pairs[0]]
    before = job.pairs.first_difference[group.pairs[0]] - start - 1
    places["a"] = (last // 2, before)
    return [
        Cell(unit=0, pair=0, layer=places[name][0], position=places[name][1])
        for name in _names(job, group)
    ]


def _names(job: Job, group: Group) -> list[str]:
    """Which invariants say something about this pair."""
    pair = group.pairs[0]
    starts_alike = job.pairs.first_difference[pair] > job.pairs.start[pair]
    names = ["a"] if starts_alike and not job.crosses else []
    names += ["b"] if group.length > 1 else []
    return names if job.crosses else [*names, "c"]


def _check_invariants(
    job: Job, group: Group, runs: Runs, truth: torch.Tensor, tolerance: float
) -> None:
    said = {
        "a": "before the first token that differs changes LD",
        "b": "in the last layer, not at the last position, changes LD",
        "c": "in the last layer at the last position does not give the other run's LD",
    }
    for name, value in zip(_names(job, group), truth.tolist(), strict=True):
        right = float((runs.other_ld if name == "c" else runs.base_ld)[0])
        if not abs(value - right) <= tolerance:
            raise SelfCheckError(
                f"In {job.model.name or 'the model'} a patch {said[name]}"
                f" ({value:.4g} instead of {right:.4g}).",
                expected="In a causal model whose sites are known it cannot.",
                remedy="Run interp doctor on the model.",
            )


def _spots(job: Job, group: Group) -> list[Cell]:
    """Cells for comparing the paths, of each unit.

    The first and the last packed row behind the first layer go through all other
    blocks; the last cell goes through none.
    """
    last = job.model.n_layers - 1
    places = [(0, row) for row in _ends(group)] if last else []
    places.append((last, group.length - 1))
    return [
        Cell(unit=unit, pair=0, layer=layer, position=position)
        for unit in range(len(job.units))
        for layer, position in places
    ]


def _ends(group: Group) -> list[int]:
    """The first and the last row that are packed together."""
    rows = split_rows(group.rows or [group.length - 1], group.length)[0]
    return sorted({rows[0], rows[-1]})


def _objection(
    job: Job,
    group: Group,
    cells: list[Cell],
    truth: torch.Tensor,
    prefixes: Prefixes,
    tolerance: float,
) -> str:
    """Why the wavefront is not exact for this model, or nothing if it is."""
    try:
        found = _by_wavefront(job, group, cells, prefixes)
    except CannotEnterError as error:
        return f"its blocks cannot be entered in the middle: {error}"
    except Exception as error:  # each architecture objects in its own way
        if is_out_of_memory(error) or isinstance(error, InterpError):
            raise
        said = (str(error).splitlines() or [""])[0].rstrip(".")
        return f"entering its blocks fails: {type(error).__name__}: {said}"
    if (found - truth).abs().max() <= tolerance:
        return ""
    return "entering its blocks in the middle changes its logits"


def _by_wavefront(
    job: Job, group: Group, cells: list[Cell], prefixes: Prefixes
) -> torch.Tensor:
    front, _ = wavefront_of(job, group, prefixes)
    last = job.model.n_layers - 1
    at_last = front.last_cell()
    rows = split_rows(group.rows or [group.length - 1], group.length)[0]
    grid = front.grid(rows, [0]) if last else at_last
    return torch.stack(
        [
            at_last[cell.unit, 0]
            if cell.layer == last
            else grid[cell.unit, 0, 0, rows.index(cell.position)]
            for cell in cells
        ]
    )
