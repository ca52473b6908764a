"""Statements with their negations: which belong together, and which are negated.

A statement is the negation of another one if it has the same words but for a "not" (and
what "not" does to the verb: "has", "does not have") and the other label.
"""

import re
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int

from interp.data import Statements


_NOT = re.compile(r"\b(?:not|never|cannot)\b|n['’]t\b", re.IGNORECASE)
# What negating a sentence adds, beside "not" itself.
_ADDED = {"not", "never", "do", "does", "did"}
_IRREGULAR = {"has": "have", "cannot": "can", "went": "go", "became": "become"}
_ENDING = re.compile(r"(?:ied|ies|ed|es|s|d|e|y)$")
SHORTEST_STEM = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Negation:
    """What is known of negation in some statements.

    Attributes:
        affirmative: Which are not negated; None if nothing says so.
        pairs: Rows of statements and of their negations.
        alone: Rows without a partner; none if there are no pairs at all.
    """

    affirmative: Bool[np.ndarray, " example"] | None
    pairs: Int[np.ndarray, "pair 2"]
    alone: Int[np.ndarray, " row"]


def negation_of(statements: Statements) -> Negation:
    """Which statements are negated, and of which others.

    The polarity is that of the data if it has one; else, if there are statements with
    their negations, the negated ones are those with a "not".
    """
    has_not = np.array([bool(_NOT.search(text)) for text in statements.prompts])
    pairs = _pairs(statements, has_not)
    alone = np.setdiff1d(np.arange(len(has_not) if len(pairs) else 0), pairs)
    affirmative = ~has_not if len(pairs) else None
    if statements.polarity is not None:
        affirmative = statements.polarity > 0
    return Negation(affirmative=affirmative, pairs=pairs, alone=alone)


def with_negations_together(statements: Statements) -> Statements:
    """The statements, a statement and its negation always in one group.

    Groups that come from the words before the verb may tell "protects" from "does not
    protect", and then one of the two would be tested with the other one in training.
    """
    parent = {group: group for group in statements.groups}

    def root(group: str) -> str:
        while parent[group] != group:
            group = parent[group]
        return group

    for first, second in negation_of(statements).pairs:
        one, other = (root(statements.groups[row]) for row in (first, second))
        parent[other] = one
    return replace(statements, groups=tuple(root(g) for g in statements.groups))


def content(statement: str) -> tuple[str, ...]:
    """The words of a statement without negation and without what it does to verbs.

    Example:
        >>> content("Tin has the symbol Sn.") == content(
        ...     "Tin does not have the symbol Sn.")
        True
        >>> content("It lived here.") == content("It didn't live there.")
        False
    """
    text = re.sub(r"n['’]t\b", " not", statement.lower())
    words: list[str] = re.findall(r"\w+", text)
    kept = (_IRREGULAR.get(word, word) for word in words if word not in _ADDED)
    return tuple(_stem(word) for word in kept)


def _stem(word: str) -> str:
    # Until nothing changes: "holds" loses an s, and then "hold" and it a d.
    short = _ENDING.sub("", word)
    while short != word and len(short) >= SHORTEST_STEM:
        word, short = short, _ENDING.sub("", short)
    return word


def _pairs(statements: Statements, has_not: np.ndarray) -> Int[np.ndarray, "pair 2"]:
    waiting: dict[tuple[tuple[str, ...], bool], list[int]] = {}
    for row in np.flatnonzero(~has_not):
        key = (content(statements.prompts[row]), bool(statements.labels[row]))
        waiting.setdefault(key, []).append(int(row))
    found = []
    for row in np.flatnonzero(has_not):
        key = (content(statements.prompts[row]), not statements.labels[row])
        if rows := waiting.get(key):
            found.append((rows.pop(0), int(row)))
    return np.array(found, dtype=np.int64).reshape(-1, 2)
