"""What heads attend to in one sequence, kept at every checkpoint of a series.

Which heads will be the high ones is known behind the last checkpoint only. So the part
of each checkpoint keeps all heads, on as many tokens as its budget allows, and of these
the result takes the highest heads, as many as its own budget allows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float16

from interp.heads.scoring import KEPT_TOKENS
from interp.heads.sequences import RepeatedTokens
from interp.results.heads import HeadScores


# Of one checkpoint: less than a thousandth of the weights of a model that needs it.
PART_BYTES = 4 * 2**20
# Of a result: what a page reads in a moment.
RESULT_BYTES = 16 * 2**20
# Attention is 0 to 1, where half precision is off by 2^-12 at most.
VALUE_BYTES = np.dtype(np.float16).itemsize


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownSequence:
    """The sequence whose patterns are kept, and of which heads.

    Attributes:
        heads: The heads, as `L1H0`.
        ids: The tokens, as far as they are kept.
        words: The same as text.
        start: How many tokens stand before the first block.
        period: After how many tokens it repeats.
    """

    heads: tuple[str, ...]
    ids: tuple[int, ...]
    words: tuple[str, ...]
    start: int
    period: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KeptPatterns:
    """What heads attend to in one sequence at one checkpoint."""

    shown: ShownSequence
    values: Float16[np.ndarray, "head query key"]


def kept_tokens(n_heads: int, n_tokens: int) -> int:
    """How many tokens of a sequence are kept, of so many heads in all layers.

    Example:
        >>> kept_tokens(48, 128), kept_tokens(1024, 128), kept_tokens(48, 20)
        (64, 45, 20)
    """
    room = math.isqrt(PART_BYTES // (VALUE_BYTES * max(n_heads, 1)))
    return min(KEPT_TOKENS, n_tokens, room)


def part_bytes(n_heads: int, n_tokens: int) -> int:
    """What the patterns of so many heads take at one checkpoint.

    Example:
        >>> part_bytes(48, 128) == 48 * 64 * 64 * 2
        True
    """
    return n_heads * kept_tokens(n_heads, n_tokens) ** 2 * VALUE_BYTES


def kept_patterns(scores: HeadScores, sequences: RepeatedTokens) -> KeptPatterns | None:
    """What is kept of one checkpoint; None if no head has a pattern.

    Args:
        scores: Of the sequences, with the patterns of all heads.
        sequences: What was scored.
    """
    if not scores.pattern_heads:
        return None
    row, n_heads = scores.pattern_sequence, scores.mean[0].size
    size = kept_tokens(n_heads, scores.patterns.shape[-1])
    shown = ShownSequence(
        heads=scores.pattern_heads,
        ids=tuple(sequences.ids[row, :size].tolist()),
        words=scores.pattern_tokens[:size],
        start=int(scores.has_bos),
        period=int(sequences.periods[row]),
    )
    values = scores.patterns[:, :size, :size].astype(np.float16)
    return KeptPatterns(shown=shown, values=values)


def heads_to_show(
    mean: Float[np.ndarray, "metric checkpoint layer head"],
    having: Sequence[str],
    *,
    n_tokens: int,
) -> tuple[str, ...]:
    """The heads whose patterns a timeline keeps, as many as 16 MiB hold; at least one.

    By turns, for each metric: the head that is highest at the last checkpoint, the one
    that is ever highest, the second of each, and so on.

    Args:
        mean: All metrics of all heads.
        having: The heads whose patterns are there, as `L1H0`.
        n_tokens: How many tokens of the sequence are kept.

    Returns:
        The heads in the order of layers.
    """
    n_checkpoints, n_heads = mean.shape[1], mean.shape[3]
    values = np.where(np.isfinite(mean), mean, -np.inf)
    orders = [
        np.argsort(-one, axis=None, kind="stable")
        for metric in values
        for one in (metric[-1], metric.max(axis=0))
    ]
    if not orders:
        return ()
    room = RESULT_BYTES // (VALUE_BYTES * n_checkpoints * n_tokens**2)
    there = {name: place for place, name in enumerate(having)}
    found: dict[str, None] = {}
    for place in np.stack(orders, axis=1).ravel().tolist():
        if len(found) >= max(room, 1):
            break
        name = f"L{place // n_heads}H{place % n_heads}"
        if name in there:
            found[name] = None
    return tuple(sorted(found, key=there.__getitem__))
