"""Capture beside a bare forward pass and beside its peers, alternating in one process.

    python benchmarks/capture.py [--quick] [--json] [--repeats N] [--threads N]
                                 [--clock wall|cpu] [--without nnsight]

Every number is a ratio of times: in each round all methods run once, in random order,
and each is divided by the bare forward pass of the same round; the table shows medians.
The models have random weights and the shapes of real ones. `difference` is the largest
deviation from our rows (the last layer left out, where Hugging Face has a norm more).
"""

import argparse
import csv
import json
import os
import platform
import random
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import capture_peers as peers
import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

import interp
from interp.activations.batching import padding_waste, plan_batches
from interp.activations.budget import CPU_TOKENS


os.environ.setdefault("INTERP_PROGRESS", "off")
FACTS = Path(__file__).parents[1] / "../shared/data/statements/facts.csv"
VOCABULARY = 50_304
# What a byte-pair tokenizer makes of an English word, on average.
TOKENS_PER_WORD = 1.35
FILE_ORDER_BATCH = 25
FEW_SHOT_BATCH = 16
NEOX = {"model_type": "gpt_neox", "max_position_embeddings": 2048}
SHAPES: dict[str, dict[str, Any]] = {
    "pythia-160m": {
        **NEOX,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
    },
    "pythia-14m": {
        **NEOX,
        "hidden_size": 128,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "intermediate_size": 512,
    },
    "llama-small": {
        "model_type": "llama",
        "hidden_size": 512,
        "num_hidden_layers": 8,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "intermediate_size": 1408,
        "max_position_embeddings": 2048,
    },
}
# Medians of ratios differ by about this much from run to run on a quiet machine.
NOISE = 1.03
GOAL_LAST, GOAL_SIX, GOAL_FEW_SHOT, GOAL_WASTE = 1.05, 1.10, 1 / 5, 1.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is measured: methods by name; `bare` is what the others are divided by."""

    name: str
    methods: dict[str, peers.Method]
    goal: float | None = None
    facts: dict[str, float] = field(default_factory=dict)


def model_of(shape: str) -> Any:
    config = AutoConfig.for_model(**SHAPES[shape], vocab_size=VOCABULARY)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return interp.load(AutoModelForCausalLM.from_config(config).eval())


def prompts_of(lengths: Sequence[int], *, prefix: int = 0) -> peers.Ids:
    draw = random.Random(0)
    start = [draw.randrange(3, VOCABULARY) for _ in range(prefix)]
    return [
        start + [draw.randrange(3, VOCABULARY) for _ in range(length)]
        for length in lengths
    ]


def rectangle(
    model: Any, shape: str, batch: int, length: int, *, without: Sequence[str]
) -> Case:
    """All layers at the last position of prompts of one length, in one batch."""
    prompts = prompts_of([length] * batch)
    whole = peers.padded(prompts)
    hf = model.hf
    methods: dict[str, peers.Method] = {
        "bare": peers.bare(hf, [whole]),
        "interp": peers.ours(model, prompts),
        "HF output_hidden_states": peers.hidden_states(hf, [whole]),
    }
    if "transformer_lens" not in without:
        methods["TransformerLens bridge"] = peers.transformer_lens(hf, whole.ids)
    if "nnsight" not in without:
        methods["nnsight"] = peers.nnsight_head(hf, whole.ids)
        methods["nnsight, base model"] = peers.nnsight_base(hf, whole.ids)
    return Case(name=f"{shape} {batch}x{length} last", methods=methods, goal=GOAL_LAST)


def six_sites(model: Any, shape: str, batch: int, length: int, without: Any) -> Case:
    prompts = prompts_of([length] * batch)
    whole = peers.padded(prompts)
    methods: dict[str, peers.Method] = {
        "bare": peers.bare(model.hf, [whole]),
        "interp": peers.ours(model, prompts, six=True),
    }
    if "transformer_lens" not in without:
        methods["TransformerLens bridge"] = peers.transformer_lens(
            model.hf, whole.ids, six=True
        )
    if "nnsight" not in without:
        methods["nnsight, base model"] = peers.nnsight_six(model.hf, whole.ids)
    name = f"{shape} {batch}x{length} six sites, all"
    return Case(name=name, methods=methods, goal=GOAL_SIX)


def in_file_order(prompts: peers.Ids, size: int) -> list[peers.Padded]:
    starts = range(0, len(prompts), size)
    return [peers.padded(prompts[start : start + size]) for start in starts]


def few_shot(model: Any, shape: str, n: int) -> Case:
    """A prefix of 100 tokens and statements of 12, against full prompts in batches."""
    prompts = prompts_of([12] * n, prefix=100)
    batches = in_file_order(prompts, FEW_SHOT_BATCH)
    methods = {
        "bare": peers.bare(model.hf, batches),
        "interp": peers.ours(model, prompts),
        "HF output_hidden_states": peers.hidden_states(model.hf, batches),
    }
    name = f"{shape} few-shot 100+12 x{n}"
    return Case(name=name, methods=methods, goal=GOAL_FEW_SHOT)


def ragged(model: Any, shape: str, n: int | None) -> Case:
    """The lengths of real statements, against padded batches in the file's order."""
    lengths = [5 + (7 * i) % 31 for i in range(560)]
    if FACTS.exists():
        with FACTS.open() as lines:
            texts = [row["statement"] for row in csv.DictReader(lines)]
        lengths = [int(TOKENS_PER_WORD * len(text.split())) + 2 for text in texts]
    waste = padding_waste(lengths, plan_batches(lengths, token_budget=CPU_TOKENS))
    lengths = lengths[:n]
    prompts = prompts_of(lengths)
    batches = in_file_order(prompts, FILE_ORDER_BATCH)
    computed = sum(batch.ids.numel() for batch in batches)
    methods = {
        "bare": peers.bare(model.hf, batches),
        "interp": peers.ours(model, prompts),
        "HF output_hidden_states": peers.hidden_states(model.hf, batches),
    }
    facts = {
        "tokens computed / real, all statements": waste,
        "the same in file order": computed / sum(lengths),
    }
    name = f"{shape} ragged x{len(prompts)}"
    return Case(name=name, methods=methods, goal=1.0, facts=facts)


