"""Attribution patching: the whole grid to first order, from one gradient.

The effect of a patch is estimated as the gradient of LD with respect to the patched
value, times the change of that value. It takes two forward passes and one backward
pass for all cells of a pair, and says where to look, not what is there: between a value
and its replacement LD is far from linear. `interp.patching.screen` measures on some
pairs how well the estimate follows the exact grid.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.models.language_model import LanguageModel
from interp.patching.assembly import assemble
from interp.patching.cache import Prefix
from interp.patching.group_grid import GroupGrid, Prefixes, in_parts
from interp.patching.plan import (
    Component,
    Group,
    Job,
    Unit,
    plan_groups,
    wanted_positions,
)
from interp.patching.prompt_pairs import PromptPairs
from interp.patching.recording import (
    check_value,
    final_logits,
    listening,
    logit_difference,
)
from interp.patching.trace import make_job, refuse_edited
from interp.progress import progress_bar
from interp.results.patch_map import Direction, PatchMap
from interp.sites import Site


# A backward pass costs about as much as two forward passes.
PASSES_OF_BACKWARD = 2
_Place = tuple[Component, int]


def attribute(
    model: LanguageModel,
    pairs: PromptPairs,
    *,
    sites: str | Sequence[str] = ("resid_post",),
    positions: Sequence[str] | None = None,
    direction: Direction = "denoise",
    source: LanguageModel | None = None,
    token_budget: int | None = None,
) -> PatchMap:
    """The grid of `trace`, estimated to first order by one gradient per pair.

    Where the two differ much, `screen` says how much. For the errors see `trace`.

    Args:
        model: The model that runs.
        pairs: The prompts.
        sites: What is patched in every layer.
        positions: The roles of the grid positions; all by default.
        direction: Which prompt's values go into the other's run.
        source: Another model of the same shape whose values are put in.
        token_budget: The most tokens in a batch.

    Returns:
        A map whose `method` is `"attribution"`.

    Source:
        Nanda (2023), "Attribution patching: activation patching at industrial scale".

    Example:
        >>> from tiny import tiny_model
        >>> import interp
        >>> model = interp.load(tiny_model("llama"))
        >>> pairs = PromptPairs(
        ...     clean_ids=((5, 6, 7, 8),), corrupted_ids=((5, 9, 7, 8),),
        ...     positive=(3,), negative=(4,), start=(1,), groups=("a",),
        ...     roles=(("subject", "template", "last"),),
        ... )
        >>> attribute(model, pairs).method
        'attribution'
    """
    job = make_job(
        model,
        pairs,
        sites=sites,
        direction=direction,
        source=source,
        token_budget=token_budget,
    )
    groups = plan_groups(job, wanted_positions(pairs, positions))
    prefixes = Prefixes()
    with ExitStack() as stack:
        stack.enter_context(model.lock)
        stack.enter_context(job.source.lock)
        refuse_edited(job)
        stack.enter_context(torch.no_grad())
        bar = stack.enter_context(progress_bar("attribution", len(pairs), "pairs"))
        grids = []
        for group in groups:
            grids.append(
                in_parts(
                    job, group, partial(_estimate, job, prefixes), length=group.length
                )
            )
            bar.advance(len(group.pairs))
    distinct = {group.prefix for group in groups}
    prefix_tokens = sum(map(len, distinct)) * (2 if job.crosses else 1)
    computed = sum(grid.token_layers for grid in grids)
    return assemble(
        job,
        groups,
        grids,
        method="attribution",
        notes=("A first-order estimate by attribution patching, not the effect.",),
        token_layers=computed + prefix_tokens * model.n_layers,
    )


def _estimate(job: Job, prefixes: Prefixes, group: Group) -> GroupGrid:
    prefix = prefixes.of(job.model, group.prefix)
    source, other_ld = _replacements(job, prefixes, group)
    values: dict[_Place, Tensor] = {}

    def keep_graph(component: Component, layer: int, value: Tensor) -> Tensor:
        # Frozen weights leave nothing to differentiate before the first site.
        if not value.requires_grad:
            value = value.detach().requires_grad_()
        values[component, layer] = value
        # Returned, so that the model goes on with this very tensor, not with one
        # that it is a view of.
        return value

    with torch.enable_grad(), listening(job, job.model, keep_graph):
        logits = _run(job.model, job.base_ids, group, prefix)
        base_ld = logit_difference(logits, job, group.pairs)
        gradients = torch.autograd.grad(base_ld.sum(), list(values.values()))
    n_layers = job.model.n_layers
    shape = (len(job.units), len(group.pairs), n_layers, group.length)
    ld = np.full(shape, np.nan, dtype=np.float32)
    wanted = list(group.wanted)
    found: dict[tuple[int, int], Tensor] = {}
    for (key, value), gradient in zip(values.items(), gradients, strict=True):
        change = source[key].to(value) - value.detach()[:, -group.length :]
        slope = gradient[:, -group.length :]
        for number, unit in enumerate(job.units):
            if unit.component == key[0]:
                effect = _effect(slope, change, unit).to(base_ld.device)
                found[number, key[1]] = (base_ld.detach()[:, None] + effect).float()
    # One copy: each waits for everything that the device has to do.
    together = torch.stack(list(found.values()))[..., wanted].cpu().numpy()
    for (number, layer), cells in zip(found, together, strict=True):
        ld[number, :, layer][:, wanted] = cells
    length = group.length + (0 if prefix is not None else len(group.prefix))
    passes = (3 if job.crosses else 2) + PASSES_OF_BACKWARD
    return GroupGrid(
        ld=ld,
        base_ld=base_ld.detach().float().cpu().numpy(),
        other_ld=other_ld.float().cpu().numpy(),
        token_layers=passes * len(group.pairs) * length * n_layers,
    )


def _replacements(
    job: Job, prefixes: Prefixes, group: Group
) -> tuple[dict[_Place, Tensor], Float[Tensor, " pair"]]:
    """What is put in at every place, and LD of the prompts that it comes from."""
    kept: dict[_Place, Tensor] = {}

    def keep(component: Component, layer: int, value: Tensor) -> None:
        site = Site(layer=layer, component=component)
        check_value(job, site, value, rows=len(group.pairs))
        kept[component, layer] = value[:, -group.length :].clone()

    prefix = prefixes.of(job.source, group.prefix)
    with listening(job, job.source, keep):
        logits = _run(job.source, job.other_ids, group, prefix)
    if job.crosses:
        prefix = prefixes.of(job.model, group.prefix)
        logits = _run(job.model, job.other_ids, group, prefix)
    return kept, logit_difference(logits, job, group.pairs)


def _effect(slope: Tensor, change: Tensor, unit: Unit) -> Tensor:
    if unit.head is not None:
        slope, change = slope[:, :, unit.head], change[:, :, unit.head]
    wide = torch.promote_types(slope.dtype, torch.float32)
    return (slope.to(wide) * change.to(wide)).sum(-1)


def _run(
    model: LanguageModel,
    ids: Sequence[Sequence[int]],
    group: Group,
    prefix: Prefix | None,
) -> Tensor:
    skip = len(group.prefix) if prefix is not None else 0
    cache = None if prefix is None else prefix.cache(len(group.pairs))
    return final_logits(model, [ids[i][skip:] for i in group.pairs], cache)
