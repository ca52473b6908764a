"""How often something happened, where every trial stands by itself."""

import math
from statistics import NormalDist

from interp.errors import ShapeError
from interp.statistics.values import LEVEL, Proportion


def wilson(successes: int, n: int, *, level: float = LEVEL) -> Proportion:
    """A proportion with its Wilson score interval, sound also at 0 and at `n`.

    Args:
        successes: How many of the `n` happened.
        n: How many trials; 0 gives a NaN rate within [0, 1].
        level: Coverage of the interval.

    Raises:
        ShapeError: If `successes` is not between 0 and `n`.

    Source:
        Wilson (1927), "Probable inference".

    Example:
        >>> result = wilson(0, 10)
        >>> result.rate, round(result.high, 3)
        (0.0, 0.278)
    """
    if not 0 <= successes <= n:
        raise ShapeError(f"{successes} of {n} is not a proportion.")
    if n == 0:
        return Proportion(n=0, successes=0, rate=math.nan, low=0.0, high=1.0)
    z = NormalDist().inv_cdf((1 + level) / 2)
    rate = successes / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # At the ends one bound is exact; the formula leaves a rounding error there.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Proportion(n=n, successes=successes, rate=rate, low=low, high=high)
