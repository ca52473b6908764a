"""How many products with the rows logistic probes need, beside the least there are.

    python benchmarks/probe_steps.py [--d-model N] [--rounds N]

Counts for one layer of independent features, as in `benchmarks/probes.py`: a single
fit, and 5 folds x 10 penalties. A step of ours and of scikit-learn's L-BFGS costs two
products with the rows. scikit-learn runs with the fastest setting whose gap is at most
1e-6.

`least` is how many steps conjugate gradients, with the diagonal as preconditioner, need
on the quadratic that the objective is at its optimum, to a gap of 1e-6: about what no
method gets below that sees the rows in products only. It begins at zero, or for `after
two` at the line through the optima of the two penalties before. `products` is what the
products of our steps take, for all fits at once as large matrix products; a bound is
scikit-learn's time over that of so many products. Times are of the process' CPU.
"""

# ruff: noqa: E402
# The folder of this file comes first on the search path, where its own name would hide
# the package.
import sys
from pathlib import Path


sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != Path(__file__).parent]

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from probes import alone, newton
from probes.logistic import fit_logistic


N, FOLDS, PENALTIES = 1500, 5, np.logspace(-4, 4, 10)
GAP = 1e-6
MOST_STEPS = 3000
SETTINGS = ((1e-6, np.float32), (1e-6, np.float64), (1e-8, np.float64), (1e-10, float))


@contextmanager
def counted() -> Iterator[list[int]]:
    """A list that gets the number of fits at work at every step of our solvers."""
    found: list[int] = []
    plane, turn = newton._newton_step, alone._turn

    def many(state: Any, *rest: Any) -> Any:
        found.append(int((~state.ended).sum()))
        return plane(state, *rest)

    def one(*rest: Any) -> None:
        found.append(1)
        turn(*rest)

    newton._newton_step, alone._turn = many, one
    try:
        yield found
    finally:
        newton._newton_step, alone._turn = plane, turn


def made(d: int) -> tuple[np.ndarray, np.ndarray]:
    """Independent features with the class means 2 standard deviations apart."""
    rng = np.random.default_rng(0)
    labels = rng.random(N) < 0.5
    unit = rng.normal(size=d)
    unit /= np.linalg.norm(unit)
    rows = rng.normal(size=(N, d)) + 2.0 * np.outer(labels - 0.5, unit)
    return rows.astype(np.float32), labels


def objective(
    rows: np.ndarray, labels: np.ndarray, cost: np.ndarray, at: np.ndarray
) -> float:
    """The objective of weights with the intercept last; rows end with a one."""
    margins = np.where(labels, -1.0, 1.0) * (rows @ at)
    return float(cost @ np.logaddexp(0, margins) + at[:-1] @ at[:-1] / 2)


def least_steps(
    rows: np.ndarray,
    labels: np.ndarray,
    cost: np.ndarray,
    at: np.ndarray,
    start: np.ndarray,
) -> int:
    """Steps of conjugate gradients on the quadratic that the objective is at `at`.

    Args:
        rows: The rows, with a column of ones last.
        labels: Which are positive.
        cost: C times the weight of each example.
        at: The optimum, the intercept last.
        start: Where to begin.
    """
    wrong = expit(np.where(labels, -1.0, 1.0) * (rows @ at))
    bent = cost * wrong * (1 - wrong)
    ridge = np.append(np.ones(len(at) - 1), 1e-12)
    diagonal = np.square(rows).T @ bent + ridge
    goal = GAP * objective(rows, labels, cost, at)

    def times(vector: np.ndarray) -> np.ndarray:
        return rows.T @ (bent * (rows @ vector)) + ridge * vector

    missing, direction, before = at - start, np.zeros_like(at), np.inf
    left = times(missing)
    for number in range(MOST_STEPS):
        if missing @ left / 2 <= goal:
            return number
        uphill = left / diagonal
        now = left @ uphill
        direction = uphill + now / before * direction
        bent_direction = times(direction)
        size = now / (direction @ bent_direction)
        missing = missing - size * direction
        left = left - size * bent_direction
        before = now
    return MOST_STEPS


def predicted(optima: np.ndarray, number: int) -> np.ndarray:
    """Where the line through the optima of the two penalties before leads."""
    if number == 0:
        return np.zeros_like(optima[0])
    return optima[0] if number == 1 else 2 * optima[number - 1] - optima[number - 2]


