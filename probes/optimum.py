"""Optima of logistic regressions: which sites and fits together, in what arithmetic.

Each site is centred (the intercept makes up for it), solved in float32 and certified in
float64 on the rows as they were given; what is above the tolerance is continued in
float64.
"""

import warnings
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from probes.basis import Basis, plain, rotated
from probes.certificate import certify
from probes.linear import LinearProbe
from probes.newton import Problems, solve


# From one fit per so many features on, a shared decomposition costs less than it saves.
FEATURES_PER_ROTATION = 100
# Wider products fall out of a CPU's cache, and one site fills it.
FITS_AT_ONCE = {"cpu": 64}
FITS_AT_ONCE_ELSEWHERE = 2048
SHARE_OF_MEMORY = 0.3
# Rows in float32 and float64, their rotation, and the states of the solver.
COPIES_OF_ROWS, STATES_OF_FITS, BYTES = 6, 16, 4
# float32 aims below the tolerance, so that its own rounding stays inside it.
SHARE_OF_TOLERANCE = 0.25


class NotConvergedWarning(UserWarning):
    """Fits that ended above their tolerance; the probe says which, and by how much."""


def optimise(
    rows: Float[Tensor, "site example d_model"],
    signs: Float[Tensor, "site fit example"],
    costs: Float[Tensor, "site fit example"],
    *,
    tolerance: float,
) -> LinearProbe:
    """The optimum of every fit of every site, with its certificate.

    Args:
        rows: The activations.
        signs: +1 for positive, -1 for negative examples.
        costs: C times the weight of each example.
        tolerance: The duality gap to reach, as a share of the objective.

    Returns:
        Probes with the axes site and fit, in the dtype of `rows`.
    """
    parts = [
        _of_sites(rows[at], signs[at], costs[at], tolerance)
        for at in _chunks(rows, signs.shape[1])
    ]
    gap = torch.cat([gap for _, gap in parts])
    point = torch.cat([point for point, _ in parts])
    failed = ~(gap <= tolerance)
    if failed.any():
        warnings.warn(
            f"{int(failed.sum())} of {gap.numel()} logistic fits ended above the"
            f" tolerance {tolerance:g} (worst: {gap.max():.1g}); probe.converged says"
            " which. Scale the activations, or lower c.",
            NotConvergedWarning,
            stacklevel=3,
        )
    return LinearProbe(
        weights=point[..., :-1], intercept=point[..., -1], converged=~failed, gap=gap
    )


def _of_sites(
    rows: Tensor, signs: Tensor, costs: Tensor, tolerance: float
) -> tuple[Tensor, Tensor]:
    """Weights with intercept, and gaps, of a few sites."""
    # Any shift is exact, so the rounding of the mean does not matter.
    centre = rows.mean(1, keepdim=True)
    n_sites, n_fits = signs.shape[:2]
    point = rows.new_zeros(n_sites, n_fits, rows.shape[2] + 1, dtype=torch.float64)
    gap = torch.full_like(point[..., 0], torch.inf)
    exact = plain(rows.double() - centre.double())
    for dtype in (torch.float32, torch.float64):
        wanted = (~(gap <= tolerance)).any(0).nonzero()[:, 0]
        if not len(wanted):
            break
        shared = len(wanted) >= max(2, min(rows.shape[1:]) / FEATURES_PER_ROTATION)
        centred = (
            exact.features[..., :-1]
            if dtype == torch.float64
            else ((rows - centre).to(dtype))
        )
        basis = rotated(centred) if shared else plain(centred)
        # Fits of like penalties are done after like numbers of steps.
        order = costs[:, wanted].amax((0, 2)).argsort()
        width = _fits_at_once(rows) if shared else 1
        for at in wanted[order].split(width):
            found = _solved(basis, point[:, at], signs[:, at], costs[:, at], tolerance)
            proof = certify(_problems(exact, signs[:, at], costs[:, at]), found)
            better = ~(gap[:, at] <= proof.gap)
            point[:, at] = torch.where(better[..., None], proof.point, point[:, at])
            gap[:, at] = torch.where(better, proof.gap, gap[:, at])
    shift = torch.matmul(point[..., :-1], centre.double().mT)[..., 0]
    point[..., -1] -= shift
    return point.to(rows.dtype), gap.to(rows.dtype)


def _solved(
    basis: Basis, start: Tensor, signs: Tensor, costs: Tensor, tolerance: float
) -> Tensor:
    """Weights with intercept that solve the problems in the arithmetic of a basis."""
    at = basis.point(start.to(basis.features.dtype))
    gap = SHARE_OF_TOLERANCE * tolerance
    found = solve(_problems(basis, signs, costs), at, gap=gap).point
    weights = basis.weights(found).double()
    # Overflow in float32 leaves nothing to continue from.
    usable = torch.isfinite(weights).all(-1, keepdim=True)
    return torch.where(usable, weights, torch.zeros_like(weights))


def _problems(basis: Basis, signs: Tensor, costs: Tensor) -> Problems:
    dtype = basis.features.dtype
    return Problems(
        features=basis.features,
        signs=signs.to(dtype),
        costs=costs.to(dtype),
        ridge=basis.ridge,
    )


def _fits_at_once(rows: Tensor) -> int:
    return FITS_AT_ONCE.get(rows.device.type, FITS_AT_ONCE_ELSEWHERE)


def _chunks(rows: Tensor, n_fits: int) -> Iterator[slice]:
    """Which sites are solved together: on a CPU one, elsewhere what memory holds."""
    size = 1
    if rows.device.type == "cuda":
        fits = min(n_fits, _fits_at_once(rows))
        values = rows[0].numel() * COPIES_OF_ROWS
        values += fits * sum(rows.shape[1:]) * STATES_OF_FITS
        free = torch.cuda.mem_get_info(rows.device)[0]
        size = max(1, int(SHARE_OF_MEMORY * free / (BYTES * values)))
    for start in range(0, len(rows), size):
        yield slice(start, start + size)
