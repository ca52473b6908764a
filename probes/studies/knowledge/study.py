"""The knowledge study: where two models store and read a fact, by activation patching.

Pairs of a true and a false statement that differ in their subject are traced in both
models, then with values of one model in the other's run.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from interp.data import Statements
from interp.models.language_model import LanguageModel
from interp.patching import columns_of
from interp.provenance import Provenance
from interp.results import PatchMap
from interp.results.knowledge import FEW_RIGHT, KnowledgeComparison, Run, ScreenCheck
from interp.results.truthfulness import ROLES
from probes.studies.fields import float32
from probes.studies.knowledge.pairing import Prepared, prepare
from probes.studies.knowledge.shown import pair_tokens
from probes.studies.knowledge.spec import KnowledgeSpec
from probes.studies.knowledge.sums import (
    Sums,
    column_tokens,
    likeness_of,
    shares_of,
    staircase_of,
    sums_of,
)
from probes.studies.knowledge.tracing import screening, traces
from probes.studies.same_shape import require_same_shape


logger = logging.getLogger("interp.studies")


def knowledge(
    base: LanguageModel,
    post: LanguageModel,
    statements: Statements,
    *,
    spec: KnowledgeSpec,
    provenance: Provenance,
    run: Path | None = None,
    tell: Callable[[str], None] = logger.info,
) -> KnowledgeComparison:
    """Patching maps of both models and across them, and how alike they are.

    Args:
        base: The base model.
        post: The post-trained model.
        statements: Labelled statements; see `interp.data.statements`.
        spec: The settings.
        provenance: What goes into the result as its origin.
        run: A run folder: it keeps finished parts, from which a stopped study goes
            on.
        tell: Is told each step in a sentence.

    Raises:
        IncompatibleError: If the models differ in depth, width or tokens.
        DataError: If no pair can be formed.
        PromptError: If a prompt is too long for the models.
        StoppedError: If a signal asked for it; finished shards are kept.

    Source:
        Du et al. (2025), arXiv:2504.02904; Marks & Tegmark (2023), arXiv:2310.06824;
        Meng et al. (2022), arXiv:2202.05262.
    """
    require_same_shape(base, post)
    prepared = prepare(base, post, statements, spec=spec)
    models = (base, post)
    maps = traces(models, prepared.prompts, spec=spec, folder=run, tell=tell)
    checks = screening(models, prepared.prompts, spec=spec) if spec.screen else ()
    found = _result(statements, prepared, maps, checks, spec, provenance)
    columns = columns_of(maps["base"].roles, by=spec.columns)
    return replace(found, pair_tokens=pair_tokens(base, prepared.prompts, columns))


def _result(
    statements: Statements,
    prepared: Prepared,
    maps: Mapping[Run, PatchMap],
    checks: tuple[ScreenCheck, ...],
    spec: KnowledgeSpec,
    provenance: Provenance,
) -> KnowledgeComparison:
    sums = sums_of(maps, spec=spec)
    likeness, own = likeness_of(maps, sums, spec=spec)
    first, second = maps["base"], maps["post"]
    pairs = prepared.pairs.pairs
    return KnowledgeComparison(
        models=(spec.base, spec.post),
        datasets=tuple(dict.fromkeys(statements.sources)),
        direction=spec.direction,
        window=spec.window,
        read=prepared.read,
        runs=tuple(maps),
        units=first.units,
        layers=first.layers,
        columns=sums.columns.names,
        tokens=column_tokens(first, sums.columns),
        knowledge=sums.columns.knowledge,
        **_sum_fields(sums),
        # The comparison is base minus post; what post-training did is the reverse.
        difference=float32([-one.difference for one in own]),
        difference_low=float32([-one.difference_high for one in own]),
        difference_high=float32([-one.difference_low for one in own]),
        likeness=likeness,
        staircase=staircase_of(maps, spec=spec),
        shares=shares_of(maps, sums, spec=spec),
        screening=checks,
        statements=len(statements),
        dropped=prepared.dropped,
        sources=tuple(pair.source for pair in pairs),
        true=tuple(pair.true for pair in pairs),
        false=tuple(pair.false for pair in pairs),
        groups=tuple(pair.group for pair in pairs),
        clean_ld=np.stack([first.clean_ld, second.clean_ld]),
        corrupted_ld=np.stack([first.corrupted_ld, second.corrupted_ld]),
        notes=(
            *statements.notes,
            *prepared.notes,
            prepared.read + ".",
            *_judgement(maps, prepared, spec),
            *first.notes,
        ),
        provenance=provenance,
    )


def _sum_fields(sums: Sums) -> dict[str, Any]:
    """Fields of the result that are sums over pairs, and the cells of each."""
    return {
        "ld": float32(sums.ld),
        "restoration": float32(sums.restoration),
        "restoration_low": float32(sums.restoration_low),
        "restoration_high": float32(sums.restoration_high),
        "bins": float32(sums.bins),
        "inside": float32(sums.inside),
        "pair_ld": float32(sums.cells),
    }


def _judgement(
    maps: Mapping[Run, PatchMap], prepared: Prepared, spec: KnowledgeSpec
) -> tuple[str, ...]:
    """How well each model answers the unpatched prompts."""
    notes: list[str] = []
    for role, name in zip(ROLES, (spec.base, spec.post), strict=True):
        clean, corrupted = maps[role].clean_ld, maps[role].corrupted_ld
        right = float(((clean > 0) & (corrupted < 0)).mean())
        gap = f"mean LD {clean.mean():.2f} and {corrupted.mean():.2f}"
        notes.append(
            f"{name} is right about both statements of {right:.0%} of "
            f"{len(prepared.pairs)} pairs ({gap})."
            if spec.question
            else f"{name} answers the true and the false statements with {gap}."
        )
        if right < FEW_RIGHT:
            notes.append(
                f"{name} hardly answers the question, so its map says little about "
                "where it keeps facts."
            )
    return tuple(notes)
