"""P-values of several probes from a statistic and its null. Knows no torch."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


# Equal AUROCs differ by rounding only.
TIE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PValues:
    """P-values of several probes.

    Attributes:
        each: How often a shuffle does as well as the observed labels.
        corrected: How often the best probe of a shuffle does.
    """

    each: Float[np.ndarray, " probe"]
    corrected: Float[np.ndarray, " probe"]


def permutation_p_values(
    null: Float[np.ndarray, "shuffle_and_one probe"],
) -> PValues:
    """P-values from the statistic of the observed labels, in row 0, and of shuffles.

    Args:
        null: The statistics; larger is more extreme.

    Source:
        Phipson & Smyth (2010); Westfall & Young (1993) for the correction.

    Example:
        >>> found = permutation_p_values(np.array([[0.9], [0.5], [0.4], [0.6]]))
        >>> found.each.tolist(), found.corrected.tolist()
        ([0.25], [0.25])
    """
    observed = null[0] - TIE
    return PValues(
        each=(null >= observed).mean(0),
        corrected=(null.max(1)[:, None] >= observed).mean(0),
    )


def holm(p: Float[np.ndarray, " probe"]) -> Float[np.ndarray, " probe"]:
    """P-values corrected for how many they are, however they depend on each other.

    Args:
        p: One for each test; NaN where none was made, which counts as none.

    Source:
        Holm (1979), "A Simple Sequentially Rejective Multiple Test Procedure".

    Example:
        >>> holm(np.array([0.01, 0.04, 0.03])).round(2).tolist()
        [0.03, 0.06, 0.06]
    """
    there = np.flatnonzero(np.isfinite(p))
    order = there[np.argsort(p[there], kind="stable")]
    steps = p[order] * np.arange(order.size, 0, -1)
    found = np.full(p.shape, np.nan)
    found[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return found
