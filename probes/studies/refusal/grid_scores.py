"""The scores of candidate directions, all of them or those that the choice needs.

The rule of selection is a conjunction of limits, and then the lowest bypass. So the
same candidates are chosen, in the same order, when a score is left out for those that
another one has ruled out already. Knows no model: scores come from functions.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float

from interp.directions.selection import NOT_INDUCED, NOT_LOWERED, TOP, SelectionRule


Place = tuple[int, int]
Score = Literal["bypass", "induce", "kl"]
SCORES: tuple[Score, ...] = get_args(Score)
# From some rows of the grid to their scores for each validation prompt.
Scorer = Callable[[Sequence[int]], Float[np.ndarray, "candidate prompt"]]
Scorers = Callable[[Score], Scorer]
NOT_COMPUTED = "not computed"
WORDS = {"bypass": "bypass", "induce": "induce", "kl": "KL"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GridScores:
    """The scores of every candidate for every validation prompt; NaN if not scored.

    The rows are the places in `places`: a position's slot and a layer.

    Attributes:
        places: Slot of the position and layer of each row.
        bypass: Refusal scores of harmful prompts with the direction ablated.
        induce: Refusal scores of harmless prompts with the vector added.
        kl: Change of harmless answers with the direction ablated, in nats.
        is_scored: Which scores were computed, in the order of `SCORES`.
        clean_harmful: Refusal scores of harmful prompts in the unchanged model.
        clean_harmless: The same of harmless ones.
    """

    places: tuple[Place, ...]
    bypass: Float[np.ndarray, "candidate harmful"]
    induce: Float[np.ndarray, "candidate harmless"]
    kl: Float[np.ndarray, "candidate harmless"]
    is_scored: Bool[np.ndarray, "score candidate"]
    clean_harmful: Float[np.ndarray, " harmful"]
    clean_harmless: Float[np.ndarray, " harmless"]

    def means(self, score: Score) -> Float[np.ndarray, " candidate"]:
        """The mean of a score over the prompts; NaN where it was not computed."""
        return getattr(self, score).mean(axis=1)

    def lacks(self, row: int) -> tuple[Score, ...]:
        """The scores of a row that were not computed."""
        return tuple(
            score for score, is_held in zip(SCORES, self.is_scored[:, row], strict=True)
            if not is_held
        )  # fmt: skip


def unscored(
    places: Sequence[Place],
    *,
    clean_harmful: Float[np.ndarray, " harmful"],
    clean_harmless: Float[np.ndarray, " harmless"],
) -> GridScores:
    """A grid without any score.

    Args:
        places: Slot of the position and layer of each row.
        clean_harmful: Refusal scores of harmful prompts in the unchanged model.
        clean_harmless: The same of harmless ones.
    """
    n = len(places)
    return GridScores(
        places=tuple(places),
        bypass=np.full((n, len(clean_harmful)), np.nan),
        induce=np.full((n, len(clean_harmless)), np.nan),
        kl=np.full((n, len(clean_harmless)), np.nan),
        is_scored=np.zeros((len(SCORES), n), dtype=bool),
        clean_harmful=clean_harmful,
        clean_harmless=clean_harmless,
    )


def without_ablation(scores: GridScores) -> GridScores:
    """The scores without those under ablation, for another way of ablating.

    Args:
        scores: The scores.
    """
    is_scored = scores.is_scored.copy()
    is_scored[[SCORES.index("bypass"), SCORES.index("kl")]] = False
    return replace(
        scores,
        bypass=np.full_like(scores.bypass, np.nan),
        kl=np.full_like(scores.kl, np.nan),
        is_scored=is_scored,
    )


def with_all(
    scores: GridScores, scorers: Scorers, *, live: Iterable[int]
) -> GridScores:
    """The scores with all three of every candidate.

    Args:
        scores: What is known; it is not computed again.
        scorers: Gives the function that computes a score.
        live: The rows of candidates that have a direction.
    """
    for score in SCORES:
        scores = _with(scores, score, live, scorers)
    return scores


def with_needed(
    scores: GridScores,
    scorers: Scorers,
    *,
    live: Iterable[int],
    positions: Sequence[int],
    rule: SelectionRule,
    top: int = TOP,
) -> GridScores:
    """The scores with what a rule needs to choose the best candidates.

    The induce score is the cheapest, since its pass begins at the candidate's layer,
    and comes first; bypass is for those that pass it; kl is computed in the order of
    bypass until `top` candidates have passed. Late layers are never scored.

    Args:
        scores: What is known; it is not computed again.
        scorers: Gives the function that computes a score.
        live: The rows of candidates that have a direction.
        positions: The position of each slot, by which ties are decided.
        rule: What is asked of candidates.
        top: How many of the best are wanted.
    """
    early = [row for row in live if scores.places[row][1] < rule.first_late_layer]
    scores = _with(scores, "induce", early, scorers)
    able = [row for row in early if scores.means("induce")[row] >= rule.min_induce]
    scores = _with(scores, "bypass", able, scorers)
    bypass = scores.means("bypass")
    limit = np.inf if rule.max_bypass is None else rule.max_bypass

    def order(row: int) -> tuple[float, int, int]:
        slot, layer = scores.places[row]
        return bypass[row], positions[slot], layer

    rest = sorted((row for row in able if bypass[row] < limit), key=order)
    passed = 0
    while rest and passed < top:
        some, rest = rest[: top - passed], rest[top - passed :]
        scores = _with(scores, "kl", some, scorers)
        passed += int((scores.means("kl")[some] <= rule.max_kl).sum())
    return scores


def gap_reasons(
    scores: GridScores, *, rule: SelectionRule, top: int = TOP
) -> tuple[str, ...]:
    """Why a candidate falls without all of its scores, and which it lacks.

    Nothing for those that have all, which the rule judges by them.

    Args:
        scores: The scores.
        rule: What was asked of candidates.
        top: How many of the best were wanted.
    """
    rows = range(len(scores.places))
    return tuple(_gap(scores, row, rule, top) for row in rows)


def _gap(scores: GridScores, row: int, rule: SelectionRule, top: int) -> str:
    lacks = scores.lacks(row)
    if not lacks:
        return ""
    induce, bypass = (float(scores.means(score)[row]) for score in ("induce", "bypass"))
    if scores.places[row][1] >= rule.first_late_layer:
        why = rule.late_in_words()
    elif induce < rule.min_induce:
        why = NOT_INDUCED
    elif rule.max_bypass is not None and bypass >= rule.max_bypass:
        why = NOT_LOWERED
    elif lacks == ("kl",) and np.isfinite([induce, bypass]).all():
        why = f"{top} with a lower bypass passed"
    else:
        # A score that is not a number rules it out, which the rule says itself.
        return ""
    return f"{why}; {', '.join(WORDS[score] for score in lacks)} {NOT_COMPUTED}"


def _with(
    scores: GridScores, score: Score, rows: Iterable[int], scorers: Scorers
) -> GridScores:
    at = SCORES.index(score)
    new = [row for row in rows if not scores.is_scored[at, row]]
    if not new:
        return scores
    values, is_scored = getattr(scores, score).copy(), scores.is_scored.copy()
    values[new] = scorers(score)(new)
    is_scored[at, new] = True
    match score:
        case "bypass":
            return replace(scores, bypass=values, is_scored=is_scored)
        case "induce":
            return replace(scores, induce=values, is_scored=is_scored)
        case "kl":
            return replace(scores, kl=values, is_scored=is_scored)
