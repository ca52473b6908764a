"""Whether the statistics of probes are what they say, by simulation with known truth.

    python benchmarks/validity.py [--quick] [--json] [--seed N] [--part NAME]

Exits with 1 if a claim does not hold. `--quick` makes a tenth of the draws and widens
the bounds to match. What is reported without a bound is there to be known, not passed.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from scipy.stats import kstest, norm


# The folder of this file holds a `probes.py` that would hide the package, which is why
# the package is imported first.
HERE = Path(__file__).resolve().parent
sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != HERE]

import interp.statistics as statistics  # noqa: E402
from probes import fit_mean_difference, sweep  # noqa: E402
from probes.controls import Controls  # noqa: E402
from probes.folds import assign_folds  # noqa: E402
from probes.p_values import permutation_p_values  # noqa: E402
from probes.permutation import shuffled_aurocs, shuffles  # noqa: E402


sys.path.append(str(HERE))
from validity_check import LEVEL, Check, at_most_5_percent, slack  # noqa: E402
from validity_intervals import (  # noqa: E402
    calibration,
    comparisons,
    few_groups,
    seeds,
)


DRAWS, QUICK_DRAWS = 1000, 100
KS_LEVEL = 0.01
CHEAP = Controls(permutations=0, random_directions=0, resamples=500)


def intervals(draws: int, seed: int) -> Iterator[Check]:
    """How often the interval of a fixed readout holds its true AUROC."""
    bounds = {"low": LEVEL - slack(draws), "high": min(1.0, LEVEL + slack(draws))}
    for n, delta in ((200, 1.0), (400, 2.0)):
        inside = 0
        for draw in range(draws):
            rng = np.random.default_rng((seed, 1, draw))
            labels = rng.random(n) < 0.5
            scores = rng.normal(size=n) + delta * labels
            found = statistics.auroc_interval(scores, labels, seed=draw)
            inside += int(found.low <= norm.cdf(delta / math.sqrt(2)) <= found.high)
        yield Check(
            claim=f"95 % interval holds the AUROC, {n} examples, d' = {delta:g}",
            found=inside / draws,
            **bounds,
        )
    yield from _grouped_intervals(draws, seed, bounds)


def _grouped_intervals(
    draws: int, seed: int, bounds: dict[str, float]
) -> Iterator[Check]:
    """The same with groups of one label, whose members resemble each other."""
    groups, delta, alike = np.repeat(np.arange(80), 5), 1.0, 1.0
    truth = norm.cdf(delta / math.sqrt(2 * (1 + alike**2)))
    inside = {"whole groups": 0, "single examples": 0}
    for draw in range(draws):
        rng = np.random.default_rng((seed, 2, draw))
        labels = (rng.permutation(80) % 2 == 0)[groups]
        scores = delta * labels + rng.normal(size=400)
        scores += alike * rng.normal(size=80)[groups]
        for name, given in (("whole groups", groups), ("single examples", None)):
            found = statistics.auroc_interval(scores, labels, groups=given, seed=draw)
            inside[name] += int(found.low <= truth <= found.high)
    yield Check(
        claim="95 % interval over 80 groups holds the AUROC",
        found=inside["whole groups"] / draws,
        **bounds,
    )
    yield Check(
        claim="... and one that ignores the groups does not",
        found=inside["single examples"] / draws,
        high=LEVEL - 0.1,
    )


def anisotropic(draws: int, seed: int) -> Iterator[Check]:
    """Power of the permutation test where the truth lies along a narrow axis."""
    found: dict[str, list[bool]] = {"by default": [], "difference of means alone": []}
    for draw in range(max(20, draws // 10)):
        rng = np.random.default_rng((seed, 8, draw))
        labels = rng.permutation(200) % 2 == 0
        rows = 10 * rng.normal(size=(1, 200, 50)).astype(np.float32)
        rows[0, :, 0] = 0.1 * rng.normal(size=200) + labels
        folds = assign_folds(labels, seed=draw)
        drawn = shuffles(labels, folds=folds, count=99, seed=draw)
        every = np.concatenate((labels[None], drawn))
        for name, fit in zip(found, (None, fit_mean_difference), strict=True):
            null = shuffled_aurocs(torch.from_numpy(rows), every, folds, fit=fit)
            found[name].append(bool(permutation_p_values(null).each[0] <= 0.05))
    for (name, small), low in zip(found.items(), (0.95, -math.inf), strict=True):
        yield Check(
            claim=f"permutation p finds a narrow axis, {name}",
            found=float(np.mean(small)),
            low=low,
        )


def p_values(draws: int, seed: int) -> Iterator[Check]:
    """Whether p is uniform when labels mean nothing, by Kolmogorov and Smirnov."""
    designs = {
        "single examples": np.arange(60),
        "groups of one label": np.repeat(np.arange(30), 2),
    }
    count = 99
    for name, groups in designs.items():
        p, corrected = [], []
        for draw in range(draws):
            rng = np.random.default_rng((seed, 3, draw))
            n_groups = int(groups.max()) + 1
            labels = (rng.permutation(n_groups) % 2 == 0)[groups]
            # Members of a group resemble each other.
            rows = rng.normal(size=(3, n_groups, 5))[:, groups]
            rows = torch.from_numpy(rows + rng.normal(size=rows.shape)).float()
            folds = assign_folds(labels, groups=groups, n_folds=3, seed=draw)
            drawn = shuffles(labels, groups=groups, folds=folds, count=count, seed=draw)
            null = shuffled_aurocs(rows, np.concatenate((labels[None], drawn)), folds)
            found = permutation_p_values(null)
            p.append(found.each[0])
            corrected.append(found.corrected.min())
        # p lies on a grid of 1/100; spread within its step it is continuous.
        spread = np.random.default_rng(seed).random(draws) / (count + 1)
        yield Check(
            claim=f"permutation p is uniform, {name} (p of the KS test)",
            found=float(kstest(np.array(p) - spread, "uniform").pvalue),
            low=KS_LEVEL,
        )
        rate = float((np.array(corrected) <= 0.05).mean())
        yield Check(
            claim=f"corrected p of the best of 3 is at most 0.05, {name}",
            found=rate,
            high=at_most_5_percent(draws),
        )


def directions(draws: int, seed: int) -> Iterator[Check]:
    """Cosine and AUROC of the difference of means against their closed forms."""
    n, d = 400, 64
    for delta in (1.0, 2.0):
        cosines, aurocs = [], []
        for draw in range(max(20, draws // 10)):
            rng = np.random.default_rng((seed, 4, draw))
            labels = np.arange(2 * n) % 2 == 0
            rows = rng.normal(size=(2 * n, d)).astype(np.float32)
            rows[:, 0] += delta * labels
            probe = fit_mean_difference(
                torch.from_numpy(rows[:n]), torch.from_numpy(labels[:n])
            )
            cosines.append(float(probe.directions[0]))
            scores = probe.logits(torch.from_numpy(rows[n:])).double().numpy()
            aurocs.append(float(statistics.auroc(scores, labels[n:])))
        cosine = delta / math.sqrt(delta**2 + (d - 1) * 4 / n)
        auroc = float(norm.cdf(delta * cosine / math.sqrt(2)))
        for name, found, truth, off in (
            ("cosine", np.mean(cosines), cosine, 0.02),
            ("held-out AUROC", np.mean(aurocs), auroc, 0.015),
        ):
            yield Check(
                claim=f"{name} of a direction planted at d' = {delta:g} ({truth:.3f})",
                found=float(found),
                low=truth - off,
                high=truth + off,
            )


def sweeps(draws: int, seed: int) -> Iterator[Check]:
    """A leak through groups, the price of choosing a layer, cross-validated bounds."""
    random_split, group_split, nested, best, inside = [], [], [], [], []
    for draw in range(max(20, draws // 10)):
        rng = np.random.default_rng((seed, 5, draw))
        groups = np.repeat(np.arange(60), 5)
        labels = (rng.permutation(60) % 2 == 0)[groups]
        rows = rng.normal(size=(60, 40))[groups] + 0.3 * rng.normal(size=(300, 40))
        for into, given in ((random_split, None), (group_split, groups)):
            found = sweep(
                rows.astype(np.float32), labels, groups=given, controls=CHEAP, seed=draw
            )
            into.append(found.auroc[0])
        blank = rng.normal(size=(100, 20, 8)).astype(np.float32)
        truth = rng.permutation(100) % 2 == 0
        found = sweep(blank, truth, fit=fit_mean_difference, controls=CHEAP, seed=draw)
        nested.append(found.nested_auroc)
        best.append(found.auroc.max())
        inside.append(_covers(rng, draw))
    yield Check(
        claim="random folds score a leak through groups", low=0.75,
        found=float(np.mean(random_split)),
    )  # fmt: skip
    yield Check(
        claim="folds of whole groups do not", low=0.45, high=0.55,
        found=float(np.mean(group_split)),
    )  # fmt: skip
    yield Check(
        claim="nested choice among 20 empty layers", low=0.45, high=0.55,
        found=float(np.mean(nested)),
    )  # fmt: skip
    yield Check(claim="the best of 20 empty layers", found=float(np.mean(best)))
    yield Check(
        claim="cross-validated interval holds the AUROC on new data",
        found=float(np.mean(inside)),
    )


def _covers(rng: np.random.Generator, seed: int) -> bool:
    """Whether the interval of a sweep holds the AUROC of such a fit on new examples."""
    n, d, delta = 300, 16, 1.5
    labels = rng.permutation(n) % 2 == 0
    rows = rng.normal(size=(n, d)).astype(np.float32)
    rows[:, 0] += delta * labels
    found = sweep(rows, labels, fit=fit_mean_difference, controls=CHEAP, seed=seed)
    cosine = delta / math.sqrt(delta**2 + (d - 1) * 4 / (0.8 * n))
    truth = norm.cdf(delta * cosine / math.sqrt(2))
    return bool(found.auroc_lo[0] <= truth <= found.auroc_hi[0])


PARTS = (
    *(intervals, few_groups, p_values, anisotropic, directions, sweeps),
    *(comparisons, calibration, seeds),
)


def main() -> int:
    """Run every simulation and print what came out."""
    parser = argparse.ArgumentParser(
        description="Whether the statistics of probes are what they say."
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", choices=[part.__name__ for part in PARTS])
    options = parser.parse_args()
    draws = QUICK_DRAWS if options.quick else DRAWS
    checks: list[Check] = []
    for part in PARTS:
        if options.part not in (None, part.__name__):
            continue
        for check in part(draws, options.seed):
            checks.append(check)
            if not options.json:
                verdict = "holds" if check.holds else "FAILS"
                verdict = verdict if check.bounded else ""
                print(f"{check.found:7.3f}  {verdict:6s} {check.claim}", flush=True)
    if options.json:
        rows = [
            {
                **{
                    k: v for k, v in asdict(c).items() if v not in (math.inf, -math.inf)
                },
                "holds": c.holds,
            }
            for c in checks
        ]
        share = sum(check.holds for check in checks) / len(checks)
        ratio = {"name": "claims that hold", "value": share, "better": "higher"}
        report = {"draws": draws, "seed": options.seed, "checks": rows}
        print(json.dumps({**report, "ratios": [ratio]}))
    return 0 if all(check.holds for check in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
