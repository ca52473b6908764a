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


HERE = Path(__file__).resolve().parent
sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != HERE]
import probes  # noqa: F401


sys.path.append(str(HERE))

import argparse
import json
import time
from dataclasses import asdict

import sklearn
import torch
from probe_cases import FOLDS, Case, captured, cases, made
from probe_rounds import Row, compared
from threadpoolctl import threadpool_limits


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