def measure(case: Case, repeats: int, clock: Callable[[], float]) -> dict[str, Any]:
    rows = {name: method() for name, method in case.methods.items()}
    times: dict[str, list[float]] = {name: [] for name in case.methods}
    order = list(case.methods)
    draw = random.Random(0)
    for _ in range(repeats):
        draw.shuffle(order)
        for name in order:
            start = clock()
            case.methods[name]()
            times[name].append(clock() - start)
    found = {
        name: statistics.median(
            taken / bare for taken, bare in zip(times[name], times["bare"], strict=True)
        )
        for name in case.methods
    }
    mine = rows["interp"]
    differences = {
        name: float((value[:, :-1] - mine[:, :-1]).abs().max())
        for name, value in rows.items()
        if value is not None and mine is not None and name != "interp"
    }
    others = [r for name, r in found.items() if name not in ("bare", "interp")]
    return {
        "case": case.name,
        "ratio": found,
        "difference": differences,
        "seconds_bare": statistics.median(times["bare"]),
        "goal": case.goal,
        "goal_met": case.goal is None or found["interp"] <= case.goal,
        "slower_than_a_peer": found["interp"]
        > NOISE * min(others, default=float("inf")),
        **case.facts,
    }


def peak_memory(shape: str, positions: str, n: int) -> dict[str, Any]:
    """Peak memory of a capture of many batches, beyond that of one bare forward."""
    model = model_of(shape)
    prompts = prompts_of([64] * n)
    batch = peers.padded(prompts[: CPU_TOKENS // 64])
    for _ in range(3):
        peers.bare(model.hf, [batch])()
    interp.capture(model, prompts[:2], sites="resid_post.*")
    before = _peak_bytes()
    acts = interp.capture(model, prompts, positions=positions)
    rows = sum(value.nbytes for value in acts.values.values())
    return {
        "case": f"{shape} memory, {positions}",
        "rows_mb": rows / 1e6,
        "above_rows_mb": (_peak_bytes() - before - rows) / 1e6,
    }


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def cases(*, quick: bool, without: Sequence[str]) -> list[Callable[[], Case]]:
    small, neox, llama = (
        model_of(shape) for shape in ("pythia-14m", "pythia-160m", "llama-small")
    )

    def last(model: Any, shape: str, batch: int, length: int) -> Callable[[], Case]:
        return lambda: rectangle(model, shape, batch, length, without=without)

    short = [
        last(small, "pythia-14m", 8, 64),
        last(neox, "pythia-160m", 8, 16),
        lambda: six_sites(neox, "pythia-160m", 8, 16, without),
        lambda: few_shot(small, "pythia-14m", 64),
        lambda: ragged(small, "pythia-14m", 200),
    ]
    if quick:
        return short
    return [
        *short,
        last(small, "pythia-14m", 8, 16),
        last(neox, "pythia-160m", 8, 128),
        last(neox, "pythia-160m", 32, 128),
        last(llama, "llama-small", 16, 32),
        lambda: six_sites(neox, "pythia-160m", 8, 128, without),
        lambda: six_sites(small, "pythia-14m", 8, 64, without),
        lambda: few_shot(neox, "pythia-160m", 32),
        lambda: few_shot(llama, "llama-small", 64),
        lambda: ragged(neox, "pythia-160m", 200),
        lambda: ragged(small, "pythia-14m", None),
    ]


def print_case(result: dict[str, Any]) -> None:
    goal = "" if result["goal"] is None else f"  goal {result['goal']:.2f}"
    print(f"\n{result['case']}  (bare {result['seconds_bare'] * 1e3:.0f} ms){goal}")
    for name, ratio in result["ratio"].items():
        difference = result["difference"].get(name)
        shown = "" if difference is None else f"  difference {difference:.0e}"
        print(f"  {name:26} {ratio:6.3f}{shown}")
    for name, value in result.items():
        if name.startswith(("tokens", "the same")):
            print(f"  {name:40} {value:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Capture beside its peers.")
    parser.add_argument("--quick", action="store_true", help="small cases only")
    parser.add_argument("--json", action="store_true", help="one JSON object instead")
    parser.add_argument("--repeats", type=int, default=0, help="rounds of each case")
    parser.add_argument("--threads", type=int, default=0, help="threads of torch")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument(
        "--without", action="append", default=[], help="nnsight or transformer_lens"
    )
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    if options.threads:
        torch.set_num_threads(options.threads)
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    repeats = options.repeats or (7 if options.quick else 15)
    # First, while the process has never been larger.
    size = ("pythia-14m", 2000) if options.quick else ("pythia-160m", 320)
    memory = [peak_memory(size[0], positions, size[1]) for positions in ("last", "all")]
    results = []
    for build in cases(quick=options.quick, without=options.without):
        results.append(measure(build(), repeats, clock))
        if not options.json:
            print_case(results[-1])
    if options.json:
        about = {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "processor": platform.machine(),
            "threads": torch.get_num_threads(),
            "repeats": repeats,
            "clock": options.clock,
        }
        ratios = [
            {"name": r["case"], "value": r["ratio"]["interp"], "better": "lower"}
            for r in results
        ]
        report = {"about": about, "cases": results, "memory": memory}
        print(json.dumps({**report, "ratios": ratios}))
    else:
        print_end(results, memory)


def print_end(
    results: Sequence[dict[str, Any]], memory: Sequence[dict[str, Any]]
) -> None:
    print()
    for entry in memory:
        print(
            f"{entry['case']:30} rows {entry['rows_mb']:.1f} MB,"
            f" {entry['above_rows_mb']:.1f} MB above them"
        )
    met = sum(result["goal_met"] for result in results)
    slower = [r["case"] for r in results if r["slower_than_a_peer"]]
    print(
        f"\ngoals met: {met} of {len(results)}; slower than a peer: {slower or 'none'}"
    )


if __name__ == "__main__":
    main()
