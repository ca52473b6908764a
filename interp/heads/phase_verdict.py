"""Whether a curve has a phase change: what speaks for a logistic curve, and a plateau.

A logistic curve has to describe the curve better than a straight line and a single
exponential, and what came before has to be flat.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from interp.heads.phase_fits import (
    TO_NINE_TENTHS,
    LogisticFits,
    bic,
    exponential_error,
    line_error,
)
from interp.results.timeline_rows import Verdict


# A difference of six is called strong evidence (Kass & Raftery 1995).
BIC_MARGIN = 6.0
# Above this share of the steepest slope what came before was no plateau.
MAX_PLATEAU_SLOPE = 0.25
MIN_BEFORE = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """What speaks for a transition, for each draw; the first row is the estimate."""

    logistic: Float[np.ndarray, " row"]
    line: Float[np.ndarray, " row"]
    exponential: Float[np.ndarray, " row"]
    plateau_slope: Float[np.ndarray, " row"]
    is_better: Bool[np.ndarray, " row"]
    has_before: Bool[np.ndarray, " row"]
    has_after: Bool[np.ndarray, " row"]
    holds: Bool[np.ndarray, " row"]


def judge(
    x: Float[np.ndarray, " checkpoint"],
    y: Float[np.ndarray, "row checkpoint"],
    fits: LogisticFits,
) -> Judged:
    """What speaks for a transition of each curve.

    Args:
        x: Where each checkpoint lies.
        y: The curves.
        fits: A logistic curve for each.
    """
    n, total = len(x), np.square(y - y.mean(axis=1, keepdims=True)).sum(axis=1)
    logistic = bic(fits.error, total, n, 4)
    line = bic(line_error(x, y), total, n, 2)
    exponential = bic(exponential_error(x, y), total, n, 3)
    reach = TO_NINE_TENTHS * fits.spread
    before = x[None] <= (fits.midpoint - reach)[:, None]
    slope = _slopes(x, y, before)
    steepest_slope = (fits.end - fits.start) / (4 * fits.spread)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.abs(slope / steepest_slope)
    is_better = logistic + BIC_MARGIN < np.minimum(line, exponential)
    has_before = before.sum(axis=1) >= MIN_BEFORE
    has_after = (fits.midpoint + reach) <= x[-1]
    with np.errstate(invalid="ignore"):
        holds = is_better & has_before & has_after & (ratio < MAX_PLATEAU_SLOPE)
    return Judged(
        logistic=logistic,
        line=line,
        exponential=exponential,
        plateau_slope=ratio,
        is_better=is_better,
        has_before=has_before,
        has_after=has_after,
        holds=holds,
    )


def verdict_of(judged: Judged) -> tuple[Verdict, str]:
    """The verdict on the first curve, and its reason.

    Args:
        judged: What speaks for a transition.
    """
    if not judged.is_better[0]:
        simpler = "a straight line"
        if judged.exponential[0] < judged.line[0]:
            simpler = "a single exponential"
        return "no transition", f"{simpler} describes the curve as well"
    if not judged.has_before[0]:
        return "undetermined", (
            "no two checkpoints lie before the change: it may be older than the series"
        )
    if not judged.has_after[0]:
        return "undetermined", "the change is not over at the last checkpoint"
    if not judged.holds[0]:
        return "no transition", (
            f"there is no plateau before: the slope there is "
            f"{judged.plateau_slope[0]:.2f} of the steepest"
        )
    return "transition", "flat before, and a logistic curve describes it best"


def _slopes(x: np.ndarray, y: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """The least-squares slope of each row over its chosen points."""
    count = np.maximum(chosen.sum(axis=1, keepdims=True), 1)
    at = np.where(chosen, x - (chosen * x).sum(axis=1, keepdims=True) / count, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (at * y).sum(axis=1) / np.square(at).sum(axis=1)
