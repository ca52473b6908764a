"""What a sweep keeps of single examples, so that a large one stays small on disk."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int32


# Held-out scores of all probes and examples, in numbers of four bytes.
MOST_SCORES = 4_000_000
# Letters of all texts, and of one: enough to know an example by.
MOST_LETTERS, MOST_OF_ONE = 4_000_000, 500


def kept_scores(
    aurocs: Float[np.ndarray, " probe"],
    chosen: Int32[np.ndarray, " fold"],
    n_examples: int,
    notes: list[str],
) -> Int32[np.ndarray, " scored"]:
    """The probes whose single scores are kept: all, or the best that there is room for.

    Those that a fold has chosen are always among them.

    Args:
        aurocs: Of each probe.
        chosen: The probe that each fold chose.
        n_examples: How many examples have a score.
        notes: Gets a sentence about what is left out.

    Example:
        >>> kept_scores(np.array([0.5, 0.9]), np.array([1], np.int32), 10, []).tolist()
        [0, 1]
    """
    room = max(1, MOST_SCORES // max(1, n_examples))
    if len(aurocs) <= room:
        return np.arange(len(aurocs), dtype=np.int32)
    needed = np.unique(chosen)
    best = np.argsort(-aurocs, kind="stable")
    others = best[~np.isin(best, needed)]
    kept = np.concatenate((needed, others[: max(1, room - len(needed))]))
    notes.append(
        f"The scores of single examples are kept for {len(kept)} of {len(aurocs)} "
        f"probes, the best ones: a result keeps {MOST_SCORES:,} of them at most."
    )
    return np.sort(kept).astype(np.int32)


def kept_texts(
    texts: Sequence[str], n_examples: int, notes: list[str]
) -> tuple[str, ...]:
    """The texts of the examples, long ones cut; none unless there is one for each.

    Args:
        texts: What is known of them.
        n_examples: How many examples there are.
        notes: Gets a sentence about what is cut.

    Example:
        >>> kept_texts(["a", "b"], 2, []), kept_texts(["a"], 2, [])
        (('a', 'b'), ())
    """
    if len(texts) != n_examples:
        return ()
    longest = max(1, min(MOST_OF_ONE, MOST_LETTERS // n_examples))
    cut = sum(len(text) > longest for text in texts)
    if cut:
        notes.append(
            f"{cut} of {n_examples} texts are kept up to their letter {longest}."
        )
    return tuple(
        text if len(text) <= longest else f"{text[:longest]}…" for text in texts
    )
