"""When a curve crosses a level or is steepest, between the checkpoints."""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float


SCALES: tuple[Literal["linear"], Literal["log"]] = ("linear", "log")


def on_scale(
    steps: Float[np.ndarray, "*shape"], scale: Literal["linear", "log"]
) -> Float[np.ndarray, "*shape"]:
    """Steps as they are, or the logarithm of step + 1, so that step 0 has a place."""
    return np.log1p(steps) if scale == "log" else steps


def to_steps(
    at: Float[np.ndarray, "*shape"] | np.floating, scale: Literal["linear", "log"]
) -> Float[np.ndarray, "*shape"] | np.floating:
    """The inverse of `on_scale`."""
    return np.expm1(at) if scale == "log" else at


def bracket(steps: Float[np.ndarray, " checkpoint"], at: float) -> tuple[float, float]:
    """The checkpoints between which a time lies; NaN for no time.

    Example:
        >>> bracket(np.array([0.0, 100.0, 200.0]), 130.0)
        (100.0, 200.0)
    """
    if np.isnan(at):
        return np.nan, np.nan
    after = int(np.clip(np.searchsorted(steps, at), 1, len(steps) - 1))
    return float(steps[after - 1]), float(steps[after])


def crossing(
    x: Float[np.ndarray, " checkpoint"],
    y: Float[np.ndarray, "row checkpoint"],
    level: Float[np.ndarray, " row"],
    *,
    rising: Bool[np.ndarray, " row"],
) -> Float[np.ndarray, " row"]:
    """Where each row first crosses its level, interpolated; NaN if it never does.

    Args:
        x: Where each checkpoint lies.
        y: The series.
        level: The level of each series.
        rising: Whether to look for a crossing from below, or from above.

    Example:
        >>> y = np.array([[0.0, 0.0, 1.0]])
        >>> x = np.array([0.0, 1.0, 2.0])
        >>> crossing(x, y, np.array([0.25]), rising=np.array([True]))
        array([1.25])
    """
    above = np.where(rising, 1.0, -1.0)[:, None] * (y - level[:, None])
    passes = (above[:, :-1] < 0) & (above[:, 1:] >= 0)
    first = passes.argmax(axis=1)
    rows = np.arange(len(y))
    before, after = above[rows, first], above[rows, first + 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = -before / (after - before)
    found = x[first] + share * (x[first + 1] - x[first])
    return np.where(passes.any(axis=1), found, np.nan)


def steepest(
    x: Float[np.ndarray, " checkpoint"],
    y: Float[np.ndarray, "row checkpoint"],
    *,
    rising: Bool[np.ndarray, " row"],
) -> Float[np.ndarray, " row"]:
    """Where each row is steepest: smoothed over 3 points, refined by a parabola.

    A mean of three neighbours would bend a straight line where the spacing of
    checkpoints changes, so that the smoothing is by `local_lines`. The parabola goes
    through the steepest slope and its two neighbours.

    Args:
        x: Where each checkpoint lies; 4 or more.
        y: The series.
        rising: Whether to look for the steepest rise or the steepest fall.
    """
    smooth = y.copy()
    smooth[:, 1:-1] = local_lines(x, y)
    slope = np.where(rising, 1.0, -1.0)[:, None] * np.diff(smooth) / np.diff(x)
    middle = (x[1:] + x[:-1]) / 2
    top = np.clip(slope.argmax(axis=1), 1, slope.shape[1] - 2)
    rows = np.arange(len(y))
    left, centre, right = middle[top - 1], middle[top], middle[top + 1]
    rise = (slope[rows, top] - slope[rows, top - 1]) / (centre - left)
    fall = (slope[rows, top + 1] - slope[rows, top]) / (right - centre)
    bend = (fall - rise) / (right - left)
    with np.errstate(invalid="ignore", divide="ignore"):
        vertex = (left + centre) / 2 - rise / (2 * bend)
    # At either end the steepest slope may not have a smaller one on both sides.
    is_top = bend < 0
    return np.where(is_top, np.clip(vertex, left, right), middle[slope.argmax(axis=1)])


def local_lines(
    x: Float[np.ndarray, " checkpoint"], y: Float[np.ndarray, "row checkpoint"]
) -> Float[np.ndarray, "row inner"]:
    """Each inner point moved onto the least-squares line through it and its neighbours.

    Where checkpoints are evenly spaced this is the mean of the three.

    Args:
        x: Where each checkpoint lies; 3 or more.
        y: The series.

    Example:
        >>> x = np.array([0.0, 1.0, 3.0])
        >>> bool(np.allclose(local_lines(x, 2 * x[None]), 2.0))
        True
    """
    places = np.lib.stride_tricks.sliding_window_view(x, 3)
    values = np.lib.stride_tricks.sliding_window_view(y, 3, axis=1)
    centred = places - places.mean(axis=1, keepdims=True)
    gain = (centred * values).sum(axis=2) / np.square(centred).sum(axis=1)
    return values.mean(axis=2) + gain * centred[:, 1]