def timed(run: Callable[[], Any], rounds: int) -> float:
    """The median of the CPU seconds."""
    found = []
    for _ in range(rounds):
        start = time.process_time()
        run()
        found.append(time.process_time() - start)
    return statistics.median(found)


def scikit_learn(
    rows: np.ndarray, labels: np.ndarray, masks: np.ndarray, penalties: np.ndarray
) -> Callable[[float, type], tuple[int, np.ndarray]]:
    """Steps and optima from strong to weak penalties at a tolerance and precision."""

    def run(tolerance: float, dtype: type) -> tuple[int, np.ndarray]:
        steps, found, given = 0, [], rows.astype(dtype)
        for mask in masks:
            model = LogisticRegression(
                tol=tolerance, max_iter=100_000, warm_start=len(penalties) > 1
            )
            for c in penalties:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    model.set_params(C=c).fit(given[mask], labels[mask])
                steps += int(model.n_iter_[0])
                found.append(np.append(model.coef_[0], model.intercept_))
        return steps, np.array(found, dtype=np.float64)

    return run


def line(what: str, rows: np.ndarray, labels: np.ndarray, *, rounds: int) -> str:
    """One row of the table: a single fit or a path."""
    path = what == "path"
    folds = np.random.default_rng(0).permutation(N) % FOLDS
    masks = np.stack([folds != f for f in range(FOLDS if path else 1)])
    masks = masks if path else np.ones_like(masks)
    penalties = PENALTIES if path else np.ones(1)
    costs = (masks[:, None] * penalties[:, None]).reshape(-1, N)
    wide = np.append(rows.astype(np.float64), np.ones((N, 1)), axis=1)

    def fit(tolerance: float = 1e-7) -> np.ndarray:
        probe = fit_logistic(
            torch.from_numpy(rows)[None],
            torch.from_numpy(labels),
            weights=torch.from_numpy(masks).float(),
            c=penalties.tolist(),
            tolerance=tolerance,
        )
        point = torch.cat((probe.weights, probe.intercept[..., None]), -1)
        return point.double().numpy().reshape(len(costs), -1)

    with counted() as steps:
        fit()
    optima = fit(1e-10)
    least, after = 0, 0
    for number, (cost, at) in enumerate(zip(costs, optima, strict=True)):
        place = number % len(penalties)
        own = optima[number - place : number + 1]
        least += least_steps(wide, labels, cost, at, np.zeros_like(at))
        after += least_steps(wide, labels, cost, at, predicted(own, place))
    block, held = torch.randn(len(costs), rows.shape[1]), torch.from_numpy(rows)
    once = timed(lambda: (block @ held.T) @ held, 20 * rounds) / len(costs)
    best = [objective(wide, labels, *pair) for pair in zip(costs, optima, strict=True)]
    run, theirs, taken = scikit_learn(rows, labels, masks, penalties), 0, np.nan
    for setting in SETTINGS:
        theirs, points = run(*setting)
        pairs = zip(costs, points, best, strict=True)
        if max(objective(wide, labels, c, p) / b - 1 for c, p, b in pairs) <= GAP:
            taken = timed(lambda setting=setting: run(*setting), rounds)
            break
    own, products = timed(fit, 2 * rounds), once * sum(steps)
    return (
        f"| {what} | {len(costs)} | {sum(steps)} | {least} | {after} | {theirs} |"
        f" {own:.3f} | {products:.3f} | {taken:.3f} | {taken / own:.1f} x |"
        f" {taken / products:.1f} x | {taken / once / least:.1f} x |"
    )


HEADER = (
    "| what | fits | our steps | least | after two | scikit-learn's steps | our "
    "seconds | products | scikit-learn's seconds | ratio | bound with our steps | with "
    "the least |\n|---|---|---|---|---|---|---|---|---|---|---|---|"
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Steps of logistic probes.")
    parser.add_argument("--d-model", type=int, default=768)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows, labels = made(options.d_model)
    with threadpool_limits(1):
        print(HEADER)
        for what in ("single", "path"):
            print(line(what, rows, labels, rounds=options.rounds), flush=True)


if __name__ == "__main__":
    main()
