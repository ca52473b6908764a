"""Optima of logistic regressions: which sites and fits together, in what arithmetic.

Each site is centred (the intercept makes up for it), solved in float32 and certified in
float64 on the rows as they were given; what is above the tolerance is continued in
float64. A single fit of features that are not correlated is first tried by itself.
"""

import warnings
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from probes.alone import solve_alone
from probes.basis import Basis, are_correlated, plain, rotated, triangular
from probes.certificate import certify
from probes.linear import LinearProbe
from probes.newton import Problems, solve


# From one fit per so many features on, a shared decomposition costs less than it saves,
# if the features are correlated or so many more than the examples that it leaves a few.
FEATURES_PER_ROTATION = 100
FEATURES_PER_EXAMPLE = 4
# And many fits of fewer that are not correlated pay for a triangular factor.
LEAST_PER_EXAMPLE = 1.5
# Whether the features of a single fit are correlated is asked of so many examples.
EXAMPLES_PER_SAMPLE, LEAST_SAMPLE, STEPS_ON_SAMPLE = 8, 128, 4
# Wider products fall out of a CPU's cache, and so do more sites than fit there; those
# that do share the cost of calling each operation.
FITS_AT_ONCE = {"cpu": 64}
BYTES_OF_CACHE = 2**23
FITS_AT_ONCE_ELSEWHERE = 2048
SHARE_OF_MEMORY = 0.3
# Rows in float32 and float64, their rotation, and the states of the solver.
COPIES_OF_ROWS, STATES_OF_FITS, BYTES = 6, 16, 4
# float32 aims below the tolerance, so that its own rounding stays inside it. float64
# has the digits to aim far below, and must: the bound that stops the steps takes the
# mean of all examples for that of those that carry the curvature.
SHARE_OF_TOLERANCE = {torch.float32: 0.25, torch.float64: 0.01}


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
    rows = rows.detach()
    parts = [
        _of_sites(rows[at], -signs[at], costs[at], tolerance)
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


# Half of the time of one small fit goes into calling operations, and inference mode
# takes a part of that away; `optimise` joins the results outside of it.
@torch.inference_mode()
def _of_sites(
    rows: Tensor, against: Tensor, costs: Tensor, tolerance: float
) -> tuple[Tensor, Tensor]:
    """Weights with intercept, and gaps, of a few sites."""
    # Any shift is exact, so the rounding of the mean does not matter.
    centre = rows.mean(1, keepdim=True).double()
    n_sites, n_fits = against.shape[:2]
    point = centre.new_zeros(n_sites, n_fits, rows.shape[2] + 1)
    gap = torch.full_like(point[..., 0], torch.inf)
    if _are_easy(rows, n_fits):
        point, gap = _alone(rows, centre, against, costs, tolerance)
    for dtype in (torch.float32, torch.float64):
        wanted = (~(gap <= tolerance)).any(0).nonzero()[:, 0]
        if not len(wanted):
            break
        basis, width = _plan(rows, centre, len(wanted), dtype)
        # Fits of like penalties are done after like numbers of steps.
        order = costs[:, wanted].amax((0, 2)).argsort()
        for at in wanted[order].split(width):
            given = against[:, at], costs[:, at]
            found = _solved(basis, point[:, at], *given, tolerance)
            proof = certify(rows, centre, *given, found)
            better = ~(gap[:, at] <= proof.gap)
            point[:, at] = torch.where(better[..., None], proof.point, point[:, at])
            gap[:, at] = torch.where(better, proof.gap, gap[:, at])
    point[..., -1] -= torch.matmul(point[..., :-1], centre.mT)[..., 0]
    return point.to(rows.dtype), gap.to(rows.dtype)


def _are_easy(rows: Tensor, n_fits: int) -> bool:
    """Whether steps without a factor will do, by a part of the examples."""
    if n_fits > 1 or rows.device.type != "cpu":
        return False
    size = max(LEAST_SAMPLE, rows.shape[1] // EXAMPLES_PER_SAMPLE)
    sample = rows[:, :: max(1, rows.shape[1] // size)].contiguous()
    return not are_correlated(sample, steps=STEPS_ON_SAMPLE)


def _alone(
    rows: Tensor, centre: Tensor, against: Tensor, costs: Tensor, tolerance: float
) -> tuple[Tensor, Tensor]:
    """Weights with intercept of one fit of every site, and how near they are."""
    found = [
        solve_alone(
            torch.sub(rows[at].float(), centre[at].float()),
            against[at, 0].float(),
            costs[at, 0].float(),
            gap=SHARE_OF_TOLERANCE[torch.float32] * tolerance,
        )
        for at in range(len(rows))
    ]
    start = torch.stack(found)[:, None].double()
    proof = certify(rows, centre, against, costs, _usable(start))
    return proof.point, proof.gap


def _solved(
    basis: Basis, start: Tensor, against: Tensor, costs: Tensor, tolerance: float
) -> Tensor:
    """Weights with intercept that solve the problems in the arithmetic of a basis."""
    dtype = basis.features.dtype
    problems = Problems(
        features=basis.features,
        against=against.to(dtype),
        costs=costs.to(dtype),
        ridge=basis.ridge,
    )
    at = basis.point(start.to(dtype))
    gap = SHARE_OF_TOLERANCE[dtype] * tolerance
    found = solve(problems, at, gap=gap).point
    return _usable(basis.weights(found).double())


def _usable(weights: Tensor) -> Tensor:
    """Overflow in float32 leaves nothing to continue from."""
    usable = torch.isfinite(weights).all(-1, keepdim=True)
    return torch.where(usable, weights, torch.zeros_like(weights))


def _plan(
    rows: Tensor, centre: Tensor, n_fits: int, dtype: torch.dtype
) -> tuple[Basis, int]:
    """In which coordinates the fits are solved, and how many share a product.

    Independent features need no rotation, but many fits of them pay for having no more
    of them than examples. Few fits of correlated ones do not pay for a rotation: they
    go one by one, each with a factor of its own if it takes many steps.
    """
    n, d_model = rows.shape[1:]
    together = _fits_at_once(rows)
    if n_fits == 1:
        return plain(rows, centre, dtype=dtype), 1
    many = n_fits >= max(2, min(n, d_model) / FEATURES_PER_ROTATION)
    if many and d_model >= FEATURES_PER_EXAMPLE * n:
        return rotated(rows, centre, dtype=dtype), together
    if are_correlated(rows):
        if many:
            return rotated(rows, centre, dtype=dtype), together
        return plain(rows, centre, dtype=dtype), 1
    if many and d_model >= LEAST_PER_EXAMPLE * n and dtype == torch.float32:
        basis = triangular(rows, centre, dtype=dtype)
        if basis is not None:
            return basis, together
    return plain(rows, centre, dtype=dtype), together


def _fits_at_once(rows: Tensor) -> int:
    return FITS_AT_ONCE.get(rows.device.type, FITS_AT_ONCE_ELSEWHERE)


def _chunks(rows: Tensor, n_fits: int) -> Iterator[slice]:
    """Which sites are solved together: what the cache or the memory holds."""
    if rows.device.type == "cuda":
        fits = min(n_fits, _fits_at_once(rows))
        values = rows[0].numel() * COPIES_OF_ROWS
        values += fits * sum(rows.shape[1:]) * STATES_OF_FITS
        room = SHARE_OF_MEMORY * torch.cuda.mem_get_info(rows.device)[0]
        size = int(room / (BYTES * values))
    else:
        size = BYTES_OF_CACHE // (BYTES * rows[0].numel())
    for start in range(0, len(rows), max(1, size)):
        yield slice(start, start + max(1, size))
