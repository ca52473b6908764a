"""Values of a summary that JSON can hold."""

import math
from typing import SupportsFloat


Value = float | int | str | None | list["Value"] | dict[str, "Value"]


def interval(
    estimate: SupportsFloat, low: SupportsFloat, high: SupportsFloat
) -> list[Value]:
    """`[estimate, low, high]`; what is not defined is None."""
    return [number(estimate), number(low), number(high)]


def number(value: SupportsFloat) -> float | None:
    """A number with six digits behind the point, or None if it is not finite."""
    held = float(value)
    return round(held, 6) if math.isfinite(held) else None
