"""Rounds of our probes and of scikit-learn's on one case: how long, and how far off."""

import statistics
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from probe_cases import FOLDS, Case, Site
from sklearn.linear_model import LogisticRegression

from probes.linear import LinearProbe
from probes.logistic import fit_logistic


PENALTIES = np.logspace(-4, 4, 10)
GAP = 1e-6
# On how many layers scikit-learn is timed: one where it takes minutes for each.
LAYERS_OF_PEER, MANY_FEATURES = 4, 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How scikit-learn is called."""

    name: str
    tolerance: float
    most_steps: int = 100_000
    dtype: type = np.float64


# From loose to strict; those after the first that reaches the optimum are not run.
SETTINGS = (
    Setting(name="default", tolerance=1e-4, most_steps=100, dtype=np.float32),
    Setting(name="1e-6", tolerance=1e-6, dtype=np.float32),
    Setting(name="1e-6, float64", tolerance=1e-6),
    Setting(name="1e-8, float64", tolerance=1e-8),
    Setting(name="1e-10, float64", tolerance=1e-10),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One setting of scikit-learn in one case: how long, and how far off."""

    setting: str
    ratio: float
    gap: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What was measured in one case."""

    case: str
    seconds: float
    our_gap: float
    certified_gap: float
    layers: int
    layers_of_peer: int
    folds_of_peer: int | None
    peers: tuple[Peer, ...]

    @property
    def same_optimum(self) -> Peer | None:
        reached = [peer for peer in self.peers if peer.gap <= GAP]
        return min(reached, key=lambda peer: peer.ratio, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What both sides fit in a case.

    Attributes:
        sites: Rows and labels of every layer.
        peers: Those that scikit-learn is timed on.
        masks: Which examples each fold is fitted on, [fold, n].
        theirs: Those that scikit-learn is timed on.
        penalties: C of every fit of a fold.
    """

    sites: Sequence[Site]
    peers: Sequence[Site]
    masks: np.ndarray
    theirs: np.ndarray
    penalties: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        return self.sites[0][1]

    @property
    def costs(self) -> np.ndarray:
        """C times the weight of every example in scikit-learn's fits, [fit, n].

        Folds are their slower axis, so that they come first among ours too.
        """
        each = self.theirs[:, None] * self.penalties[:, None]
        return each.reshape(-1, self.masks.shape[1])


@dataclass(slots=True)
class Theirs:
    """What scikit-learn did: ratios of each setting by round, and its objectives."""

    ratios: dict[str, list[float]] = field(default_factory=dict)
    found: dict[str, np.ndarray] = field(default_factory=dict)


def work_of(case: Case, sites: Sequence[Site], folds_of_peer: int) -> Work:
    """The folds, the penalties, and the part of it that scikit-learn does."""
    slow = case.path or case.d_model > MANY_FEATURES
    folds = np.random.default_rng(0).permutation(case.n) % FOLDS
    masks = (
        np.stack([folds != fold for fold in range(FOLDS)])
        if case.path
        else np.ones((1, case.n), bool)
    )
    return Work(
        sites=sites,
        peers=sites[: 1 if slow else LAYERS_OF_PEER],
        masks=masks,
        theirs=masks[:folds_of_peer],
        penalties=PENALTIES if case.path else np.ones(1),
    )


def compared(
    case: Case,
    sites: Sequence[Site],
    clock: Callable[[], float],
    rounds: int,
    device: str = "cpu",
    folds_of_peer: int = FOLDS,
) -> Row:
    """Run all methods of a case in turn, `rounds` times."""
    work = work_of(case, sites, folds_of_peer)
    stack = torch.from_numpy(np.stack([rows for rows, _ in sites])).to(device)
    # The first decomposition of a process pays for starting the library it is in.
    _fitted(work, stack[:1])
    ours, seconds, theirs = None, [], Theirs()
    for _ in range(max(rounds, 1)):
        start = clock()
        ours = _fitted(work, stack)
        if device != "cpu":
            torch.cuda.synchronize()
        seconds.append(clock() - start)
        _round_of_peer(work, ours, theirs, seconds[-1] / len(sites), clock)
    assert ours is not None
    return _row(case, work, ours, seconds, theirs)


