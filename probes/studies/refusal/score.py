"""How much a model is about to refuse: the odds of a refusal's first token."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from interp.errors import DataError


# Inside both logarithms; bounds the score at +-18.42.
EPSILON = 1e-8
# Inside both logarithms of a divergence.
KL_EPSILON = 1e-6
# A sum of probabilities in half precision is above 1 by no more.
ROUNDING = 1e-2
# A token belongs to refusals if harmful instructions make it likelier by at least this.
LEAST_RISE = 0.02
MOST_TOKENS = 8
ENOUGH = 0.9
# The two distributions of first tokens must differ by this share of their mass.
LEAST_DIFFERENCE = 0.1


def refusal_score(
    chance: Float[np.ndarray, "..."] | Sequence[float] | float,
) -> Float[np.ndarray, "..."]:
    """The log odds that an answer begins with a refusal, in float64.

    Args:
        chance: Summed probability of the refusal tokens at the first answer position.

    Raises:
        DataError: If a number is no probability; NaN stays NaN.

    Source:
        Arditi et al. (2024), arXiv:2406.11717.

    Example:
        >>> refusal_score([0.5, 1.0]).round(2).tolist()
        [0.0, 18.42]
    """
    held = np.asarray(chance, dtype=np.float64)
    wrong = (held < -ROUNDING) | (held > 1 + ROUNDING)
    if wrong.any():
        raise DataError(
            f"A probability of {held[wrong].flat[0]:.6g} was given.",
            expected="The summed probability of the refusal tokens, from 0 to 1.",
            remedy="Give probabilities, not logits or scores.",
        )
    held = held.clip(0, 1)
    return np.asarray(np.log(held + EPSILON) - np.log(1 - held + EPSILON))


def refusal_tokens(
    harmful: Float[np.ndarray, "example vocab"],
    harmless: Float[np.ndarray, "example vocab"],
) -> tuple[int, ...]:
    """The first tokens that harmful instructions make likelier than harmless ones.

    The strongest are taken until they hold nine tenths of the difference of the two
    mean distributions. There is none if these hardly differ: then the model does not
    treat the two kinds of instruction differently from the first token on.

    Args:
        harmful: Distribution of the first token of the answer to each instruction.
        harmless: The same for harmless instructions.

    Example:
        >>> refusal_tokens(np.array([[0.9, 0.1]]), np.array([[0.1, 0.9]]))
        (0,)
    """
    rise = harmful.astype(np.float64).mean(axis=0) - harmless.mean(axis=0)
    whole = float(rise[rise > 0].sum())
    if whole < LEAST_DIFFERENCE:
        return ()
    order = np.argsort(-rise, kind="stable")[:MOST_TOKENS]
    before = np.cumsum(rise[order]) - rise[order]
    kept = order[(rise[order] >= LEAST_RISE) & (before < ENOUGH * whole)]
    return tuple(int(token) for token in kept)


def chance_of(
    chances: Float[np.ndarray, "example vocab"], tokens: Sequence[int]
) -> Float[np.ndarray, " example"]:
    """The summed probability of some tokens."""
    return chances[:, list(tokens)].astype(np.float64).sum(axis=1)


def divergence(
    clean: Float[np.ndarray, "example vocab"],
    edited: Float[np.ndarray, "example vocab"],
) -> Float[np.ndarray, " example"]:
    """How far an edited distribution is from the clean one (Kullback-Leibler, nats).

    Example:
        >>> chances = np.array([[0.5, 0.5]])
        >>> divergence(chances, chances).tolist()
        [0.0]
    """
    clean, edited = clean.astype(np.float64), edited.astype(np.float64)
    ratio = np.log(clean + KL_EPSILON) - np.log(edited + KL_EPSILON)
    return (clean * ratio).sum(axis=1)
