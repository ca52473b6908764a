"""Which direction of POST is used, how strictly it was judged, and BASE's beside it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from interp.results import RefusalCandidate
from interp.results.refusal import Source
from interp.results.truthfulness import ROLES, Role
from probes.studies.refusal.completions import Vector, random_vector
from probes.studies.refusal.direction import (
    Ablation,
    Directions,
    Rule,
    choose,
    first_tokens,
    score_candidates,
)
from probes.studies.refusal.score import chance_of, refusal_score
from probes.studies.refusal.setting import Kept, Side
from probes.studies.refusal.spec import RefusalSpec


# When no candidate passes the strict rule, adding one must at least bring harmless
# prompts this share of the way to the score of harmful ones.
LENIENT_SHARE = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """All candidates with their fates, and in sentences how they were judged."""

    candidates: tuple[RefusalCandidate, ...]
    notes: tuple[str, ...] = ()

    @property
    def chosen(self) -> RefusalCandidate | None:
        return next((one for one in self.candidates if one.fate == "chosen"), None)


def judged_candidates(
    side: Side,
    found: Sequence[Directions],
    val: Kept,
    tokens: Sequence[int],
    *,
    max_divergence: float,
    only_affine: bool,
) -> Choice:
    """All candidates of a model and their fates, and how strictly they were judged.

    Plain ablation and the strict rule come first. Where no candidate passes, affine
    ablation is taken; where none does so either, a lenient rule.

    Args:
        side: The model.
        found: Its candidate directions.
        val: Validation instructions.
        tokens: Its refusal tokens; without any there is no candidate.
        max_divergence: The strict rule's limit.
        only_affine: Whether directions cannot be ablated everywhere.
    """
    if not tokens:
        return Choice(candidates=())
    prompts = side.prompts(val.harmful, val.harmless)
    harmful, harmless = (
        float(refusal_score(chance_of(first_tokens(side.model, ids), tokens)).mean())
        for ids in (prompts.harmful, prompts.harmless)
    )
    ways: tuple[Ablation, ...] = ("affine",) if only_affine else ("plain", "affine")
    scored: dict[Ablation, tuple[RefusalCandidate, ...]] = {
        way: score_candidates(
            side.model, found, prompts, role=side.role, tokens=tokens, ablation=way
        )
        for way in ways
    }
    strict = Rule(max_bypass=harmful, max_divergence=max_divergence)
    lenient = Rule(
        max_bypass=harmful,
        least_induce=harmless + LENIENT_SHARE * (harmful - harmless),
        max_divergence=math.inf,
    )
    for rule in (strict, lenient):
        for way in ways:
            choice = Choice(
                candidates=choose(scored[way], rule),
                notes=_notes(way, rule, max_divergence=max_divergence),
            )
            if choice.chosen:
                return choice
    return Choice(candidates=choose(scored[ways[0]], lenient))


def _notes(way: Ablation, rule: Rule, *, max_divergence: float) -> tuple[str, ...]:
    notes: list[str] = []
    if way == "affine":
        notes.append(
            "The direction was chosen by affine ablation (at the token and layer where "
            "it was read, its projection is set to the mean over harmless prompts), "
            "because none passed with plain ablation (set to zero everywhere)."
        )
    if rule.max_divergence == math.inf:
        notes.append(
            "No direction passed the strict rule (ablation changes harmless answers by "
            f"at most {max_divergence} nats, addition makes most harmless prompts "
            "refused). The one used passed a lenient rule: ablation lowers, and "
            "addition clearly raises, the refusal score."
        )
    return tuple(notes)


def vectors_of(
    chosen: RefusalCandidate | None,
    found: Sequence[Sequence[Directions]],
    spec: RefusalSpec,
) -> dict[tuple[Role, Source], Vector]:
    """Each direction as it is used in each model: of the length of the model's own."""
    if chosen is None:
        return {}
    slot = spec.positions.index(chosen.position)
    layer = chosen.layer
    vectors: dict[tuple[Role, Source], Vector] = {}
    for target, of_target in zip(ROLES, found, strict=True):
        own = of_target[slot]
        length = float(own.vectors[layer].norm())
        drawn = random_vector(own.vectors[layer], seed=spec.seed)
        sources: dict[Source, Directions] = {
            "base": found[0][slot],
            "post": found[1][slot],
        }
        for source, one in sources.items():
            # Only the direction is compared, so every vector has the same length.
            unit = one.vectors[layer] / one.vectors[layer].norm()
            vectors[target, source] = Vector(
                vector=unit * length,
                layer=layer,
                position=chosen.position,
                level=float(own.harmless[layer] @ unit),
            )
        vectors[target, "random"] = Vector(
            vector=drawn, layer=layer, position=chosen.position, level=0.0
        )
    return vectors