def _fitted(work: Work, rows: torch.Tensor) -> LinearProbe:
    return fit_logistic(
        rows,
        torch.from_numpy(work.labels),
        weights=torch.from_numpy(work.masks).float(),
        c=work.penalties.tolist(),
    )


def _round_of_peer(
    work: Work,
    ours: LinearProbe,
    theirs: Theirs,
    own: float,
    clock: Callable[[], float],
) -> None:
    """Time every setting up to the first that reaches the optimum.

    Args:
        work: What is fitted.
        ours: Our fit of it.
        theirs: What earlier rounds said; what this one says is added.
        own: Our time for one layer.
        clock: The clock.
    """
    first = not theirs.found
    bound = _objectives(ours, work) if first else None
    share = len(work.theirs) / len(work.masks)
    for setting in SETTINGS:
        if not first and setting.name not in theirs.found:
            continue
        given = [rows.astype(setting.dtype) for rows, _ in work.peers]
        start = clock()
        fits = [_sklearn(rows, work, setting) for rows in given]
        taken = (clock() - start) / share / len(work.peers)
        theirs.ratios.setdefault(setting.name, []).append(taken / own)
        if bound is None:
            continue
        theirs.found[setting.name] = np.stack(
            [
                objective(rows, work.labels, *fit, work.costs)
                for (rows, _), fit in zip(work.peers, fits, strict=True)
            ]
        )
        # A stricter setting would only take longer to the same optimum.
        if (theirs.found[setting.name] / bound - 1).max() <= GAP:
            break


def _row(
    case: Case, work: Work, ours: LinearProbe, seconds: list[float], theirs: Theirs
) -> Row:
    mine, found = _objectives(ours, work), theirs.found
    certified = ours.gap.flatten(1).cpu().numpy()
    best = mine * (1 - certified[: len(work.peers), : len(work.costs)])
    return Row(
        case=case.name,
        seconds=statistics.median(seconds),
        layers=len(work.sites),
        layers_of_peer=len(work.peers),
        folds_of_peer=len(work.theirs) if case.path else None,
        our_gap=float((mine / np.minimum.reduce([mine, *found.values()]) - 1).max()),
        certified_gap=float(certified.max()),
        peers=tuple(
            Peer(
                setting=name,
                ratio=statistics.median(theirs.ratios[name]),
                gap=float((found[name] / best - 1).max()),
            )
            for name in found
        ),
    )


def objective(
    rows: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    intercept: np.ndarray,
    costs: np.ndarray,
) -> np.ndarray:
    """The objective of each fit in float64; `costs` is C times the weight, [fit, n]."""
    weights = weights.astype(np.float64)
    logits = weights @ rows.T.astype(np.float64) + intercept[:, None]
    loss = np.logaddexp(0, -np.where(labels, 1.0, -1.0) * logits)
    return (costs * loss).sum(1) + np.square(weights).sum(1) / 2


def _objectives(probe: LinearProbe, work: Work) -> np.ndarray:
    """Our objective of every site and fit that scikit-learn is timed on."""
    costs = work.costs
    weights = probe.weights.flatten(1, -2).cpu().numpy()[:, : len(costs)]
    intercepts = probe.intercept.flatten(1).cpu().numpy()[:, : len(costs)]
    return np.stack(
        [
            objective(rows, work.labels, weights[i], intercepts[i], costs)
            for i, (rows, _) in enumerate(work.peers)
        ]
    )


def _sklearn(
    rows: np.ndarray, work: Work, setting: Setting
) -> tuple[np.ndarray, np.ndarray]:
    """Weights and intercepts of every fold and penalty, in our order."""
    labels, weights, intercepts = work.labels, [], []
    for mask in work.theirs:
        model = LogisticRegression(
            tol=setting.tolerance,
            max_iter=setting.most_steps,
            warm_start=len(work.penalties) > 1,
        )
        kept, truth = (rows, labels) if mask.all() else (rows[mask], labels[mask])
        for c in work.penalties:
            with warnings.catch_warnings():
                # Stopping at 100 iterations is what the default is about.
                warnings.simplefilter("ignore")
                model.set_params(C=c).fit(kept, truth)
            weights.append(model.coef_[0].copy())
            intercepts.append(float(np.ravel(model.intercept_)[0]))
    return np.stack(weights), np.array(intercepts, dtype=np.float64)
