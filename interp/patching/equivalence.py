"""A test that two maps differ by less than delta in every cell."""

from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.stats import t as student

from interp.results.map_comparison import Equivalence


LEVEL = 0.05


def equivalence(
    cells: Literal["all", "knowledge"],
    difference: Float[np.ndarray, "layer position"],
    draws: Float[np.ndarray, "draw layer position"],
    *,
    delta: float,
    groups: int,
    level: float = LEVEL,
) -> Equivalence:
    """Whether every cell differs by less than delta, by two one-sided tests in each.

    The standard error of a cell is that of its bootstrap draws. That all cells are
    within delta is claimed only if each is shown to be, so the test over all holds its
    level without a correction, and is cautious.

    Args:
        cells: Which cells these are, for the result.
        difference: The observed difference of each cell.
        draws: Its bootstrap draws.
        delta: The difference that would matter.
        groups: How many groups were resampled.
        level: The largest chance of claiming equivalence where there is none.

    Source:
        Schuirmann (1987), two one-sided tests; Berger (1982), intersection-union tests.

    Example:
        >>> draws = np.random.default_rng(0).normal(0, 0.01, size=(500, 1, 1))
        >>> test = equivalence("all", np.zeros((1, 1)), draws, delta=0.1, groups=30)
        >>> test.shown, test.within < 0.02
        (True, True)
    """
    held = np.isfinite(difference)
    if groups < 2 or not held.any():
        nothing = float("nan")
        largest = float(np.abs(difference[held]).max()) if held.any() else nothing
        return Equivalence(
            cells=cells,
            delta=delta,
            largest=largest,
            within=nothing,
            p=nothing,
            level=level,
            shown=False,
        )
    size = np.abs(difference[held])
    values = np.where(np.isfinite(draws), draws, np.nan)[:, held]
    # Bootstrap draws of whole groups have the spread of a mean with n in the place of
    # n - 1.
    error = np.nanstd(values, axis=0) * np.sqrt(groups / (groups - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        p = student.sf((delta - size) / error, groups - 1)
    exact = np.where(size < delta, 0.0, 1.0)
    p = np.where(error > 0, p, exact)
    worst = float(p.max())
    return Equivalence(
        cells=cells,
        delta=delta,
        largest=float(size.max()),
        within=float((size + student.ppf(1 - level, groups - 1) * error).max()),
        p=worst,
        level=level,
        shown=worst <= level,
    )
