"""The patching maps of a knowledge study: each model's own, and across the two."""

from collections.abc import Callable
from pathlib import Path

from interp.models.language_model import LanguageModel
from interp.patching import PromptPairs, screen, trace
from interp.results import PatchMap
from interp.results.knowledge import Run, ScreenCheck
from interp.results.truthfulness import ROLES
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
        found[run] = trace(
            models[which],
            prompts[which],
            sites=spec.sites,
            direction=spec.direction,
            window=spec.window,
            source=source,
            out=folder,
        )
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
            )
            for unit, r, rho in zip(
                found.estimate.units, found.pearson, found.spearman, strict=True
            )
        ]
    return tuple(checks)
