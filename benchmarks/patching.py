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
import copy
import itertools
import json
import os
import platform
import random
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

import interp
from interp.models.language_model import LanguageModel
from interp.patching import PromptPairs, attribute, trace


os.environ.setdefault("INTERP_PROGRESS", "off")
os.environ.setdefault("TQDM_DISABLE", "1")
VOCABULARY = 2048
PREFIX, POSITIONS, LAYERS = 100, 12, 12
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

Cell = tuple[int, int]  # layer and position in the whole prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One run of a method: LD of the first pair by cell, and what share it ran.

    `counted` is the number of token-layers of the naive loop and of ours.
    """

    ld: dict[Cell, float]
    share: float
    pairs: int
    counted: tuple[int, int] = (0, 0)


Method = Callable[[list[Cell]], Measured]


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


def pairs_of(n: int) -> PromptPairs:
    """Pairs that differ from their first grid position on: no cell is known before."""
    draw = random.Random(0)

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(draw.randrange(3, VOCABULARY) for _ in range(count))

    prefix = tokens(PREFIX)
    tails = [tokens(POSITIONS) for _ in range(n)]
    return PromptPairs(
        clean_ids=tuple((*prefix, *tail) for tail in tails),
        corrupted_ids=tuple((*prefix, *tokens(2), *tail[2:]) for tail in tails),
        positive=(3,) * n,
        negative=(4,) * n,
        start=(PREFIX,) * n,
        roles=(tuple(f"token {i}" for i in range(POSITIONS)),) * n,
        groups=tuple(str(i) for i in range(n)),
    )


def naive(hf: Any, pairs: PromptPairs) -> Method:
    """One whole forward pass per cell, with one plain hook and one row of logits."""
    blocks = _blocks(hf)

    def run(cells: list[Cell]) -> Measured:
        clean = torch.tensor([pairs.clean_ids[0]])
        corrupted = torch.tensor([pairs.corrupted_ids[0]])
        found = {}
        with torch.inference_mode():
            states = hf(clean, output_hidden_states=True, use_cache=False).hidden_states
            for layer, position in cells:
                # The last entry is behind the final norm: `hidden_states` ends so.
                value = states[layer + 1][:, position]

                def replace(
                    module: Any, args: Any, output: Any, new: Any = (position, value)
                ) -> Any:
                    hidden = (
                        output[0] if isinstance(output, tuple) else output
                    ).clone()
                    hidden[:, new[0]] = new[1]
                    return (
                        (hidden, *output[1:]) if isinstance(output, tuple) else hidden
                    )

                handle = blocks[layer].register_forward_hook(replace)
                logits = hf(corrupted, logits_to_keep=1, use_cache=False).logits[0, -1]
                handle.remove()
                found[layer, position] = float(logits[3] - logits[4])
        return Measured(ld=found, share=len(cells) / (LAYERS * POSITIONS), pairs=1)

    return run


def transformer_lens(hf: Any, pairs: PromptPairs) -> Method:
    """`get_act_patch_resid_pre` on TransformerLens' bridge around a copy."""
    from transformer_lens.model_bridge.sources._bridge_builder import (
        build_bridge_from_module,
    )
    from transformer_lens.patching import get_act_patch_resid_pre

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bridge: Any = build_bridge_from_module(
            copy.deepcopy(hf), type(hf).__name__, hf_config=copy.deepcopy(hf.config)
        )
    clean = torch.tensor([pairs.clean_ids[0]])
    corrupted = torch.tensor([pairs.corrupted_ids[0]])

    def run(cells: list[Cell]) -> Measured:
        # `resid_pre` of the next layer; at the top, which has none, the first's.
        places = [((layer + 1) % LAYERS, position) for layer, position in cells]
        frame = pd.DataFrame(places, columns=["layer", "pos"])
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _, cache = bridge.run_with_cache(clean, prepend_bos=False)
            values = get_act_patch_resid_pre(
                bridge,
                corrupted,
                cache,
                lambda logits: logits[0, -1, 3] - logits[0, -1, 4],
                index_axis_names=None,
                index_df=frame,
            )
        found = {
            cell: float(value)
            for cell, value in zip(cells, values, strict=True)
            if cell[0] < LAYERS - 1
        }
        return Measured(ld=found, share=len(cells) / (LAYERS * POSITIONS), pairs=1)

    return run


