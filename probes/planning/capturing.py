"""The plan of `interp capture`: exact, by the same planning that the capture does."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from interp.activations.costs import (
    PassCost,
    Tokens,
    batch_tokens,
    capture_tokens,
    pass_cost,
    shares_prefix,
)
from interp.models.outline import Outline, ShapesOnly, outline
from interp.store.capturing import CapturePlan
from interp.store.layout import MANIFEST, checked_shards, part_sizes
from interp.store.manifest import fingerprint, prepare_folder, read_manifest
from interp.store.spec import DTYPE_BYTES, Shard, StoreSpec
from probes.planning.capture_request import CaptureRequest
from probes.planning.machine import budget_of, free_disk, memory_of
from probes.planning.plan import Memory, Part, Plan


# Up to four shards are in memory: one is computed, three are written.
SHARDS_AT_ONCE = 4
ESTIMATES = (
    "Peak memory is an estimate: weights, one batch inside a block, rows on their way.",
)
NOTES = (
    "Bytes are those of the shards; the table of rows and the manifest come on top.",
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Planned:
    """A plan, and the prompts by which it is calibrated.

    Attributes:
        plan: The plan.
        source: The model that runs them: a hub id or a folder.
        revision: Of a hub model.
        loads: How many models of its size are loaded.
        ids: The token ids of prompts that run together.
        sites: What is read of them.
    """

    plan: Plan
    source: str
    revision: str | None
    loads: int
    ids: tuple[tuple[tuple[int, ...], ...], ...]
    sites: tuple[str, ...]


def planned_capture(params: Mapping[str, object]) -> Planned:
    """What a capture would do; only config, tokenizer and data are read.

    Args:
        params: The parameters of `interp capture` by name.

    Raises:
        InterpError: What the capture raises before it reads weights; also if the folder
            holds another capture.
    """
    request = CaptureRequest.of(params)
    table = request.table()
    source, revision = str(params["model"]), params["revision"]
    found = outline(
        source,
        revision=None if revision is None else str(revision),
        device=str(params["device"]),
        dtype=str(params["dtype"]),
        trust_remote_code=bool(params["trust_remote_code"]),
    )
    with ShapesOnly():
        capture = request.plan(found.model, table)
    spec, out = capture.spec, Path(str(params["out"])).expanduser()
    ids = capture.resolved.tokenized.ids
    shards = [spec.plan.shard(index) for index in range(spec.plan.n_shards)]
    cost = pass_cost(found, list(spec.sites))
    parts = _parts(found, capture, cost, done=_done(out, spec, capture))
    shortest = batch_tokens([min(map(len, ids))]) + Tokens(read=1)
    largest = max(map(spec.shard_bytes, shards))
    plan = Plan(
        command="capture",
        models=(source,),
        parts_are="shards",
        parts=parts,
        # One prompt is run to see the shapes of the sites.
        own=Part(
            number=0, tokens=shortest.computed, flops=cost.flops(shortest), passes=1
        ),
        examples=len(ids),
        tokens=sum(map(len, ids)),
        parameters=cost.parameters,
        free_disk=free_disk(out),
        read_bytes=found.file_bytes,
        download_bytes=found.download_bytes,
        memory=_memory(found, capture, parts, rows=largest),
        sites=_bytes_of_sites(spec, shards),
        estimates=ESTIMATES,
        notes=NOTES,
    )
    return Planned(
        plan=plan,
        source=source,
        revision=found.model.commit,
        loads=1,
        ids=tuple(tuple(ids[row] for row in shard.rows) for shard in shards),
        sites=tuple(spec.sites),
    )


def _parts(
    found: Outline, capture: CapturePlan, cost: PassCost, *, done: Collection[int]
) -> tuple[Part, ...]:
    """The shards of the store."""
    spec, ids = capture.spec, capture.resolved.tokenized.ids
    budget, shares = budget_of(found), shares_prefix(found)
    parts: list[Part] = []
    for index in range(spec.plan.n_shards):
        shard = spec.plan.shard(index)
        tokens = capture_tokens(
            tuple(ids[row] for row in shard.rows),
            capture.resolved.positions.select(shard.rows),
            token_budget=budget,
            may_share_prefix=shares,
        )
        parts.append(
            Part(
                number=index,
                tokens=tokens.computed,
                flops=cost.flops(tokens),
                passes=tokens.passes,
                n_bytes=sum(part_sizes(spec, shard)),
                done=index in done,
            )
        )
    return tuple(parts)


def _memory(
    found: Outline, capture: CapturePlan, parts: Sequence[Part], *, rows: int
) -> Memory:
    """The peak of a capture, whose largest shard has rows of so many bytes."""
    longest = max(map(len, capture.resolved.tokenized.ids))
    most = max(part.tokens for part in parts)
    return memory_of(
        [found],
        rows=rows * min(SHARDS_AT_ONCE, len(parts)),
        tokens=max(longest, min(budget_of(found), most)),
        logits="logits" in capture.spec.sites,
    )


def _done(out: Path, spec: StoreSpec, capture: CapturePlan) -> frozenset[int]:
    """The shards that are on disk; refuses the store of another capture."""
    if (out / MANIFEST).exists():
        # The hash of the weights is the one thing that is not known here.
        found = read_manifest(out).spec
        spec = replace(spec, revision=found.revision)
    content = fingerprint(capture.rows)
    if not prepare_folder(out, spec, n_rows=len(capture.rows), content=content):
        return frozenset()
    return frozenset(checked_shards(out, spec))


def _bytes_of_sites(spec: StoreSpec, shards: Sequence[Shard]) -> dict[str, int]:
    item = DTYPE_BYTES[spec.dtype]
    return {
        site: item * sum(math.prod(spec.shape(site, shard)) for shard in shards)
        for site in spec.sites
    }
