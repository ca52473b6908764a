"""Logistic, exponential and straight curves through many series at once.

Every model is linear but for one or two shape parameters. Those are searched on a grid,
then on finer grids around the best point of each series; level and height follow by
least squares in closed form. No gradient, no starting values, no failure to converge.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


N_MIDPOINTS, N_WIDTHS = 64, 24
REFINEMENTS, FINER_POINTS = 7, 7
# Bounds the memory of a refinement: rows x grid x checkpoints.
ITEMS_PER_BLOCK = 4_000_000
# ln(0.9 / 0.1): from the middle of a logistic curve to nine tenths of the way.
TO_NINE_TENTHS = float(np.log(9.0))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LogisticFits:
    """`start + (end - start) / (1 + exp(-(x - midpoint) / spread))`, one per series.

    Attributes:
        midpoint: Where half of the way is done.
        spread: How slowly; from a tenth to nine tenths it takes 4.39 spreads.
        start: The level far before.
        end: The level far after.
        error: The sum of squared residuals.
    """

    midpoint: Float[np.ndarray, " row"]
    spread: Float[np.ndarray, " row"]
    start: Float[np.ndarray, " row"]
    end: Float[np.ndarray, " row"]
    error: Float[np.ndarray, " row"]


def fit_logistic(
    x: Float[np.ndarray, " checkpoint"], y: Float[np.ndarray, "row checkpoint"]
) -> LogisticFits:
    """The logistic curve of least squares through each row.

    The midpoint lies between the first and the last checkpoint, and the way from a
    tenth to nine tenths fits between them: what is wider is no change within them.

    Args:
        x: Where each checkpoint lies, rising.
        y: The series.

    Example:
        >>> x = np.linspace(0.0, 10.0, 41)
        >>> found = fit_logistic(x, 1 / (1 + np.exp(-(x[None] - 4.0) / 0.5)))
        >>> round(float(found.midpoint[0]), 3), round(float(found.spread[0]), 3)
        (4.0, 0.5)
    """
    reach = x[-1] - x[0]
    midpoints = np.linspace(x[0], x[-1], N_MIDPOINTS)
    widest = reach / (2 * TO_NINE_TENTHS)
    # Narrower than this all curves between two checkpoints look the same.
    narrowest = min(np.diff(x).min() / 8, widest / 2)
    spreads = np.geomspace(narrowest, widest, N_WIDTHS)
    middle, spread = (grid.ravel() for grid in np.meshgrid(midpoints, spreads))
    gains = _gains(_curve(x, middle, spread), y)
    best = gains.argmax(axis=1)
    middle, spread = middle[best], spread[best]
    step, factor = midpoints[1] - midpoints[0], spreads[1] / spreads[0]
    block = max(1, ITEMS_PER_BLOCK // (FINER_POINTS**2 * len(x)))
    for start in range(0, len(y), block):
        rows = slice(start, start + block)
        middle[rows], spread[rows] = _refined(
            x,
            y[rows],
            (middle[rows], spread[rows]),
            (step, factor),
            bounds=(narrowest, widest),
        )
    shape = _curve(x, middle, spread)
    height, level, error = _least_squares(shape, y)
    return LogisticFits(
        midpoint=middle, spread=spread, start=level, end=level + height, error=error
    )


def line_error(
    x: Float[np.ndarray, " checkpoint"], y: Float[np.ndarray, "row checkpoint"]
) -> Float[np.ndarray, " row"]:
    """The squared residuals of the best straight line through each row."""
    return _least_squares(np.broadcast_to(x, y.shape), y)[2]


def exponential_error(
    x: Float[np.ndarray, " checkpoint"], y: Float[np.ndarray, "row checkpoint"]
) -> Float[np.ndarray, " row"]:
    """The squared residuals of the best single exponential, rising or decaying."""
    reach = x[-1] - x[0]
    rates = np.geomspace(1 / (20 * reach), 4 / np.diff(x).min(), 400)
    # Measured from the end where it is largest, so that nothing overflows.
    distances = np.stack([x - x[0], x[-1] - x])
    shapes = np.exp(-rates[:, None, None] * distances).reshape(-1, len(x))
    return np.square(_centred(y)).sum(axis=1) - _gains(shapes, y).max(axis=1)


def bic(
    error: Float[np.ndarray, " row"], total: Float[np.ndarray, " row"], n: int, k: int
) -> Float[np.ndarray, " row"]:
    """Bayesian information criterion of Gaussian residuals; lower is better.

    Args:
        error: The sum of squared residuals.
        total: The sum of squares around the mean: errors below a billionth of it are
            rounding, and no reason to prefer a model.
        n: How many points.
        k: How many parameters, the variance not counted.
    """
    floor = np.maximum(1e-9 * total, np.finfo(float).tiny)
    return n * np.log(np.maximum(error, floor) / n) + (k + 1) * np.log(n)


def _refined(
    x: np.ndarray,
    y: np.ndarray,
    at: tuple[np.ndarray, np.ndarray],
    spacing: tuple[float, float],
    *,
    bounds: tuple[float, float],
) -> tuple[np.ndarray, np.ndarray]:
    """Search each row on ever finer grids around its own best point."""
    (middle, spread), (step, factor) = at, spacing
    offsets = np.linspace(-1, 1, FINER_POINTS)
    rows = np.arange(len(y))
    for _ in range(REFINEMENTS):
        middles = np.clip(middle[:, None] + step * offsets, x[0], x[-1])
        spreads = np.clip(spread[:, None] * factor**offsets, *bounds)
        grid_m = np.repeat(middles, FINER_POINTS, axis=1)
        grid_s = np.tile(spreads, (1, FINER_POINTS))
        shape = _centred(_curve(x, grid_m, grid_s))
        gain = np.einsum("rgt,rt->rg", shape, _centred(y)) ** 2
        gain /= np.maximum(np.square(shape).sum(axis=-1), np.finfo(float).tiny)
        best = gain.argmax(axis=1)
        middle, spread = grid_m[rows, best], grid_s[rows, best]
        step, factor = step / 3, factor ** (1 / 3)
    return middle, spread


def _curve(x: np.ndarray, middle: np.ndarray, spread: np.ndarray) -> np.ndarray:
    z = (x - middle[..., None]) / spread[..., None]
    return 1 / (1 + np.exp(-np.clip(z, -60, 60)))


def _centred(values: np.ndarray) -> np.ndarray:
    return values - values.mean(axis=-1, keepdims=True)


def _gains(shapes: np.ndarray, y: np.ndarray) -> np.ndarray:
    """By how much each shape, with level and height free, lowers the squared error."""
    shapes = _centred(shapes)
    norm = np.sqrt(np.square(shapes).sum(axis=-1, keepdims=True))
    # A shape that is flat on all checkpoints explains nothing.
    flat = norm < 1e-9
    return np.square(
        _centred(y) @ np.where(flat, 0.0, shapes / np.where(flat, 1, norm)).T
    )


def _least_squares(
    shape: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Height, level and squared error of `level + height * shape`, row by row."""
    centred, rest = _centred(shape), _centred(y)
    square = np.maximum(np.square(centred).sum(axis=1), np.finfo(float).tiny)
    height = (centred * rest).sum(axis=1) / square
    level = y.mean(axis=1) - height * shape.mean(axis=1)
    error = np.square(rest - height[:, None] * centred).sum(axis=1)
    return height, level, error