def attribution(hf: Any, pairs: PromptPairs) -> Method:
    """Two whole forward passes and a backward pass, by plain hooks."""
    blocks = _blocks(hf)

    def run(cells: list[Cell]) -> Measured:
        clean = torch.tensor([pairs.clean_ids[0]])
        corrupted = torch.tensor([pairs.corrupted_ids[0]])
        kept: list[list[torch.Tensor]] = [[], []]

        def keep(module: Any, args: Any, output: Any) -> None:
            kept[-1].append(output[0] if isinstance(output, tuple) else output)

        handles = [block.register_forward_hook(keep) for block in blocks]
        with torch.no_grad():
            hf(clean, logits_to_keep=1, use_cache=False)
        values, kept[-1] = kept[-1], []
        logits = hf(corrupted, logits_to_keep=1, use_cache=False).logits[0, -1]
        gradients = torch.autograd.grad(logits[3] - logits[4], kept[-1])
        for handle in handles:
            handle.remove()
        for value, own, slope in zip(values, kept[-1], gradients, strict=True):
            (slope * (value - own)).sum(-1)
        return Measured(ld={}, share=1.0, pairs=1)

    return run


def ours(model: LanguageModel, pairs: PromptPairs) -> Method:
    def run(cells: list[Cell]) -> Measured:
        found = trace(model, pairs)
        grid = found.ld[0, 0]
        ld = {cell: float(grid[cell[0], cell[1] - PREFIX]) for cell in cells}
        counted = found.naive_token_layers, found.token_layers
        return Measured(ld=ld, share=1.0, pairs=len(pairs), counted=counted)

    return run


def our_attribution(model: LanguageModel, pairs: PromptPairs) -> Method:
    def run(cells: list[Cell]) -> Measured:
        attribute(model, pairs)
        return Measured(ld={}, share=1.0, pairs=len(pairs))

    return run


def _blocks(hf: Any) -> Any:
    return hf.gpt_neox.layers if hasattr(hf, "gpt_neox") else hf.model.layers


def measure(
    shape: str,
    *,
    n_pairs: int,
    n_cells: int,
    repeats: int,
    clock: Callable[[], float],
    without: list[str],
) -> dict[str, Any]:
    model, pairs = model_of(shape), pairs_of(n_pairs)
    one = pairs.subset([0])
    many, screened = f"interp, {n_pairs} pairs", f"interp attribute, {n_pairs} pairs"
    methods: dict[str, Method] = {
        "naive loop": naive(model.hf, one),
        many: ours(model, pairs),
        "interp, 1 pair": ours(model, one),
        "attribution patching": attribution(model.hf, one),
        screened: our_attribution(model, pairs),
    }
    if "transformer_lens" not in without:
        methods["TransformerLens get_act_patch_resid_pre"] = transformer_lens(
            model.hf, one
        )
    draw = random.Random(0)
    grid = range(LAYERS), range(PREFIX, PREFIX + POSITIONS)
    places = list(itertools.product(*grid))
    times: dict[str, list[float]] = {name: [] for name in methods}
    differences: dict[str, float] = {}
    counted = (0, 0)
    for turn in range(repeats + 1):
        # The first turn only warms up.
        order = [name for name in methods if turn or name not in (many, screened)]
        draw.shuffle(order)
        cells = draw.sample(places, min(n_cells, 4) if not turn else n_cells)
        results = {}
        for name in order:
            start = clock()
            done = methods[name](cells)
            took = (clock() - start) / done.share / done.pairs
            results[name] = done.ld
            counted = done.counted if name == many else counted
            if turn:
                times[name].append(took)
        _compare(results, differences)
    ratios = {
        name: statistics.median(
            own / loop for own, loop in zip(taken, times["naive loop"], strict=True)
        )
        for name, taken in times.items()
    }
    against = statistics.median(
        own / other
        for own, other in zip(times[many], times["attribution patching"], strict=True)
    )
    return {
        "shape": shape,
        "cells": n_cells,
        "seconds_per_pair_naive": statistics.median(times["naive loop"]),
        "faster_than_naive": {name: 1 / ratio for name, ratio in ratios.items()},
        "times_attribution": against,
        "naive_token_layers": counted[0],
        "token_layers": counted[1],
        "difference": differences,
        "goal_met": 1 / ratios[many] >= GOAL_NAIVE and against <= GOAL_ATTRIBUTION,
    }


def _compare(results: dict[str, dict[Cell, float]], worst: dict[str, float]) -> None:
    right = results["naive loop"]
    for name, found in results.items():
        both = [c for c in found if c in right and c[0] < LAYERS - 1]
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
