"""Which direction of POST is used, how strictly it was judged, and BASE's beside it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from interp.directions.selection import (
    NOT_LOWERED,
    Selection,
    SelectionRule,
    Stability,
    select,
    stability,
)
from interp.results import RefusalCandidate
from interp.results.refusal import Source
from interp.results.truthfulness import ROLES, Role
from probes.studies.refusal.candidates import Candidates
from probes.studies.refusal.candidates_grid import Ablation, Grid
from probes.studies.refusal.completions import Vector, random_vector
from probes.studies.refusal.grid_scores import (
    NOT_COMPUTED,
    SCORES,
    GridScores,
    gap_reasons,
    without_ablation,
)
from probes.studies.refusal.setting import Kept, Side
from probes.studies.refusal.spec import RefusalSpec
from probes.studies.shards import Shards


# When no candidate passes the rule, adding one must at least bring harmless prompts
# this share of the way to the score of harmful ones.
LENIENT_SHARE = 0.25
DEGENERATE = "the classes do not differ there"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """The candidates of a model under one way of ablating and one rule."""

    found: Candidates
    scores: GridScores
    selection: Selection
    ablation: Ablation
    is_lenient: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Choice:
    """What was chosen among the candidates, and how surely.

    Attributes:
        candidates: All of them with their scores and fates.
        chosen: The chosen one, or None.
        judged: How they were judged; None without refusal tokens.
        stability: How the choice comes out on resampled validation prompts.
        notes: What is unusual about it, in sentences.
    """

    candidates: tuple[RefusalCandidate, ...] = ()
    chosen: RefusalCandidate | None = None
    judged: Judged | None = None
    stability: Stability | None = None
    notes: tuple[str, ...] = ()

    @property
    def rule(self) -> str:
        """By what the candidates were judged, as a sentence; empty without any."""
        return self.judged.selection.rule.in_words() if self.judged else ""

    @property
    def selection(self) -> str:
        """What the rule made of them, as a sentence."""
        return self.judged.selection.in_words() if self.judged else ""

    @property
    def resamples(self) -> int:
        """How many resamples of validation prompts were judged."""
        return self.stability.resamples if self.stability else 0

    @property
    def none_share(self) -> float:
        """In which share of them no candidate passes."""
        return self.stability.none if self.stability else math.nan


def choose(
    side: Side,
    found: Candidates,
    val: Kept,
    tokens: Sequence[int],
    *,
    spec: RefusalSpec,
    only_affine: bool,
    shards: Shards | None = None,
) -> Choice:
    """The direction of a model, by the strict rule if any candidate passes it.

    That is the published rule and, with `must_lower`, the demand to lower refusal.
    Plain ablation comes first. Where no candidate passes, affine ablation is tried;
    where none does so either and the settings allow it, a lenient rule.

    Args:
        side: The model.
        found: Its candidates.
        val: Validation instructions.
        tokens: Its refusal tokens; without any there is no candidate.
        spec: The settings.
        only_affine: Whether directions cannot be ablated everywhere.
        shards: Where finished parts of the scores are kept.
    """
    if not tokens:
        return Choice()
    grid = Grid.of(
        side.model,
        found,
        side.prompts(val.harmful, val.harmless),
        tokens=tokens,
        shards=shards,
    )
    ways: tuple[Ablation, ...] = ("affine",) if only_affine else ("plain", "affine")
    scored: dict[Ablation, GridScores] = {}
    tried: list[Judged] = []
    for is_lenient in (False, True)[: 1 + spec.lenient]:
        for way in ways:
            known = scored.get(way)
            if known is None and scored:
                known = without_ablation(next(iter(scored.values())))
            known = grid.unscored() if known is None else known
            rule = _rule(known, found, spec, is_lenient=is_lenient)
            scored[way] = grid.scored(
                way, known=known, needed_by=rule if spec.scores == "needed" else None
            )
            one = _judged(found, scored[way], rule, way, is_lenient=is_lenient)
            tried.append(one)
            if one.selection.chosen is not None:
                return _choice(side.role, one, spec, first=tried[0])
    return _choice(side.role, tried[0], spec, first=tried[0])


def _rule(
    scores: GridScores, found: Candidates, spec: RefusalSpec, *, is_lenient: bool
) -> SelectionRule:
    harmful = float(scores.clean_harmful.mean())
    harmless = float(scores.clean_harmless.mean())
    least = harmless + LENIENT_SHARE * (harmful - harmless)
    return SelectionRule(
        n_layers=found.n_layers,
        layer_share=spec.layer_share,
        max_kl=math.inf if is_lenient else spec.max_divergence,
        min_induce=least if is_lenient else spec.min_induce,
        # What does not lower refusal at all is no direction of it.
        max_bypass=harmful if spec.must_lower or is_lenient else None,
    )


def _judged(
    found: Candidates,
    scores: GridScores,
    rule: SelectionRule,
    ablation: Ablation,
    *,
    is_lenient: bool,
) -> Judged:
    selection = select(
        _table(found, scores, rule),
        n_layers=rule.n_layers,
        layer_share=rule.layer_share,
        max_kl=rule.max_kl,
        min_induce=rule.min_induce,
        max_bypass=rule.max_bypass,
    )
    return Judged(
        found=found,
        scores=scores,
        selection=selection,
        ablation=ablation,
        is_lenient=is_lenient,
    )


def _table(found: Candidates, scores: GridScores, rule: SelectionRule) -> pd.DataFrame:
    gaps = gap_reasons(scores, rule=rule)
    slots, layers = np.array(scores.places).T
    return pd.DataFrame(
        {
            "position": np.array(found.positions)[slots],
            "layer": layers,
            **{score: scores.means(score) for score in SCORES},
            "reason": [
                DEGENERATE if found.degenerate[place] else gap
                for place, gap in zip(scores.places, gaps, strict=True)
            ],
        }
    )


def _choice(role: Role, judged: Judged, spec: RefusalSpec, *, first: Judged) -> Choice:
    scores, selection = judged.scores, judged.selection
    sure = stability(
        selection,
        bypass=scores.bypass,
        induce=scores.induce,
        kl=scores.kl,
        resamples=spec.resamples,
        seed=spec.seed,
    )
    rows = tuple(
        _candidate(role, judged, row, share=float(sure.shares[row]))
        for row in range(len(selection.table))
    )
    chosen = None if selection.chosen is None else rows[selection.chosen]
    return Choice(
        candidates=rows,
        chosen=chosen,
        judged=judged,
        stability=sure,
        notes=(
            *(_notes(judged, spec) if chosen else ()),
            *extra_notes(first.selection),
            *_gap_notes(selection),
        ),
    )


def _candidate(
    role: Role, judged: Judged, row: int, *, share: float
) -> RefusalCandidate:
    slot, layer = judged.scores.places[row]
    held = judged.selection.table.iloc[row]
    fate = str(held["reason"]) or "passed"
    return RefusalCandidate(
        model=role,
        layer=layer,
        position=judged.found.positions[slot],
        token=judged.found.tokens[slot],
        bypass=float(held["bypass"]),
        induce=float(held["induce"]),
        kl=float(held["kl"]),
        fate="chosen" if row == judged.selection.chosen else fate,
        norm=float(judged.found.norms[slot, layer]),
        relative_norm=float(judged.found.relative_norms[slot, layer]),
        rank=None if math.isnan(held["rank"]) else int(held["rank"]),
        share=share,
    )


def _notes(judged: Judged, spec: RefusalSpec) -> tuple[str, ...]:
    notes: list[str] = []
    if judged.ablation == "affine":
        notes.append(
            "The direction was chosen by affine ablation (at the token and layer where "
            "it was read, its projection is set to the mean over harmless prompts), "
            "because none passed with plain ablation (set to zero everywhere)."
        )
    if judged.is_lenient:
        lowers = ", ablation lowers that of harmful ones" if spec.must_lower else ""
        notes.append(
            "No direction passed the strict rule (ablation changes harmless answers "
            f"by at most {spec.max_divergence} nats, addition brings harmless prompts "
            f"to a refusal score of {spec.min_induce}{lowers}). The one used passed a "
            "lenient rule: ablation lowers, and addition clearly raises, the refusal "
            "score."
        )
    return tuple(notes)


def extra_notes(strict: Selection) -> tuple[str, ...]:
    """Where what is asked beyond the published rule decided that nothing passes.

    Args:
        strict: What the strict rule made of the candidates under its first ablation.
    """
    rule = strict.rule
    if rule.max_bypass is None or strict.chosen is not None:
        return ()
    pairs = zip(strict.reasons, strict.table.to_dict("records"), strict=True)
    fell = [
        row
        for reason, row in pairs
        if reason.startswith(NOT_LOWERED)
        and row["induce"] >= rule.min_induce
        # Not computed where only needed scores are.
        and not row["kl"] > rule.max_kl
    ]
    if not fell:
        return ()
    unsure = any(math.isnan(row["kl"]) for row in fell)
    return (
        f"{len(fell)} of the candidates fell only because ablating them does not lower "
        "refusal, which the published rule does not ask: must_lower = false lets them "
        f"pass{', if they change harmless answers little' if unsure else ''}.",
    )


def _gap_notes(selection: Selection) -> tuple[str, ...]:
    lacking = sum(NOT_COMPUTED in reason for reason in selection.reasons)
    if not lacking:
        return ()
    return (
        f"Of {lacking} candidates some scores were not computed, since the choice did "
        "not need them; resamples choose among the candidates that have all three.",
    )


def vectors_of(
    chosen: RefusalCandidate | None, found: Sequence[Candidates], *, seed: int
) -> dict[tuple[Role, Source], Vector]:
    """Each direction as it is used in each model: of the length of the model's own.

    Args:
        chosen: The place where they are read.
        found: The candidates of BASE and POST.
        seed: Of the random direction.
    """
    if chosen is None:
        return {}
    position, layer = chosen.position, chosen.layer
    own: dict[Role, torch.Tensor] = {
        role: one.vector(position, layer)
        for role, one in zip(ROLES, found, strict=True)
        if not one.degenerate[one.positions.index(position), layer]
    }
    vectors: dict[tuple[Role, Source], Vector] = {}
    for target, one in zip(ROLES, found, strict=True):
        length = own.get(target, own["post"]).norm()
        held: list[tuple[Source, torch.Tensor]] = [
            *own.items(),
            ("random", random_vector(own["post"], seed=seed)),
        ]
        for source, vector in held:
            # Only directions are compared, so every vector has the same length.
            unit = torch.nn.functional.normalize(vector, dim=-1)
            vectors[target, source] = Vector(
                vector=unit * length,
                layer=layer,
                position=position,
                level=one.level(position, layer, unit),
            )
    return vectors
