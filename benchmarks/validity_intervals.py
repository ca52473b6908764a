"""How often intervals hold the truth: few groups, calibration, seeds, comparisons.

Part of `validity.py`, which runs it.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from scipy.stats import norm
from validity_check import LEVEL, Check, at_most_5_percent, slack

import interp.statistics as statistics
from interp.results import ProbeSweep
from interp.results.calibration import ratio_interval
from interp.statistics import Interval
from probes import compare_sweeps, fit_mean_difference, sweep
from probes.controls import Controls


GROUPS = (8, 12, 20, 50)
RESAMPLES = 500
CHEAP = Controls(permutations=0, random_directions=0, resamples=2)
Draw = Callable[[np.random.Generator, int], tuple[Interval, float]]


def few_groups(draws: int, seed: int) -> Iterator[Check]:
    """How often intervals over 8 to 50 groups hold what they are of."""
    for name, (draw, promised) in KINDS.items():
        for n_groups in GROUPS:
            inside = 0
            for number in range(draws):
                rng = np.random.default_rng((seed, 6, number))
                found, truth = draw(rng, n_groups)
                inside += int(found.low <= truth <= found.high)
            yield Check(
                claim=f"95 % interval over {n_groups} groups holds {name}",
                found=inside / draws,
                low=LEVEL - slack(draws) if promised else -np.inf,
            )


def _auroc(delta: float, *, one_label: bool) -> Draw:
    """Groups of five whose members resemble each other, of one label or of both."""

    def draw(rng: np.random.Generator, n_groups: int) -> tuple[Interval, float]:
        groups = np.repeat(np.arange(n_groups), 5)
        n = n_groups if one_label else groups.size
        labels = rng.permutation(n) % 2 == 0
        labels = labels[groups] if one_label else labels
        scores = delta * labels + rng.normal(size=groups.size)
        scores += rng.normal(size=n_groups)[groups]
        found = statistics.auroc_interval(
            scores, labels, groups=groups, resamples=RESAMPLES
        )
        return found, float(norm.cdf(delta / 2))

    return draw


def _auroc_difference(
    rng: np.random.Generator, n_groups: int
) -> tuple[Interval, float]:
    """Two readouts of the same groups, the first of which sees more."""
    groups = np.repeat(np.arange(n_groups), 5)
    labels = rng.permutation(groups.size) % 2 == 0
    shared = rng.normal(size=n_groups)[groups] + rng.normal(size=groups.size)
    both = [
        delta * labels + shared + rng.normal(size=groups.size) for delta in (2.0, 1.0)
    ]
    found = statistics.auroc_difference(
        both[0], both[1], labels, groups=groups, resamples=RESAMPLES
    )
    far, near = norm.cdf(np.array([2.0, 1.0]) / np.sqrt(6))
    return found, float(far - near)


def _accuracy(rate: float) -> Draw:
    """Groups of five that are right more or less often than others."""

    def draw(rng: np.random.Generator, n_groups: int) -> tuple[Interval, float]:
        groups = np.repeat(np.arange(n_groups), 5)
        rates = rng.beta(2 * rate, 2 * (1 - rate), size=n_groups)
        right = rng.random(groups.size) < rates[groups]
        found = statistics.mean_interval(right, groups=groups, resamples=RESAMPLES)
        return found, rate

    return draw


def _sizes(rng: np.random.Generator, n_groups: int) -> np.ndarray:
    """Groups of 1 to some 30 members."""
    sizes = np.maximum(1, rng.lognormal(1.5, 0.8, size=n_groups).astype(int))
    return np.repeat(np.arange(n_groups), sizes)


def _mean(rng: np.random.Generator, n_groups: int) -> tuple[Interval, float]:
    """A difference of two columns over groups of very unequal sizes."""
    groups = _sizes(rng, n_groups)
    values = rng.normal(size=n_groups)[groups] + rng.normal(size=groups.size)
    return statistics.mean_interval(values, groups=groups, resamples=RESAMPLES), 0.0


def _skewed(rng: np.random.Generator, n_groups: int) -> tuple[Interval, float]:
    """Groups whose means are log-normal, with a skewness of 6."""
    groups = np.repeat(np.arange(n_groups), 5)
    values = np.exp(rng.normal(size=n_groups))[groups]
    found = statistics.mean_interval(values, groups=groups, resamples=RESAMPLES)
    return found, float(np.exp(0.5))


def _ratio(rng: np.random.Generator, n_groups: int) -> tuple[Interval, float]:
    """A part of a whole that differs from group to group."""
    groups = _sizes(rng, n_groups)
    whole = np.exp(0.4 * rng.normal(size=n_groups))[groups]
    part = 0.5 * whole + 0.6 * rng.normal(size=groups.size)
    return ratio_interval(part, whole, groups=groups, resamples=RESAMPLES), 0.5


# What is simulated, and whether it is promised to hold.
KINDS: dict[str, tuple[Draw, bool]] = {
    "an AUROC, groups of one label": (_auroc(1.0, one_label=True), True),
    "an AUROC, groups of both labels": (_auroc(1.0, one_label=False), True),
    "an AUROC of 0.93": (_auroc(3.0, one_label=False), True),
    "a difference of AUROCs": (_auroc_difference, True),
    "an accuracy of 0.6": (_accuracy(0.6), True),
    "an accuracy of 0.9": (_accuracy(0.9), True),
    "a mean, groups of unequal sizes": (_mean, True),
    "a ratio, groups of unequal sizes": (_ratio, True),
    "a mean of skewed groups": (_skewed, False),
}


def calibration(draws: int, seed: int) -> Iterator[Check]:
    """Calibration errors: intervals, what noise adds, and whether there are any."""
    for n_texts, length, alike in ((600, 1, 0.0), (20, 50, 0.3), (60, 50, 0.1)):
        of = f"{n_texts * length} predictions"
        of += f" in {n_texts} texts" if length > 1 else ""
        for off in (0.0, 0.01, 0.03, 0.1):
            rounds = max(20, draws // 5)
            inside, small, bias = 0, 0, []
            for draw in range(rounds):
                rng = np.random.default_rng((seed, 9, draw))
                texts = np.repeat(np.arange(n_texts), length)
                top = rng.beta(3, 2, size=texts.size)
                # Outcomes of a text hang together, and are right as often as said.
                common = np.sqrt(alike) * rng.normal(size=n_texts)[texts]
                luck = norm.cdf(
                    common + np.sqrt(1 - alike) * rng.normal(size=texts.size)
                )
                found = statistics.calibration_error(
                    top,
                    luck < np.clip(top - off, 0, 1),
                    groups=texts if length > 1 else None,
                    resamples=300,
                    seed=draw,
                )
                inside += int(found.low <= off <= found.high)
                small += int(found.p <= 0.05)
                bias.append((found.estimate - off, found.debiased - off))
            yield Check(
                claim=f"95 % interval holds a calibration error of {off:g}, {of}",
                found=inside / rounds,
                low=LEVEL - slack(rounds),
            )
            yield Check(
                claim="... and its p is at most 0.05",
                found=small / rounds,
                high=at_most_5_percent(rounds) if off == 0 else np.inf,
            )
            raw, debiased = np.mean(bias, axis=0)
            yield Check(claim="... the estimate is above it by", found=float(raw))
            yield Check(claim="... the debiased one by", found=float(debiased))


def seeds(draws: int, seed: int) -> Iterator[Check]:
    """Intervals over a few runs, beside those of drawing the runs anew."""
    for n in (3, 4, 8):
        rng = np.random.default_rng((seed, 10, n))
        runs = rng.normal(size=(draws, n))
        found = statistics.mean_over_seeds(runs)
        drawn = runs[:, rng.integers(n, size=(500, n))].mean(-1)
        low, high = np.quantile(drawn, [0.025, 0.975], axis=1)
        yield Check(
            claim=f"95 % interval over {n} seeds holds the mean",
            found=float(((found.low <= 0) & (found.high >= 0)).mean()),
            low=LEVEL - slack(draws),
            high=LEVEL + slack(draws),
        )
        yield Check(
            claim="... and one from drawing the seeds anew",
            found=float(((low <= 0) & (high >= 0)).mean()),
        )
    for n, name, make in (
        (4, "normal", np.random.Generator.normal),
        (8, "log-normal", np.random.Generator.lognormal),
    ):
        rng = np.random.default_rng((seed, 11, n))
        truth, inside = (0.0 if name == "normal" else 1.0), 0
        for _ in range(draws):
            found = statistics.median_over_seeds(make(rng, size=n))
            inside += int(found.low <= truth <= found.high)
        yield Check(
            claim=f"95 % interval over {n} seeds holds the median, {name}",
            found=inside / draws,
            low=LEVEL - slack(draws),
        )


def comparisons(draws: int, seed: int) -> Iterator[Check]:
    """Two sweeps with noise of their own, equally good and not; both questions."""
    for n, bonus in ((120, 0.0), (400, 0.0), (120, 1.0), (400, 0.5)):
        p, held, truths = [], [], []
        for draw in range(draws if bonus == 0 else max(20, draws // 5)):
            rng = np.random.default_rng((seed, 7, draw))
            labels = rng.permutation(n) % 2 == 0
            rows = rng.normal(size=(2, n, 16)).astype(np.float32)
            for one, delta in zip(rows, (1 + bonus, 1.0), strict=True):
                one[:, 0] += np.float32(delta) * labels
            a, b = (
                sweep(one, labels, fit=fit_mean_difference, controls=CHEAP, seed=draw)
                for one in rows
            )
            found = compare_sweeps(a, b, resamples=300, permutations=199, seed=draw)
            p.append((found.p[0], found.procedure_p[0]))
            truth = _of_these(a, rows[0], 1 + bonus) - _of_these(b, rows[1], 1.0)
            held.append(
                [
                    interval.low[0] <= at <= interval.high[0]
                    for interval, at in (
                        (found.difference, truth),
                        (found.difference, 0.0),
                        (found.procedure, 0.0),
                    )
                ]
            )
            truths.append(truth)
        small = (np.array(p) <= 0.05).mean(0)
        shares = np.mean(held, axis=0)
        rounds, equal = len(p), bonus == 0
        what = "equally good" if equal else f"differing by d' {bonus:g}"
        yield Check(
            claim=f"interval holds the difference of these probes, {n} rows, {what}",
            found=float(shares[0]),
        )
        yield Check(
            claim="... p of the procedures is at most 0.05",
            found=float(small[1]),
            high=at_most_5_percent(rounds) if equal else np.inf,
        )
        yield Check(claim="... p of these probes is", found=float(small[0]))
        if equal:
            yield Check(
                claim="... the interval of the procedures holds 0",
                found=float(shares[2]),
                low=LEVEL - slack(rounds),
            )
            yield Check(
                claim="... that of these probes holds 0", found=float(shares[1])
            )


def _of_these(found: ProbeSweep, rows: np.ndarray, delta: float) -> float:
    """The AUROC on new examples of the very probes of a sweep, each for its share."""
    given, n_folds = torch.from_numpy(rows), int(found.folds.max()) + 1
    masks = torch.from_numpy(found.folds != np.arange(n_folds)[:, None]).float()
    probe = fit_mean_difference(given, torch.from_numpy(found.labels), weights=masks)
    ends = torch.cat((torch.zeros(1, rows.shape[1]), torch.eye(rows.shape[1])))
    logits = probe.logits(ends).double().numpy()
    offset, weights = logits[:, 0], logits[:, 1:] - logits[:, :1]
    lengths = np.square(weights).sum(1)
    share = [
        np.bincount(found.folds[of], minlength=n_folds) / of.sum()
        for of in (found.labels, ~found.labels)
    ]
    above = (offset + delta * weights[:, 0])[:, None] - offset
    area = norm.cdf(above / np.sqrt(lengths[:, None] + lengths))
    return float(share[0] @ area @ share[1])
