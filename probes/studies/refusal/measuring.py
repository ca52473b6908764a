"""What the chosen direction does and looks like, each piece a part kept on disk."""

from dataclasses import dataclass
from functools import partial

from interp.results import (
    Completion,
    RefusalDose,
    RefusalProjection,
    RefusalPunctuation,
    RefusalSideEffect,
)
from interp.results.truthfulness import ROLES
from probes.studies.refusal.answering import answer_all
from probes.studies.refusal.asked import Asked
from probes.studies.refusal.doses import doses
from probes.studies.refusal.projections import (
    ReadAnswers,
    projection_rows,
    read_answers,
)
from probes.studies.refusal.setting import Side
from probes.studies.refusal.unwanted import punctuation_rows, side_effect_rows
from probes.studies.shards import Shards


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """The rows of a result that are measured after the choice; see there."""

    completions: tuple[Completion, ...]
    read: ReadAnswers
    doses: tuple[RefusalDose, ...]
    side_effects: tuple[RefusalSideEffect, ...]
    punctuation: tuple[RefusalPunctuation, ...]
    projections: tuple[RefusalProjection, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Doses:
    rows: tuple[RefusalDose, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _SideEffects:
    rows: tuple[RefusalSideEffect, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Punctuation:
    rows: tuple[RefusalPunctuation, ...]


def measured(asked: Asked, shards: Shards) -> Measured:
    """All that is measured of a chosen direction; without one, the answers alone.

    Args:
        asked: The study after the choice of a direction.
        shards: Where finished parts are kept.

    Raises:
        StoppedError: If a signal asked for it; finished parts are kept.
    """
    answers = answer_all(asked, shards)
    completions = tuple(row for one in answers for row in one.rows)
    strengths = [
        shards.kept(f"doses-{side.role}", _Doses, partial(_doses, asked, side))
        for side in asked.sides
    ]
    effects = shards.kept(
        "side-effects", _SideEffects, partial(_side_effects, asked, completions)
    )
    marks = [
        shards.kept(
            f"punctuation-{side.role}", _Punctuation, partial(_marks, asked, side)
        )
        for side in asked.sides
    ]
    return Measured(
        completions=completions,
        read=read_answers(asked, answers),
        doses=tuple(row for one in strengths for row in one.rows),
        side_effects=effects.rows,
        punctuation=tuple(row for one in marks for row in one.rows),
        projections=projection_rows(asked),
    )


def _doses(asked: Asked, side: Side) -> _Doses:
    tokens = asked.fitted.tokens
    return _Doses(rows=doses(side, asked.texts, asked.vectors, tokens, spec=asked.spec))


def _side_effects(asked: Asked, completions: tuple[Completion, ...]) -> _SideEffects:
    seed, post = asked.spec.seed, asked.side("post")
    return _SideEffects(
        rows=side_effect_rows(post, completions, asked.vectors, seed=seed)
    )


def _marks(asked: Asked, side: Side) -> _Punctuation:
    found = asked.fitted.found[ROLES.index(side.role)]
    return _Punctuation(
        rows=punctuation_rows(side, found, asked.instructions, seed=asked.spec.seed)
    )
