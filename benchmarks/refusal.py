"""What the grid of candidate refusal directions costs beside one candidate per pass.

Every candidate direction has three scores: bypass (ablated, harmful prompts), kl
(ablated, harmless prompts) and induce (added, harmless prompts). Measured beside

* `published`: one candidate at a time as the published code does it: batches of 32
  prompts padded on the left to the longest, hooks in Python at the input of every
  block, attention and MLP, logits of all positions, a pass for each score;
* `own loop`: one candidate at a time with this library's `ablate`, `steer` and
  `capture`, which sort prompts by length and hold no logits but the last (one round).

Both score the same candidates on the same prompts as the grid, and the largest
difference of any mean score is printed. `grid, needed scores` computes what the rule of
selection needs to choose the same candidates. On random weights the limit of the induce
score is put at its median, which says little; `--trained FOLDER` measures it on the
POST model of a trained family under the published rule, with the tokens behind an
instruction as positions, and with the last five tokens.

The candidates of a study are those at all template positions and layers. Where that
takes long, some of them are scored, the same ones in every way. The clean passes, which
do not depend on their number, are timed by themselves, and `all` is the ratio with all
candidates. `arithmetic` is the same ratio in multiplications, without clean passes; and
the least that any method needs which runs every distinct beginning of a prompt through
every block once. Methods alternate in one process; ratios are medians over rounds.

    python benchmarks/refusal.py [--quick] [--json]
    python benchmarks/refusal.py --trained FOLDER
"""

# ruff: noqa: E402
import sys
from pathlib import Path


# A script of this folder has the name of a package: the folder comes last.
HERE = str(Path(__file__).resolve().parent)
sys.path[:] = [*(p for p in sys.path if str(Path(p or ".").resolve()) != HERE)]
import probes.studies.refusal  # noqa: F401


sys.path.append(HERE)

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
import transformers
from refusal_peers import Score3, own_loop, published, published_clean
from refusal_work import (
    OPENINGS,
    TRAINED,
    Work,
    arithmetic,
    rule_of,
    shapes,
    trained_work,
    work_of,
)

from interp.directions.selection import SelectionRule, select
from probes.studies.refusal.candidates_clean import clean_runs
from probes.studies.refusal.candidates_grid import Grid
from probes.studies.refusal.grid_scores import GridScores


GOAL = 0.2
NEEDED = "grid, needed scores"
SCORES = ("bypass", "induce", "kl")
# Of the five template positions the last so many, and every n-th layer.
SCORED = {
    "embedded family": (5, 1),
    "pythia-14m": (5, 2),
    "llama-small": (2, 3),
    "pythia-160m": (1, 4),
}
QUICK = {"embedded family": (5, 1), "pythia-14m": (1, 2)}
CLEAN_OF = {"published": "published, clean"} | dict.fromkeys(
    ("grid", NEEDED), "grid, clean"
)


def grid(work: Work, rule: SelectionRule | None = None) -> Score3:
    made = Grid.of(work.model, work.found, work.prompts, tokens=work.tokens)
    return _means(made.scored(needed_by=rule), work)


def grid_clean(work: Work) -> None:
    """What the grid runs once, whatever the number of candidates."""
    clean_runs(work.model, work.prompts.harmful, work.prompts.harmless)


def _means(found: GridScores, work: Work) -> Score3:
    rows = [found.places.index(place) for place in work.places]
    return tuple(
        scores[rows].mean(1) for scores in (found.bypass, found.induce, found.kl)
    )


def measure(
    work: Work, *, repeats: int, clock: Callable[[], float], own: bool
) -> dict[str, Any]:
    methods: dict[str, Callable[[], Score3 | None]] = {
        "published": lambda: published(work),
        "grid": lambda: grid(work),
        "published, clean": lambda: published_clean(work),
        "grid, clean": lambda: grid_clean(work),
    }
    found: dict[str, Score3] = {}
    times: dict[str, list[float]] = {name: [] for name in (*methods, NEEDED)}

    def timed(name: str, method: Callable[[], Score3 | None]) -> float:
        start = clock()
        scores = method()
        taken = clock() - start
        if scores is not None:
            found[name] = scores
        return taken

    order = list(methods)
    draw = random.Random(0)
    for _ in range(repeats):
        draw.shuffle(order)
        for name in order:
            times[name].append(timed(name, methods[name]))
        # Known only now, where nothing was trained: half of the candidates fall.
        rule = work.rule or rule_of(work, float(np.nanmedian(found["grid"][1])))
        times[NEEDED].append(timed(NEEDED, lambda rule=rule: grid(work, rule)))
    own_time = timed("own loop", lambda: own_loop(work)) if own else None
    right, needed = found["grid"], found[NEEDED]
    different = {
        name: max(
            float(np.nanmax(abs(a - b))) for a, b in zip(scores, right, strict=True)
        )
        for name, scores in found.items()
    }
    return _case(work, times, own_time, different) | {
        "shares_if_needed": {
            name: float(np.isfinite(scores).mean())
            for name, scores in zip(SCORES, needed, strict=True)
        },
        "same_choice": work.rule is None
        or _chosen(work, right) == _chosen(work, needed),
    }


