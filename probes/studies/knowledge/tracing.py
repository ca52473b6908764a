"""The patching maps of a knowledge study: each model's own, and across the two."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from interp.models.language_model import LanguageModel
from interp.patching import PromptPairs, columns_of, screen, trace
from interp.patching.aggregate import by_column, ends_of, mean_map
from interp.patching.screening import Screening
from interp.results import PatchMap
from interp.results.knowledge import Run, ScreenCheck
from interp.results.knowledge_pairs import ScreenedCell
from interp.results.truthfulness import ROLES
from interp.sharding import OthersMissingError, require_all
from probes.studies.knowledge.spec import KnowledgeSpec


Models = tuple[LanguageModel, LanguageModel]
Prompts = tuple[PromptPairs, PromptPairs]


def traces(
    models: Models,
    prompts: Prompts,
    *,
    spec: KnowledgeSpec,
    folder: Path | None,
    tell: Callable[[str], None],
) -> dict[Run, PatchMap]:
    """The map of every run.

    Args:
        models: Base and post.
        prompts: The pairs, with what is read in each model.
        spec: What is patched.
        folder: A run folder; finished parts are kept in its `shards/`.
        tell: Is told of each run.
    """
    base, post = models
    sources: dict[Run, tuple[int, LanguageModel | None]] = {
        "base": (0, None),
        "post": (1, None),
    }
    if spec.cross:
        sources |= {"base into post": (1, base), "post into base": (0, post)}
    found: dict[Run, PatchMap] = {}
    for run, (which, source) in sources.items():
        tell(f"knowledge: tracing {run}, {len(prompts[which])} pairs.")
        # A shard does its part of every run before it leaves the rest to others.
        with suppress(OthersMissingError):
            found[run] = trace(
                models[which],
                prompts[which],
                sites=spec.sites,
                direction=spec.direction,
                window=spec.window,
                source=source,
                out=folder,
            )
    require_all(len(sources) - len(found), of=len(sources), what="traces")
    return found


def screening(
    models: Models, prompts: Prompts, *, spec: KnowledgeSpec
) -> tuple[ScreenCheck, ...]:
    """How well attribution patching follows the exact maps, on some of the pairs."""
    checks: list[ScreenCheck] = []
    for role, model, pairs in zip(ROLES, models, prompts, strict=True):
        found = screen(
            model, pairs, sites=spec.sites, direction=spec.direction, seed=spec.seed
        )
        checks += [
            ScreenCheck(
                model=role,
                unit=unit,
                pairs=len(found.sample),
                pearson=float(r),
                spearman=float(rho),
                cells=_cells(found, pairs, i, spec),
            )
            for i, (unit, r, rho) in enumerate(
                zip(found.estimate.units, found.pearson, found.spearman, strict=True)
            )
        ]
    return tuple(checks)


def _cells(
    found: Screening, pairs: PromptPairs, unit: int, spec: KnowledgeSpec
) -> tuple[ScreenedCell, ...]:
    """Exact and estimated effect by layer and column, over the screened pairs."""
    sample = list(found.sample)
    columns = columns_of(found.exact.roles, by=spec.columns)
    exact = found.exact.ld[unit].astype(np.float64)
    width = exact.shape[-1]
    estimate = found.estimate.ld[unit, sample, :, :width].astype(np.float64)
    # Before the first token that differs, and in the last layer, both are known.
    first = np.array([pairs.first_difference[i] - pairs.start[i] for i in sample])
    known = np.broadcast_to((np.arange(width) < first[:, None])[:, None], exact.shape)
    last = np.arange(exact.shape[1])[:, None] == exact.shape[1] - 1
    ends, once = ends_of(found.exact), np.ones((1, len(sample)))
    exact, estimate = (
        mean_map(
            by_column(np.where(known | last, np.nan, cells), columns),
            once,
            ends=ends,
            scale="restoration",
        )[0]
        for cells in (exact, estimate)
    )
    return tuple(
        ScreenedCell(
            layer=int(found.exact.layers[layer]),
            column=columns.names[column],
            exact=float(exact[layer, column]),
            estimate=float(estimate[layer, column]),
        )
        for layer, column in zip(*np.nonzero(np.isfinite(exact)), strict=True)
    )
