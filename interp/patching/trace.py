"""`trace`: the whole grid of activation patching, exact, at a fraction of its cost."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import get_args

import torch

from interp.activations.batching import is_out_of_memory
from interp.activations.capture import checked_budget
from interp.activations.forward import has_hooks
from interp.errors import ConfigError, IncompatibleError, OutOfMemoryError
from interp.models.language_model import LanguageModel
from interp.models.reading import is_followed
from interp.patching.assembly import assemble
from interp.patching.group_grid import GroupGrid, Prefixes, grid_of
from interp.patching.invariants import Checked, check
from interp.patching.plan import (
    Group,
    Job,
    plan_groups,
    units_of,
    wanted_positions,
)
from interp.patching.prompt_pairs import PromptPairs
from interp.patching.shards import Shards, shard_key
from interp.progress import progress_bar
from interp.results.patch_map import Direction, PatchMap
from interp.sharding import is_mine, present_shard, require_all
from interp.stopping import stop_if_requested


def trace(
    model: LanguageModel,
    pairs: PromptPairs,
    *,
    sites: str | Sequence[str] = ("resid_post",),
    positions: Sequence[str] | None = None,
    direction: Direction = "denoise",
    window: int = 1,
    source: LanguageModel | None = None,
    out: str | Path | None = None,
    token_budget: int | None = None,
) -> PatchMap:
    """The logit difference of every patch of a position and a layer.

    Each cell is what one forward pass would give in which the value of a site at one
    layer and position is replaced by that of the other prompt's run, to rounding. Most
    of such a pass is known: the prefix is computed once, layers up to the patch and
    positions before it are taken from the unpatched run, and the rest runs through the
    model's own blocks in large batches. On one pair the result is checked against whole
    forward passes before anything else; where a model's blocks cannot be entered in the
    middle, whole passes are taken, and `notes` say so.

    Args:
        model: The model that runs; it must not be under edits or hooks.
        pairs: The prompts.
        sites: What is patched in every layer: `"resid_post"`, `"attn_out"`,
            `"mlp_out"`, `"z"` for each head on its own, or heads as `"z.h3"`.
        positions: The roles of the grid positions to patch; all by default.
        direction: `"denoise"` puts clean values into the corrupted run, `"noise"`
            corrupted values into the clean run.
        window: How many layers are patched at once, from the named one upwards as far
            as there are any.
        source: Another model of the same shape whose values are put in.
        out: A run folder: finished groups of pairs are kept in its `shards/`, and the
            same call resumes there.
        token_budget: The most tokens in a batch; chosen by default.

    Returns:
        The grid of every unit and pair.

    Raises:
        UnknownSiteError: If a site cannot be traced.
        PositionError: If no pair has a role.
        PromptError: If a prompt is too long or has ids out of the vocabulary.
        ConfigError: If a setting is out of range, or the model is being edited.
        IncompatibleError: If the other model has another shape.
        SelfCheckError: If the model breaks what must hold for any causal model.
        OutOfMemoryError: If a single pair does not fit into memory.
        StoppedError: If a signal asked to stop; what is finished is kept in `out`.
        OthersMissingError: If this is one of several shards and others are not done;
            see `interp.sharding`.

    Source:
        Meng et al. (2022), arXiv:2202.05262; Marks & Tegmark (2023), arXiv:2310.06824.

    Example:
        >>> from tiny import tiny_model
        >>> import interp
        >>> model = interp.load(tiny_model("llama"))
        >>> pairs = PromptPairs(
        ...     clean_ids=((5, 6, 7, 8),), corrupted_ids=((5, 9, 7, 8),),
        ...     positive=(3,), negative=(4,), start=(1,), groups=("a",),
        ...     roles=(("subject", "template", "last"),),
        ... )
        >>> trace(model, pairs).ld.shape
        (1, 1, 3, 3)
    """
    job = make_job(
        model,
        pairs,
        sites=sites,
        direction=direction,
        window=window,
        source=source,
        token_budget=token_budget,
    )
    wanted = wanted_positions(pairs, positions)
    groups = plan_groups(job, wanted)
    shards = None
    if out is None and present_shard() is not None:
        raise ConfigError(
            "A trace that several processes share has no folder.",
            remedy="Give out=, the same for all of them.",
        )
    if out is not None:
        folder = Path(out).expanduser() / "shards"
        shards = Shards(folder, shard_key(job, wanted))
    with ExitStack() as stack:
        stack.enter_context(model.lock)
        stack.enter_context(job.source.lock)
        refuse_edited(job)
        stack.enter_context(torch.no_grad())
        prefixes = Prefixes()
        checked = _checked(job, groups, prefixes)
        grids = _run(job, groups, checked, prefixes, shards)
    notes = _notes(job, checked)
    computed = sum(grid.token_layers for grid in grids) + checked.token_layers
    computed += _prefix_tokens(job, groups, checked) * model.n_layers
    return assemble(
        job, groups, grids, method="exact", notes=notes, token_layers=computed
    )


def make_job(
    model: LanguageModel,
    pairs: PromptPairs,
    *,
    sites: str | Sequence[str],
    direction: Direction,
    window: int = 1,
    source: LanguageModel | None = None,
    token_budget: int | None = None,
) -> Job:
    """The settings of a trace, checked; for the errors see `trace`."""
    if direction not in get_args(Direction):
        raise ConfigError(
            f"direction is {direction!r}.",
            expected="'denoise' puts clean values into the corrupted run; 'noise' the"
            " reverse.",
        )
    if window < 1 or window > model.n_layers:
        raise ConfigError(
            f"window is {window}.",
            expected=f"How many layers are patched at once: 1 to {model.n_layers}.",
        )
    source = model if source is None else source
    for one in (model, source):
        one.tokenize([list(ids) for ids in (*pairs.clean_ids, *pairs.corrupted_ids)])
    model.tokenize([list(pairs.positive), list(pairs.negative)])
    _check_shapes(model, source)
    return Job(
        model=model,
        source=source,
        pairs=pairs,
        units=units_of(model, sites),
        window=window,
        direction=direction,
        token_budget=checked_budget(token_budget, model),
    )


def _checked(job: Job, groups: Sequence[Group], prefixes: Prefixes) -> Checked:
    try:
        return check(job, groups, prefixes)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(
            f"One pair of {max(map(len, job.pairs.clean_ids))} tokens does not fit into"
            f" memory: {str(error).splitlines()[0].rstrip('.')}.",
            remedy="Shorten the prompts, name fewer sites, or use a smaller dtype.",
        ) from error


def _run(
    job: Job,
    groups: Sequence[Group],
    checked: Checked,
    prefixes: Prefixes,
    shards: Shards | None,
) -> list[GroupGrid]:
    grids: list[GroupGrid] = []
    missing = 0
    n_units, n_layers = len(job.units), job.model.n_layers
    sizes = [n_units * len(g.pairs) * n_layers * len(g.wanted) for g in groups]
    with progress_bar("patching", sum(sizes), "cells") as bar:
        for index, (group, size) in enumerate(zip(groups, sizes, strict=True)):
            shape = (n_units, len(group.pairs), n_layers, group.length)
            grid = None if shards is None else shards.read(index, shape)
            if grid is None and not is_mine(index):
                missing += 1
                bar.advance(size)
                continue
            if grid is None:
                grid = grid_of(job, group, checked.path, prefixes)
                if shards is not None:
                    shards.write(index, grid)
            grids.append(grid)
            bar.advance(size)
            if len(grids) < len(groups):
                kept = f"kept in {shards.folder}" if shards else "not kept: no folder"
                stop_if_requested(f"{len(grids)} of {len(groups)} shards are {kept}")
    require_all(missing, of=len(groups), what="groups of pairs")
    return grids


def refuse_edited(job: Job) -> None:
    """Refuse models that are under edits or hooks; for the error see `trace`."""
    for model in (job.model, job.source):
        if is_followed(model.hf) or has_hooks(model.hf):
            raise ConfigError(
                f"{model.name or 'The model'} is being edited or has hooks.",
                expected="A trace runs parts of the model, which hooks would not fit.",
                remedy="Leave the block that edits it, or remove the hooks.",
            )


def _check_shapes(model: LanguageModel, source: LanguageModel) -> None:
    for name in ("n_layers", "d_model", "n_heads", "d_head"):
        mine, theirs = getattr(model, name), getattr(source, name)
        if mine != theirs:
            raise IncompatibleError(
                f"{source.name or 'The source'} has {name} {theirs},"
                f" {model.name or 'the model'} has {mine}.",
                expected="Values can be moved between models of one shape.",
            )


def _notes(job: Job, checked: Checked) -> tuple[str, ...]:
    match checked.path:
        case "wavefront":
            how = "Computed by entering the model's blocks behind each patch"
        case "cached prefix":
            how = "Computed by one pass of all blocks per cell behind a cached prefix"
        case "whole prompts":
            how = "Computed by one whole forward pass per cell"
    why = f", because {checked.reason}" if checked.reason else ""
    notes = [
        f"{how}{why}.",
        "On one pair the invariants held and cells agreed with whole forward passes"
        f" within {checked.tolerance:.0e}.",
    ]
    if job.crosses:
        notes.append(f"The values come from {job.source.name or 'another model'}.")
    if job.window > 1:
        notes.append(
            f"{job.window} layers are patched at once, from the named one upwards;"
            " fewer at the top."
        )
    return tuple(notes)


def _prefix_tokens(job: Job, groups: Sequence[Group], checked: Checked) -> int:
    """How many tokens of prefixes were computed: each distinct one once per model."""
    if checked.path == "whole prompts":
        return 0
    distinct = {group.prefix for group in groups}
    return sum(map(len, distinct)) * (2 if job.crosses else 1)
