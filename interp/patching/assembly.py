"""From the grids of groups to one map of all pairs, in their own order."""

from collections.abc import Sequence

import numpy as np

from interp import provenance
from interp.patching.group_grid import GroupGrid
from interp.patching.plan import Group, Job
from interp.results.patch_map import Method, PatchMap


def assemble(
    job: Job,
    groups: Sequence[Group],
    grids: Sequence[GroupGrid],
    *,
    method: Method,
    notes: tuple[str, ...],
    token_layers: int,
) -> PatchMap:
    """The map of all pairs in their own order, from the grids of their groups."""
    pairs, n_layers = job.pairs, job.model.n_layers
    longest = max(pairs.lengths)
    shape = (len(job.units), len(pairs), n_layers, longest)
    ld = np.full(shape, np.nan, dtype=np.float32)
    base, other = (np.empty(len(pairs), dtype=np.float32) for _ in range(2))
    naive = 0
    for group, grid in zip(groups, grids, strict=True):
        members = list(group.pairs)
        ld[:, members, :, : group.length] = grid.ld
        base[members], other[members] = grid.base_ld, grid.other_ld
        cells = len(job.units) * len(members) * n_layers * len(group.wanted)
        whole = len(group.prefix) + group.length
        naive += (cells + 2 * len(members)) * whole * n_layers
    clean, corrupted = (other, base) if job.direction == "denoise" else (base, other)
    data = provenance.DatasetRecord(
        name=pairs.name, fingerprint=pairs.fingerprint, rows=len(pairs)
    )
    records = [job.model.identity(hashes=False)]
    records += [job.source.identity(hashes=False)] if job.crosses else []
    return PatchMap(
        models=(job.model.name, job.source.name),
        direction=job.direction,
        method=method,
        units=tuple(unit.name for unit in job.units),
        window=job.window,
        layers=np.arange(n_layers, dtype=np.int32),
        ld=ld,
        clean_ld=clean,
        corrupted_ld=corrupted,
        roles=tuple(row + ("",) * (longest - len(row)) for row in pairs.roles),
        groups=pairs.groups,
        tokens=_tokens(job, longest),
        token_layers=token_layers,
        naive_token_layers=naive,
        notes=notes,
        provenance=provenance.record("patching", models=records, datasets=[data]),
    )


def _tokens(job: Job, longest: int) -> tuple[tuple[str, ...], ...]:
    """The clean prompt's token at each grid position, if there is a tokenizer."""
    tokenizer, pairs = job.model.tokenizer, job.pairs
    if tokenizer is None:
        return ()
    texts: dict[int, str] = {}
    rows = []
    for ids, start in zip(pairs.clean_ids, pairs.start, strict=True):
        for token in ids[start:]:
            if token not in texts:
                texts[token] = tokenizer.decode([token])
        row = tuple(texts[token] for token in ids[start:])
        rows.append(row + ("",) * (longest - len(row)))
    return tuple(rows)
