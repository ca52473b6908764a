"""The plan of `interp capture`: exact, by the same planning that the capture does."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from interp.activations.costs import (
    Tokens,
    batch_tokens,
    capture_tokens,
    pass_cost,
    shares_prefix,
)
from interp.data import prompts
from interp.models.outline import Outline, ShapesOnly, outline
from interp.store.capturing import CapturePlan, plan_capture
from interp.store.layout import MANIFEST, checked_shards, part_sizes
from interp.store.manifest import fingerprint, prepare_folder, read_manifest
from interp.store.spec import DTYPE_BYTES, StoreSpec
from probes.planning.machine import budget_of, free_disk, memory_of
from probes.planning.plan import Part, Plan


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
    found = outline(
        str(params["model"]),
        revision=_text(params["revision"]),
        device=str(params["device"]),
        dtype=str(params["dtype"]),
        trust_remote_code=bool(params["trust_remote_code"]),
    )
    capture = _store(found, params)
    spec, out = capture.spec, Path(str(params["out"])).expanduser()
    cost = pass_cost(found, list(spec.sites))
    budget, shares = budget_of(found), shares_prefix(found)
    done = _done(out, spec, capture)
    ids, positions = capture.resolved.tokenized.ids, capture.resolved.positions
    parts: list[Part] = []
    for index in range(spec.plan.n_shards):
        shard = spec.plan.shard(index)
        tokens = capture_tokens(
            tuple(ids[row] for row in shard.rows),
            positions.select(shard.rows),
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
    shortest = batch_tokens([min(map(len, ids))]) + Tokens(read=1)
    largest = max(spec.shard_bytes(spec.plan.shard(i)) for i in range(len(parts)))
    longest = max(map(len, ids))
    plan = Plan(
        command="capture",
        models=(str(params["model"]),),
        parts_are="shards",
        parts=tuple(parts),
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
        memory=memory_of(
            [found],
            rows=largest * min(SHARDS_AT_ONCE, len(parts)),
            tokens=max(longest, min(budget, max(part.tokens for part in parts))),
            logits="logits" in spec.sites,
        ),
        sites=_bytes_of_sites(spec),
        estimates=ESTIMATES,
        notes=NOTES,
    )
    return Planned(
        plan=plan,
        source=str(params["model"]),
        revision=found.model.commit,
        loads=1,
        ids=tuple(
            tuple(ids[row] for row in spec.plan.shard(index).rows)
            for index in range(spec.plan.n_shards)
        ),
        sites=tuple(spec.sites),
    )


def _store(found: Outline, params: Mapping[str, object]) -> CapturePlan:
    table = prompts(str(params["data"]), column=_text(params["column"]))
    limit = params["limit"]
    assert limit is None or isinstance(limit, int)
    rows_per_shard, sites = params["rows_per_shard"], params["sites"]
    assert rows_per_shard is None or isinstance(rows_per_shard, int)
    assert sites is None or isinstance(sites, list | tuple)
    with ShapesOnly():
        return plan_capture(
            found.model,
            table.texts[:limit],
            sites=list(sites or ()) or ["resid_post.*"],
            positions=str(params["positions"]),
            dtype=_text(params["store_dtype"]),
            chat=bool(params["chat"]),
            columns=[
                {name: value for name, value in row.items() if name != "prompt"}
                for row in table.rows[:limit]
            ],
            rows_per_shard=rows_per_shard,
        )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


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


def _bytes_of_sites(spec: StoreSpec) -> dict[str, int]:
    shards = [spec.plan.shard(index) for index in range(spec.plan.n_shards)]
    item = DTYPE_BYTES[spec.dtype]
    return {
        site: item * sum(math.prod(spec.shape(site, shard)) for shard in shards)
        for site in spec.sites
    }
