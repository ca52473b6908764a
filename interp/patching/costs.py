"""What a trace computes, counted before it runs; see `PatchMap.token_layers`."""

from collections.abc import Sequence
from dataclasses import dataclass

from interp.models.language_model import LanguageModel
from interp.patching.invariants import planned_tokens
from interp.patching.packing import split_rows
from interp.patching.plan import Group, Job, plan_groups, wanted_positions
from interp.patching.prompt_pairs import PromptPairs
from interp.patching.trace import make_job
from interp.results.patch_map import Direction


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceCost:
    """Tokens times blocks that a trace computes.

    Attributes:
        groups: Of each group of pairs, in the order in which shards take them.
        overhead: Of the check and of the prefixes, which every process computes.
        naive: What one whole forward pass per cell would compute.
        shapes: Units, pairs, layers and positions of each group: the cells that a
            shard on disk holds.
    """

    groups: tuple[int, ...]
    overhead: int
    naive: int
    shapes: tuple[tuple[int, int, int, int], ...]

    @property
    def token_layers(self) -> int:
        """What one process computes; the same as `PatchMap.token_layers` then says."""
        return sum(self.groups) + self.overhead


def trace_cost(
    model: LanguageModel,
    pairs: PromptPairs,
    *,
    sites: str | Sequence[str] = ("resid_post",),
    positions: Sequence[str] | None = None,
    direction: Direction = "denoise",
    window: int = 1,
    source: LanguageModel | None = None,
) -> TraceCost:
    """What `trace` computes with the same arguments; nothing is run.

    The count is exact where the model's blocks can be entered in the middle. Where they
    cannot it is too small, up to `naive`; only running the model tells.

    Args:
        model: The model; it may be on the meta device.
        pairs: The prompts.
        sites: See `trace`.
        positions: See `trace`.
        direction: See `trace`.
        window: See `trace`.
        source: See `trace`.

    Raises:
        InterpError: What `trace` raises before it runs.

    Example:
        >>> from tiny import tiny_model
        >>> import interp
        >>> from interp.patching import trace
        >>> model = interp.load(tiny_model("llama"))
        >>> pairs = PromptPairs(
        ...     clean_ids=((5, 6, 7, 8),), corrupted_ids=((5, 9, 7, 8),),
        ...     positive=(3,), negative=(4,), start=(1,), groups=("a",),
        ...     roles=(("subject", "template", "last"),),
        ... )
        >>> trace_cost(model, pairs).token_layers == trace(model, pairs).token_layers
        True
    """
    job = make_job(
        model,
        pairs,
        sites=sites,
        direction=direction,
        window=window,
        source=source,
        token_budget=1,
    )
    groups = plan_groups(job, wanted_positions(pairs, positions))
    prefixes = sum(len(prefix) for prefix in {group.prefix for group in groups})
    overhead = planned_tokens(job, groups) + prefixes * (1 + job.crosses)
    return TraceCost(
        groups=tuple(_of_group(job, group) for group in groups),
        overhead=overhead * model.n_layers,
        naive=sum(_naive(job, group) for group in groups),
        shapes=tuple(
            (len(job.units), len(group.pairs), model.n_layers, group.length)
            for group in groups
        ),
    )


def _of_group(job: Job, group: Group) -> int:
    n_layers, n_pairs = job.model.n_layers, len(group.pairs)
    inner = sum(unit.component != "resid_post" for unit in job.units)
    total = (3 if job.crosses else 2) * group.length * n_layers
    if n_layers > 1:
        for rows in split_rows(group.rows, group.length):
            packed = sum(group.length - row for row in rows)
            # A row that is patched in layer l goes through the layers behind it.
            behind = n_layers * (n_layers - 1) // 2
            total += len(job.units) * packed * behind
            # A component of a block takes a pass of that block, at every position.
            total += inner * group.length * (n_layers - 1)
    if group.includes_last:
        total += inner * group.length
    return total * n_pairs


def _naive(job: Job, group: Group) -> int:
    cells = len(job.units) * job.model.n_layers * len(group.wanted)
    whole = len(group.prefix) + group.length
    return (cells + 2) * len(group.pairs) * whole * job.model.n_layers
