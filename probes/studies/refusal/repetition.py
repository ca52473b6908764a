"""How much a text repeats itself: distinct n-grams, and n-grams in a loop.

An edit that breaks a model often shows as an answer that says one thing for ever. Such
an answer is no refusal, whatever it repeats, and no normal answer either.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from interp.errors import ConfigError, DataError
from interp.statistics import Proportion, wilson


# An answer of at least so many words loops if most of its runs of words repeat.
LOOP_WORDS = 12
LOOP_RUN = 3
LOOP_DISTINCT = 0.5
# The same few characters so often in a row loop too, with or without spaces.
STUTTERS = 8
_STUTTER = re.compile(rf"(\S.{{0,29}}?)\1{{{STUTTERS - 1}}}", re.DOTALL)
RUN_LENGTHS = (1, 2, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repetition:
    """How much several answers repeat themselves.

    Attributes:
        n: How many answers.
        distinct: Mean share of different n-grams for n of 1, 2 and 3 words; 1 is
            nothing twice. NaN without answers.
        looping: How many answers loop.
    """

    n: int
    distinct: tuple[float, float, float]
    looping: Proportion


def distinct_n(text: str, *, n: int = LOOP_RUN) -> float:
    """The share of different ones among a text's runs of `n` words.

    Words are what white space separates, with case and punctuation. A text of fewer
    than `n` words repeats nothing and has 1.

    Raises:
        ConfigError: If `n` is below 1.

    Source:
        Li et al. (2016), arXiv:1510.03055 ("distinct-n").

    Example:
        >>> distinct_n("a b c a b c a b c")
        0.42857142857142855
    """
    runs = _runs(text.split(), n)
    return len(set(runs)) / len(runs) if runs else 1.0


def loops(text: str) -> bool:
    """Whether an answer mostly repeats itself, so that it says nothing.

    It does if at most 30 characters stand eight times in a row, or if of at least 12
    words fewer than half of the runs of three are different.

    Example:
        >>> loops("I cannot " * 20), loops("HereHereHereHereHereHereHereHere")
        (True, True)
        >>> loops("I cannot help with that.")
        False
    """
    if _STUTTER.search(text):
        return True
    return len(text.split()) >= LOOP_WORDS and distinct_n(text) < LOOP_DISTINCT


def looping_run(text: str) -> str:
    """What a looping text repeats: the piece, or its most frequent run of three words.

    Returns:
        Nothing if the text does not loop.

    Example:
        >>> looping_run("Well. " + "I cannot " * 20)
        'I cannot'
        >>> looping_run("I cannot help with that.")
        ''
    """
    if found := _STUTTER.search(text):
        return found[1].strip()
    if not loops(text):
        return ""
    counts: dict[tuple[str, ...], int] = {}
    for run in _runs(text.split(), LOOP_RUN):
        counts[run] = counts.get(run, 0) + 1
    return " ".join(max(counts, key=lambda run: counts[run]))


def looping(texts: Sequence[str]) -> Bool[np.ndarray, " example"]:
    """Which of several answers loop.

    Raises:
        DataError: If the answers are no sequence of texts.
    """
    checked = checked_texts(texts)
    return np.fromiter(map(loops, checked), dtype=bool, count=len(checked))


def repetition(texts: Sequence[str]) -> Repetition:
    """How much several answers repeat themselves, with a Wilson interval of the loops.

    Raises:
        DataError: If the answers are no sequence of texts.

    Example:
        >>> found = repetition(["a b a b", "no " * 20])
        >>> found.distinct[0], found.looping.successes
        (0.275, 1)
    """
    checked = checked_texts(texts)
    one, two, three = (
        float(np.mean([distinct_n(text, n=n) for text in checked]))
        if checked
        else float("nan")
        for n in RUN_LENGTHS
    )
    return Repetition(
        n=len(checked),
        distinct=(one, two, three),
        looping=wilson(int(looping(checked).sum()), len(checked)),
    )


def checked_texts(texts: Sequence[object]) -> tuple[str, ...]:
    """The texts, if they are a sequence of texts.

    Raises:
        DataError: If one text was given where several belong, or something is no text.
    """
    if isinstance(texts, str):
        raise DataError(
            "One text was given where several belong.",
            remedy="Put it into a list.",
        )
    held: list[str] = []
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(
                f"Answer {index} is {text!r:.40}.",
                expected="Every answer is a text; an empty one is allowed.",
                remedy="Leave out the rows without an answer.",
            )
        held.append(text)
    return tuple(held)


def _runs(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    if n < 1:
        raise ConfigError(f"n is {n}.", expected="Runs have at least one word.")
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
