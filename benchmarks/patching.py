"""The exact patching grid beside the naive loop and its peers, in one process.

    python benchmarks/patching.py [--quick] [--shape NAME] [--json] [--repeats N]
                                  [--pairs N] [--cells N] [--threads N]
                                  [--clock wall|cpu]
                                  [--without transformer_lens]

Every number is a time per pair of prompts (100 tokens that all share, then 12 that are
patched in each of 12 layers). In each round all methods run once, in random order, and
each is divided by the naive loop of that round; the table shows medians. The loops run
a random part of their cells in a round, as every cell costs them the same, and their
times are scaled to all cells. The models have random weights. `difference` is the
largest deviation from the naive loop's LD, on the cells it ran.
"""

import argparse
import itertools
import json
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import transformers
from patching_peers import (
    POSITIONS,
    Cell,
    Measured,
    Method,
    attribution,
    naive_loop,
    pairs_of,
    transformer_lens,
)
from transformers import AutoConfig, AutoModelForCausalLM

import interp
from interp.models.language_model import LanguageModel
from interp.patching import PromptPairs, attribute, trace


os.environ.setdefault("INTERP_PROGRESS", "off")
os.environ.setdefault("TQDM_DISABLE", "1")
VOCABULARY = 2048
LAYERS = 12
ATTRIBUTION = "attribution patching"
GOAL_NAIVE, GOAL_ATTRIBUTION = 28.0, 1.6
SHAPES: dict[str, dict[str, Any]] = {
    "neox-256": {
        "model_type": "gpt_neox",
        "hidden_size": 256,
        "num_attention_heads": 4,
        "intermediate_size": 1024,
    },
    "pythia-160m": {
        "model_type": "gpt_neox",
        "hidden_size": 768,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
    },
    "llama-512": {
        "model_type": "llama",
        "hidden_size": 512,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "intermediate_size": 1408,
    },
}


def model_of(shape: str) -> LanguageModel:
    config = AutoConfig.for_model(
        **SHAPES[shape],
        num_hidden_layers=LAYERS,
        max_position_embeddings=512,
        vocab_size=VOCABULARY,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        hf = AutoModelForCausalLM.from_config(config).eval()
        # The usual small initial weights give logits near zero: here a patch is seen.
        for parameter in hf.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)
    return interp.load(hf)


def naive(model: LanguageModel, pairs: PromptPairs) -> Method:
    def run(cells: list[Cell]) -> Measured:
        ld = naive_loop(model.hf, pairs, cells)
        return Measured(ld=ld, share=len(cells) / (LAYERS * POSITIONS))

    return run


def ours(model: LanguageModel, pairs: PromptPairs) -> Method:
    def run(cells: list[Cell]) -> Measured:
        found = trace(model, pairs)
        grid = found.ld[0, 0]
        ld = {cell: float(grid[cell]) for cell in cells}
        counted = found.naive_token_layers, found.token_layers
        return Measured(ld=ld, pairs=len(pairs), counted=counted)

    return run


def our_attribution(model: LanguageModel, pairs: PromptPairs) -> Method:
    def run(cells: list[Cell]) -> Measured:
        attribute(model, pairs)
        return Measured(ld={}, pairs=len(pairs))

    return run


def measure(
    shape: str,
    *,
    n_pairs: int,
    n_cells: int,
    repeats: int,
    clock: Callable[[], float],
    without: Sequence[str],
) -> dict[str, Any]:
    """What all methods of a shape cost beside the naive loop, a pair."""
    methods, many = methods_of(shape, n_pairs, without), f"interp, {n_pairs} pairs"
    places = list(itertools.product(range(LAYERS), range(POSITIONS)))
    draw = random.Random(0)
    times: dict[str, list[float]] = {name: [] for name in methods}
    differences: dict[str, float] = {}
    counted = (0, 0)
    for turn in range(repeats + 1):
        # The first turn only warms up, without what takes longest.
        order = [name for name in methods if turn or not name.endswith(" pairs")]
        draw.shuffle(order)
        cells = draw.sample(places, n_cells if turn else min(n_cells, 4))
        results = {}
        for name in order:
            start = clock()
            done = methods[name](cells)
            taken = (clock() - start) / done.share / done.pairs
            results[name] = done.ld
            counted = done.counted if name == many else counted
            if turn:
                times[name].append(taken)
        _compare(results, differences)
    found = summary(times, ours=many)
    counts = {"naive_token_layers": counted[0], "token_layers": counted[1]}
    about = {"shape": shape, "cells": n_cells}
    return about | found | counts | {"difference": differences}


