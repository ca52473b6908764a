"""Which direction of POST is used, how strictly it was judged, and BASE's beside it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import torch

from interp.directions.selection import Selection, Stability, select, stability
from interp.results import RefusalCandidate
from interp.results.refusal import Source
from interp.results.truthfulness import ROLES, Role
from probes.studies.refusal.candidates import Candidates
from probes.studies.refusal.candidates_grid import Ablation, GridScores, score_grid
from probes.studies.refusal.completions import Vector, random_vector
from probes.studies.refusal.setting import Kept, Side
from probes.studies.refusal.spec import RefusalSpec


# When no candidate passes the rule, adding one must at least bring harmless prompts
# this share of the way to the score of harmful ones.
LENIENT_SHARE = 0.25
DEGENERATE = "the classes do not differ there"
NOT_INDUCED = "does not induce refusal when added"


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
) -> Choice:
    """The direction of a model, by the published rule if any candidate passes it.

    Plain ablation comes first. Where no candidate passes, affine ablation is tried;
    where none does so either and the settings allow it, a lenient rule.

    Args:
        side: The model.
        found: Its candidates.
        val: Validation instructions.
        tokens: Its refusal tokens; without any there is no candidate.
        spec: The settings.
        only_affine: Whether directions cannot be ablated everywhere.
    """
    if not tokens:
        return Choice()
    prompts = side.prompts(val.harmful, val.harmless)
    ways: tuple[Ablation, ...] = ("affine",) if only_affine else ("plain", "affine")
    needed = spec.scores == "needed"
    scored: dict[Ablation, GridScores] = {}
    tried: list[Judged] = []
    for is_lenient in (False, True)[: 1 + spec.lenient]:
        for way in ways:
            if way not in scored:
                scored[way] = score_grid(
                    side.model,
                    found,
                    prompts,
                    tokens=tokens,
                    ablation=way,
                    layers=range(int(spec.layer_share * found.n_layers))
                    if needed
                    else None,
                    least_induce=spec.min_induce if needed else None,
                )
            one = _judged(found, scored[way], spec, way, is_lenient=is_lenient)
            tried.append(one)
            if one.selection.chosen is not None:
                return _choice(side.role, one, spec)
    return _choice(side.role, tried[0], spec)


def _judged(
    found: Candidates,
    scores: GridScores,
    spec: RefusalSpec,
    ablation: Ablation,
    *,
    is_lenient: bool,
) -> Judged:
    harmful = float(scores.clean_harmful.mean())
    harmless = float(scores.clean_harmless.mean())
    least = harmless + LENIENT_SHARE * (harmful - harmless)
    selection = select(
        _table(found, scores, spec),
        n_layers=found.n_layers,
        layer_share=spec.layer_share,
        max_kl=math.inf if is_lenient else spec.max_divergence,
        min_induce=least if is_lenient else spec.min_induce,
        # What does not lower refusal at all is no direction of it.
        max_bypass=harmful,
    )
    return Judged(
        found=found,
        scores=scores,
        selection=selection,
        ablation=ablation,
        is_lenient=is_lenient,
    )


def _table(found: Candidates, scores: GridScores, spec: RefusalSpec) -> pd.DataFrame:
    late = int(spec.layer_share * found.n_layers)
    rows = []
    for row, (slot, layer) in enumerate(scores.places):
        induce = float(scores.induce[row].mean())
        reason = ""
        if found.degenerate[slot, layer]:
            reason = DEGENERATE
        elif spec.scores == "needed" and layer >= late:
            reason = f"in the last layers (from {late} on)"
        elif spec.scores == "needed" and induce < spec.min_induce:
            reason = NOT_INDUCED
        rows.append(
            {
                "position": found.positions[slot],
                "layer": layer,
                "bypass": float(scores.bypass[row].mean()),
                "induce": induce,
                "kl": float(scores.kl[row].mean()),
                "reason": reason,
            }
        )
    return pd.DataFrame(rows)


def _choice(role: Role, judged: Judged, spec: RefusalSpec) -> Choice:
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
        notes=_notes(judged, spec) if chosen else (),
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
        notes.append(
            "No direction passed the published rule (ablation changes harmless answers "
            f"by at most {spec.max_divergence} nats, addition brings harmless prompts "
            f"to a refusal score of {spec.min_induce}). The one used passed a lenient "
            "rule: ablation lowers, and addition clearly raises, the refusal score."
        )
    return tuple(notes)


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
