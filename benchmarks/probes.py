"""Logistic probes beside scikit-learn on the same data, alternating in one process.

    python benchmarks/probes.py [--quick] [--cases TEXT] [--rounds N] [--threads N]
                                [--clock wall|cpu] [--device cpu|cuda] [--json]
                                [--folds-of-peer N] [--model FOLDER --statements FILE]

`single` fits one probe per layer; `path` fits 5 folds x 10 penalties per layer, which
scikit-learn does from strong to weak, each warm-started by the one before, as its
`LogisticRegressionCV`. A ratio is scikit-learn's time per layer over ours in the same
round; the table shows medians. Ours is timed on all layers, scikit-learn on the first
few of them, since it would take hours on all, and with `--folds-of-peer` on the first
few folds, its time scaled to all of them; each row says on how many.

A gap is (objective - best) / best, the largest of all fits, in float64 on the rows as
given; `best` is our objective less its certified gap, a lower bound that owes nothing
to scikit-learn. scikit-learn runs with several tolerances, on rows in float32 (as
activations are) and in float64: `same optimum` is the fastest setting whose gap is at
most 1e-6. Both sides get `--threads`. With `--model` and `--statements` the last tokens
of real statements are fitted as well.
"""

# ruff: noqa: E402
# The folder of this file comes first on the search path, where its own name would hide
# the package.
import sys
from pathlib import Path


sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != Path(__file__).parent]

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import sklearn
import torch
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from probes.linear import LinearProbe
from probes.logistic import fit_logistic


N = 1500
FOLDS, PENALTIES = 5, np.logspace(-4, 4, 10)
GAP = 1e-6
# On how many layers scikit-learn is timed: one where it takes minutes for each.
LAYERS_OF_PEER, MANY_FEATURES = 4, 1000
Site = tuple[np.ndarray, np.ndarray]


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
class Case:
    """One comparison: data of some kind and shape, and what is fitted."""

    data: str
    layers: int
    d_model: int
    n: int
    path: bool

    @property
    def what(self) -> str:
        return "path" if self.path else "single"

    @property
    def name(self) -> str:
        return f"{self.what}, {self.data}, {self.layers} layers, d {self.d_model}"


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