def methods_of(shape: str, n_pairs: int, without: Sequence[str]) -> dict[str, Method]:
    """The naive loop, ours and its peers on one model."""
    model, pairs = model_of(shape), pairs_of(n_pairs, vocabulary=VOCABULARY)
    one = pairs.subset([0])
    methods = {
        "naive loop": naive(model, one),
        f"interp, {n_pairs} pairs": ours(model, pairs),
        "interp, 1 pair": ours(model, one),
        ATTRIBUTION: attribution(model.hf, one),
        f"interp attribute, {n_pairs} pairs": our_attribution(model, pairs),
    }
    if "transformer_lens" not in without:
        peer = transformer_lens(model.hf, one)
        methods["TransformerLens get_act_patch_resid_pre"] = peer
    return methods


def summary(times: Mapping[str, Sequence[float]], *, ours: str) -> dict[str, Any]:
    """Medians of the ratios of rounds, and whether the goals are met."""

    def over(name: str, other: str) -> float:
        both = zip(times[name], times[other], strict=True)
        return statistics.median(own / beside for own, beside in both)

    faster = {name: 1 / over(name, "naive loop") for name in times}
    against = over(ours, ATTRIBUTION)
    return {
        "seconds_per_pair_naive": statistics.median(times["naive loop"]),
        "faster_than_naive": faster,
        "times_attribution": against,
        "goal_met": faster[ours] >= GOAL_NAIVE and against <= GOAL_ATTRIBUTION,
    }


def _compare(results: dict[str, dict[Cell, float]], worst: dict[str, float]) -> None:
    right = results["naive loop"]
    for name, found in results.items():
        both = found.keys() & right.keys()
        if name != "naive loop" and both:
            gap = max(abs(found[cell] - right[cell]) for cell in both)
            worst[name] = max(worst.get(name, 0.0), gap)


def print_result(result: dict[str, Any]) -> None:
    print(
        f"\n{result['shape']}: naive loop {result['seconds_per_pair_naive']:.1f} s a"
        f" pair ({result['cells']} of {LAYERS * POSITIONS} cells in each round)"
    )
    for name, factor in result["faster_than_naive"].items():
        gap = result["difference"].get(name)
        shown = "" if gap is None else f"  difference {gap:.0e}"
        print(f"  {name:42} {factor:6.1f} x the naive loop{shown}")
    counted = result["naive_token_layers"] / result["token_layers"]
    print(f"  {'token-layers, naive / ours':42} {counted:6.1f}")
    print(f"  {'time of attribution patching':42} {result['times_attribution']:6.2f} x")
    print(f"  goals (>= {GOAL_NAIVE:g} x, <= {GOAL_ATTRIBUTION:g} x) met:", end=" ")
    print("yes" if result["goal_met"] else "NO")


def ratios_of(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is compared with stored values: our speed, and ours over attribution's."""
    ratios: list[dict[str, Any]] = []
    for result in results:
        for name, factor in result["faster_than_naive"].items():
            if name.startswith("interp"):
                case = f"{result['shape']}, {name}, times the naive loop's rate"
                ratios.append({"name": case, "value": factor, "better": "higher"})
    return ratios


def main() -> None:
    parser = argparse.ArgumentParser(description="Patching beside its peers.")
    parser.add_argument("--quick", action="store_true", help="the smallest model only")
    parser.add_argument("--shape", choices=list(SHAPES), help="this model only")
    parser.add_argument("--json", action="store_true", help="one JSON object instead")
    parser.add_argument("--repeats", type=int, default=3, help="rounds of each case")
    parser.add_argument("--pairs", type=int, default=16, help="pairs of our grid")
    parser.add_argument("--cells", type=int, default=24, help="cells of each loop")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--without", action="append", default=[])
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(options.threads)
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    chosen = [options.shape] if options.shape else list(SHAPES)
    results = [
        measure(
            shape,
            n_pairs=options.pairs,
            n_cells=options.cells,
            repeats=options.repeats,
            clock=clock,
            without=options.without,
        )
        for shape in (chosen[:1] if options.quick else chosen)
    ]
    facts = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "machine": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "clock": options.clock,
        "numpy": np.__version__,
    }
    if options.json:
        report = {"facts": facts, "results": results, "ratios": ratios_of(results)}
        print(json.dumps(report, indent=2))
        return
    print(", ".join(f"{name} {value}" for name, value in facts.items()))
    for result in results:
        print_result(result)


if __name__ == "__main__":
    main()
