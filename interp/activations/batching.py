"""Ragged prompts in batches of similar length, under a budget of tokens.

Prompts are sorted by length, so that little is padded; padding goes to the right, where
it changes nothing in a causal model. The longest come first: what does not fit into
memory shows at once.
"""

import logging
from collections.abc import Callable, Sequence

import torch

from interp.errors import OutOfMemoryError


logger = logging.getLogger("interp.activations")

# A batch is closed when its padding exceeds this share of its real tokens ...
MAX_PADDING = 0.04
# ... and these tokens: another forward pass has costs of its own, about as high.
FREE_PADDING = 16

# Signs of memory that ran out, in errors that have no type of their own.
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def plan_batches(
    lengths: Sequence[int], *, token_budget: int, rows: Sequence[int] | None = None
) -> list[tuple[int, ...]]:
    """The rows of each batch: together all rows once, longest prompts first.

    Args:
        lengths: How many tokens each prompt has.
        token_budget: The most tokens, padding included, that a batch may have; a prompt
            longer than that gets a batch of its own.
        rows: Which prompts; all of them by default.

    Example:
        >>> plan_batches([3, 9, 4, 8], token_budget=18)
        [(1, 3), (2, 0)]
    """
    rows = range(len(lengths)) if rows is None else rows
    ordered = sorted(rows, key=lambda row: -lengths[row])
    batches: list[tuple[int, ...]] = []
    batch: list[int] = []
    longest = real = 0
    for row in ordered:
        length = lengths[row]
        computed = (len(batch) + 1) * longest
        padding = computed - real - length
        is_wasteful = padding > max(FREE_PADDING, MAX_PADDING * real)
        if batch and (computed > token_budget or is_wasteful):
            batches.append(tuple(batch))
            batch, real = [], 0
        if not batch:
            longest = length
        batch.append(row)
        real += length
    return [*batches, tuple(batch)] if batch else batches


def padding_waste(lengths: Sequence[int], batches: Sequence[Sequence[int]]) -> float:
    """Tokens computed over real tokens: 1 where nothing is padded.

    Example:
        >>> padding_waste([3, 9, 4, 8], [(1, 3), (2, 0)])
        1.0833333333333333
    """
    computed = sum(len(rows) * max(lengths[row] for row in rows) for rows in batches)
    return computed / sum(lengths)


def run_batches(
    lengths: Sequence[int],
    step: Callable[[tuple[int, ...]], None],
    *,
    token_budget: int,
) -> int:
    """Do `step` once for every batch, with smaller batches when memory runs out.

    Args:
        lengths: How many tokens each prompt has.
        step: Runs the rows of one batch. It is called again with some of the same rows
            if it ran out of memory.
        token_budget: Where to begin.

    Returns:
        The token budget with which everything fitted.

    Raises:
        OutOfMemoryError: If a single prompt does not fit.
    """
    waiting = plan_batches(lengths, token_budget=token_budget)
    waiting.reverse()
    has_warned = False
    while waiting:
        rows = waiting.pop()
        failure = _attempt(step, rows)
        if failure is None:
            continue
        tokens = len(rows) * max(lengths[row] for row in rows)
        if len(rows) == 1:
            raise OutOfMemoryError(
                f"Prompt {rows[0]} with {tokens} tokens does not fit into memory:"
                f" {failure}.",
                expected="A batch holds at least one prompt.",
                remedy="Shorten it, name fewer sites or positions, or use a smaller"
                " dtype.",
            )
        token_budget = max(1, tokens // 2)
        log = logger.info if has_warned else logger.warning
        log("out of memory at %d tokens a batch: now %d", tokens, token_budget)
        has_warned = True
        remaining = [*rows, *(row for batch in reversed(waiting) for row in batch)]
        waiting = plan_batches(lengths, token_budget=token_budget, rows=remaining)
        waiting.reverse()
    return token_budget


def _attempt(
    step: Callable[[tuple[int, ...]], None], rows: tuple[int, ...]
) -> str | None:
    """What was said when memory ran out, or None.

    A function of its own: on return the error is gone, and with it the frames that keep
    the failed batch's tensors alive.
    """
    try:
        step(rows)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return (str(error).splitlines() or ["out of memory"])[0].rstrip(".")
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on any device."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    if isinstance(error, MemoryError):
        return not isinstance(error, OutOfMemoryError)
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(s in text for s in _OUT_OF_MEMORY)