def independent(n: int, d: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Independent features with the class means 2 standard deviations apart."""
    rng = np.random.default_rng(seed)
    labels = np.random.default_rng(0).random(n) < 0.5
    unit = rng.normal(size=d)
    unit /= np.linalg.norm(unit)
    rows = rng.normal(size=(n, d)) + 2.0 * np.outer(labels - 0.5, unit)
    return rows.astype(np.float32), labels


def transformer_like(n: int, d: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Variances that fall as a power law, mixed, around a mean that is not zero."""
    rng = np.random.default_rng(seed)
    rows, labels = independent(n, d, seed)
    # Two Householder reflections mix all features as well as a full rotation would.
    mixed = rows * (5 * np.arange(1, d + 1) ** -0.7)
    for _ in range(2):
        mirror = rng.normal(size=d)
        mirror /= np.linalg.norm(mirror)
        mixed -= 2 * np.outer(mixed @ mirror, mirror)
    return (mixed + 0.5 * rng.normal(size=d)).astype(np.float32), labels


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


def captured(model: str, statements: str) -> list[Site]:
    """The last token of each statement at every layer of a model, and its label."""
    import interp
    from interp.data import statements as read_statements

    loaded = interp.load(model)
    given = read_statements(statements)
    labels = np.asarray(given.labels[:N], dtype=bool)
    acts = interp.capture(loaded, list(given.prompts[:N]), sites="resid_post.*")
    rows = acts["resid_post"].float().numpy()
    return [(np.ascontiguousarray(rows[:, at]), labels) for at in range(rows.shape[1])]


def made(case: Case) -> list[Site]:
    """The rows and labels of every layer of a case without a model."""
    make = independent if case.data == "independent" else transformer_like
    return [make(case.n, case.d_model, seed) for seed in range(case.layers)]


def compared(
    case: Case,
    sites: Sequence[Site],
    clock: Callable[[], float],
    rounds: int,
    device: str = "cpu",
    folds_of_peer: int = FOLDS,
) -> Row:
    """Run all methods of a case in turn, `rounds` times."""
    labels = sites[0][1]
    slow = case.path or case.d_model > MANY_FEATURES
    peers = sites[: 1 if slow else LAYERS_OF_PEER]
    stack = torch.from_numpy(np.stack([rows for rows, _ in sites])).to(device)
    folds = np.random.default_rng(0).permutation(case.n) % FOLDS
    masks = (
        np.stack([folds != fold for fold in range(FOLDS)])
        if case.path
        else np.ones((1, case.n), bool)
    )
    penalties = PENALTIES if case.path else np.ones(1)
    # Folds are the slower axis of the fits, so that those of the peer come first.
    theirs = masks[:folds_of_peer]
    share = len(theirs) / len(masks)
    costs = (theirs[:, None] * penalties[:, None]).reshape(-1, case.n)
    ours, seconds, ratios = None, [], {setting.name: [] for setting in SETTINGS}
    found: dict[str, np.ndarray] = {}

    def fit(rows: torch.Tensor) -> LinearProbe:
        return fit_logistic(
            rows,
            torch.from_numpy(labels),
            weights=torch.from_numpy(masks).float(),
            c=penalties.tolist(),
        )

    # The first decomposition of a process pays for starting the library it is in.
    fit(stack[:1])
    for number in range(rounds):
        start = clock()
        ours = fit(stack)
        if device != "cpu":
            torch.cuda.synchronize()
        seconds.append(clock() - start)
        own = seconds[-1] / len(sites)
        bound = None if number else _objectives(ours, peers, labels, costs)
        for setting in SETTINGS:
            if number and setting.name not in found:
                continue
            given = [rows.astype(setting.dtype) for rows, _ in peers]
            start = clock()
            fits = [
                _sklearn(rows, labels, theirs, penalties, setting) for rows in given
            ]
            ratios[setting.name].append((clock() - start) / share / len(peers) / own)
            if bound is None:
                continue
            found[setting.name] = np.stack(
                [objective(sites[i][0], labels, *f, costs) for i, f in enumerate(fits)]
            )
            # A stricter setting would only take longer to the same optimum.
            if (found[setting.name] / bound - 1).max() <= GAP:
                break
    assert ours is not None
    mine = _objectives(ours, peers, labels, costs)
    certified = ours.gap.flatten(1).cpu().numpy()
    best = mine * (1 - certified[: len(peers), : len(costs)])
    return Row(
        case=case.name,
        seconds=statistics.median(seconds),
        layers=len(sites),
        layers_of_peer=len(peers),
        folds_of_peer=len(theirs) if case.path else None,
        our_gap=float((mine / np.minimum.reduce([mine, *found.values()]) - 1).max()),
        certified_gap=float(certified.max()),
        peers=tuple(
            Peer(
                setting=name,
                ratio=statistics.median(ratios[name]),
                gap=float((found[name] / best - 1).max()),
            )
            for name in found
        ),
    )


def _objectives(
    probe: LinearProbe,
    sites: Sequence[tuple[np.ndarray, np.ndarray]],
    labels: np.ndarray,
    costs: np.ndarray,
) -> np.ndarray:
    """Our objective of every site and of as many fits as there are costs."""
    weights = probe.weights.flatten(1, -2).cpu().numpy()[:, : len(costs)]
    intercepts = probe.intercept.flatten(1).cpu().numpy()[:, : len(costs)]
    return np.stack(
        [
            objective(rows, labels, weights[i], intercepts[i], costs)
            for i, (rows, _) in enumerate(sites)
        ]
    )


def _sklearn(
    rows: np.ndarray,
    labels: np.ndarray,
    masks: np.ndarray,
    penalties: np.ndarray,
    setting: Setting,
) -> tuple[np.ndarray, np.ndarray]:
    """Weights and intercepts of every fold and penalty, in our order."""
    weights, intercepts = [], []
    for mask in masks:
        model = LogisticRegression(
            tol=setting.tolerance,
            max_iter=setting.most_steps,
            warm_start=len(penalties) > 1,
        )
        kept, truth = (rows, labels) if mask.all() else (rows[mask], labels[mask])
        for c in penalties:
            with warnings.catch_warnings():
                # Stopping at 100 iterations is what the default is about.
                warnings.simplefilter("ignore")
                model.set_params(C=c).fit(kept, truth)
            weights.append(model.coef_[0].copy())
            intercepts.append(float(np.ravel(model.intercept_)[0]))
    return np.stack(weights), np.array(intercepts, dtype=np.float64)


def cases(quick: bool) -> list[Case]:
    """The shapes of the full run, or two layers of the smaller ones."""
    shapes = [(2, 768)] if quick else [(12, 768), (32, 768), (12, 4096), (32, 4096)]
    return [
        Case(data=data, layers=layers, d_model=d, n=N, path=path)
        for layers, d in shapes
        for path in (False, True)
        for data in ("independent", "transformer-like")
    ]


HEADER = (
    "| case | seconds | certified gap | same optimum | scikit-learn's setting | its"
    " default | default's gap | layers timed |\n|---|---|---|---|---|---|---|---|"
)


def line(row: Row) -> str:
    """A row of the table for people; `x` is how many times our time."""
    same, default = row.same_optimum, row.peers[0]
    reached = "not reached" if same is None else f"{same.ratio:.1f} x"
    setting = "" if same is None else f"tol {same.setting}, gap {same.gap:.0e}"
    timed = f"{row.layers_of_peer} of {row.layers}"
    if row.folds_of_peer is not None and row.folds_of_peer < FOLDS:
        timed += f", {row.folds_of_peer} of {FOLDS} folds"
    return (
        f"| {row.case} | {row.seconds:.2f} | {row.certified_gap:.0e} | {reached} |"
        f" {setting} | {default.ratio:.2f} x | {default.gap:.0e} |"
        f" {timed} |"
    )


def ratio_of(row: Row) -> dict[str, object]:
    """What is compared with stored values: times as fast to the same optimum."""
    value = 0.0 if row.same_optimum is None else row.same_optimum.ratio
    return {"name": row.case, "value": value, "better": "higher"}


def parsed() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description="Logistic probes beside scikit-learn on the same data."
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, help="3 by default; 1 for quick paths")
    parser.add_argument("--folds-of-peer", type=int, default=FOLDS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cases", default="", help="those whose name has this in it")
    parser.add_argument("--model", help="a model whose activations are fitted as well")
    parser.add_argument("--statements", help="a file of statements with labels")
    return parser.parse_args()


def main() -> None:
    """Run the cases that were asked for; print each as it ends."""
    options = parsed()
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    wanted = [(case, None) for case in cases(options.quick)]
    if options.model and options.statements:
        sites = captured(options.model, options.statements)
        n, d_model = sites[0][0].shape
        shape = {"layers": len(sites), "d_model": d_model, "n": n}
        wanted += [
            (Case(data="activations", path=path, **shape), sites)
            for path in (False, True)
        ]
    rows = []
    print(end="" if options.json else f"{HEADER}\n", flush=True)
    with threadpool_limits(options.threads):
        for case, sites in wanted:
            if options.cases in case.name:
                given = made(case) if sites is None else sites
                rounds = options.rounds or (1 if options.quick and case.path else 3)
                row = compared(
                    case, given, clock, rounds, options.device, options.folds_of_peer
                )
                rows.append(row)
                if not options.json:
                    print(line(row), flush=True)
    if options.json:
        report = {
            "torch": torch.__version__,
            "scikit-learn": sklearn.__version__,
            "threads": options.threads,
            "clock": options.clock,
            "rows": [
                {**asdict(r), "same_optimum": r.same_optimum and asdict(r.same_optimum)}
                for r in rows
            ],
            "ratios": [ratio_of(row) for row in rows],
        }
        print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