def _chosen(work: Work, scores: Score3) -> tuple[int, ...]:
    """The best candidates by the rule, in order."""
    assert work.rule is not None
    slots, layers = np.array(work.places).T
    table = {"position": slots, "layer": layers}
    means = dict(zip(SCORES, scores, strict=True))
    limits = {"max_bypass": work.rule.max_bypass, "n_layers": work.rule.n_layers}
    return select(table | means, **limits).top


def _case(
    work: Work,
    times: dict[str, list[float]],
    own: float | None,
    different: dict[str, float],
) -> dict[str, Any]:
    n, more = len(work.places), work.n_all / len(work.places)

    def whole(name: str, i: int) -> float:
        """The time of a round if all candidates had been scored."""
        fixed = times[CLEAN_OF[name]][i]
        return fixed + more * (times[name][i] - fixed)

    rounds = range(len(times["published"]))
    names = ("grid", NEEDED)
    measured = {
        name: statistics.median(times[name][i] / times["published"][i] for i in rounds)
        for name in names
    }
    over_all = {
        name: statistics.median(whole(name, i) / whole("published", i) for i in rounds)
        for name in names
    }
    if own is not None:
        measured["own loop"] = own / statistics.median(times["published"])
    return {
        "candidates": n,
        "all_candidates": work.n_all,
        "prompts": len(work.prompts.harmless),
        "seconds_published": statistics.median(times["published"]),
        "over_published": measured,
        "over_published_all": over_all,
        "arithmetic": asdict(arithmetic(work)),
        "difference": different,
        "goal": GOAL,
        "goal_met": over_all["grid"] <= GOAL,
    }


def parsed() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description="The grid of candidates.")
    parser.add_argument("--quick", action="store_true", help="small shapes only")
    parser.add_argument("--json", action="store_true", help="one JSON object instead")
    parser.add_argument("--shape", action="append", default=[], choices=list(shapes()))
    parser.add_argument(
        "--opening", action="append", default=[], choices=list(OPENINGS)
    )
    parser.add_argument("--prompts", type=int, default=32, help="of each kind")
    parser.add_argument("--positions", type=int, default=0, help="of the template")
    parser.add_argument("--every", type=int, default=0, help="every n-th layer only")
    parser.add_argument("--repeats", type=int, default=0, help="rounds of each shape")
    parser.add_argument(
        "--trained", type=Path, help="folder of a family that was trained: its POST"
    )
    parser.add_argument("--without-own", action="store_true", help="no own loop")
    parser.add_argument("--threads", type=int, default=0, help="threads of torch")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    return parser.parse_args()


def works(options: argparse.Namespace) -> Iterator[tuple[dict[str, str], Work]]:
    """What is measured, one at a time, with its names."""
    if options.trained:
        for name, positions in TRAINED.items():
            work = trained_work(
                options.trained, n_prompts=options.prompts, positions=positions
            )
            shape = f"embedded family, trained, {name}"
            yield {"shape": shape, "opening": "own"}, work
    scored = QUICK if options.quick else SCORED
    for shape in options.shape or ([] if options.trained else list(scored)):
        n_positions, every = scored.get(shape, SCORED[shape])
        for opening in options.opening or list(OPENINGS):
            work = work_of(
                shape,
                opening=opening,
                n_prompts=options.prompts,
                n_positions=options.positions or n_positions,
                every=options.every or every,
            )
            yield {"shape": shape, "opening": opening}, work


def main() -> None:
    options = parsed()
    transformers.logging.set_verbosity_error()
    if options.threads:
        torch.set_num_threads(options.threads)
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    results = []
    for names, work in works(options):
        result = names | measure(
            work,
            repeats=options.repeats or (2 if options.quick else 3),
            clock=clock,
            own=not options.without_own,
        )
        results.append(result)
        if not options.json:
            print_result(result)
    if options.json:
        about = {"torch": torch.__version__, "transformers": transformers.__version__}
        ratios = [
            {
                "name": f"{r['shape']}, {r['opening']} opening, grid over published",
                "value": r["over_published_all"]["grid"],
                "better": "lower",
            }
            for r in results
        ]
        print(json.dumps({"about": about, "cases": results, "ratios": ratios}))


def print_result(result: dict[str, Any]) -> None:
    print(
        f"\n{result['shape']}, {result['opening']} opening: {result['candidates']} of"
        f" {result['all_candidates']} candidates, {result['prompts']} prompts of each"
        f" kind; published {result['seconds_published']:.1f} s"
    )
    print(f"  {'over published':22}{'these':>10}{'all':>10}")
    for name, ratio in result["over_published"].items():
        over_all = result["over_published_all"].get(name)
        text = "" if over_all is None else f"{over_all:.3f}"
        print(f"  {name:22}{ratio:10.3f}{text:>10}")
    for name in ("published", "own loop"):
        if name in result["difference"]:
            worst = result["difference"][name]
            print(f"  mean scores differ from {name} by at most {worst:.0e}")
    counts = result["arithmetic"]
    met = "met" if result["goal_met"] else "missed"
    print(
        f"  arithmetic: grid {counts['grid']:.3f}, least {counts['least']:.3f};"
        f" goal {result['goal']} {met}\n  needed scores, of the candidates:"
        f" {', '.join(f'{k} {v:.0%}' for k, v in result['shares_if_needed'].items())};"
        f" same choice: {result['same_choice']}",
        flush=True,
    )


if __name__ == "__main__":
    main()
