"""What the grid of candidate refusal directions costs beside one candidate per pass.

Every candidate direction has three scores: bypass (ablated, harmful prompts), kl
(ablated, harmless prompts) and induce (added, harmless prompts). Measured beside

* `published`: one candidate at a time as the published code does it: batches of 32
  prompts padded on the left to the longest, hooks in Python at the input of every
  block, attention and MLP, logits of all positions;
* `own loop`: one candidate at a time with this library's `ablate`, `steer` and
  `capture`, which sort prompts by length and hold no logits but the last.

Both score the same candidates on the same prompts as the grid, and the largest
difference of any mean score is printed. `grid, needed scores` leaves out ablation where
the induce score alone rules a candidate out: on random weights that says little, so the
share of such candidates is printed beside it. Methods alternate in one process; ratios
are medians over rounds.

    python benchmarks/refusal.py [--quick] [--json]
"""

# ruff: noqa: E402
import sys
from pathlib import Path


# A script of this folder has the name of a package.
sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != Path(__file__).parent]

import argparse
import json
import random
import re
import statistics
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

from interp import ablate, capture, steer
from interp.models.language_model import LanguageModel
from probes.studies.refusal.candidates import Candidates, Prompts, candidates
from probes.studies.refusal.candidates_grid import GridScores, score_grid
from probes.studies.refusal.score import divergence, refusal_score


INSTRUCTIONS = Path(__file__).parents[2] / "shared" / "data" / "instructions"
VOCABULARY = 50_304
BATCH = 32
# A chat template: what stands before and behind every instruction.
BEFORE, BEHIND = (1, 2, 3), (4, 5, 6, 7, 8)
TOKENS = (40, 41)
GOAL = 0.2
Score3 = tuple[np.ndarray, ...]


def shapes() -> dict[str, dict[str, Any]]:
    neox = {"vocab_size": VOCABULARY, "max_position_embeddings": 512}
    return {
        "embedded family": {
            "model_type": "llama",
            "vocab_size": 880,
            "hidden_size": 96,
            "intermediate_size": 256,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
        },
        "pythia-14m": {
            "model_type": "gpt_neox",
            "hidden_size": 128,
            "intermediate_size": 512,
            "num_hidden_layers": 6,
            "num_attention_heads": 4,
            **neox,
        },
        "pythia-160m": {
            "model_type": "gpt_neox",
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            **neox,
        },
        "llama-small": {
            "model_type": "llama",
            "vocab_size": 32_000,
            "hidden_size": 512,
            "intermediate_size": 1408,
            "num_hidden_layers": 8,
            "num_attention_heads": 8,
        },
    }


def model_of(shape: str) -> LanguageModel:
    fields = dict(shapes()[shape])
    config = AutoConfig.for_model(fields.pop("model_type"), **fields)
    torch.manual_seed(0)
    return LanguageModel(hf=AutoModelForCausalLM.from_config(config).eval(), name=shape)


def prompts_of(kind: str, n: int, d_vocab: int) -> tuple[tuple[int, ...], ...]:
    """Instructions of one kind as token ids: pieces of words, inside a template."""
    path = INSTRUCTIONS / f"{kind}_val.json"
    if path.exists():
        texts = [row["instruction"] for row in json.loads(path.read_text())]
    else:
        draw = random.Random(kind)
        words = ["write", "explain", "give", "how", "to", "make", "the", "a", "of"]
        texts = [" ".join(draw.choices(words, k=8 + i % 20)) for i in range(n)]
    random.Random(0).shuffle(texts)
    return tuple(
        (*BEFORE, *(_token(piece, d_vocab) for piece in _pieces(text)), *BEHIND)
        for text in texts[:n]
    )


def _pieces(text: str) -> list[str]:
    return re.findall(r"\w{1,7}|[^\w\s]", text)


def _token(piece: str, d_vocab: int) -> int:
    return 50 + zlib.crc32(piece.encode()) % (d_vocab - 50)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The same candidates and prompts for every method."""

    model: LanguageModel
    found: Candidates
    prompts: Prompts

    @property
    def places(self) -> list[tuple[int, int]]:
        slots, layers = range(len(self.found.positions)), range(self.found.n_layers)
        alive = ~self.found.degenerate
        return [(s, layer) for s in slots for layer in layers if alive[s, layer]]


def work_of(shape: str, *, n_prompts: int, n_positions: int, every: int) -> Work:
    model = model_of(shape)
    prompts = Prompts(
        harmful=prompts_of("harmful", n_prompts, model.d_vocab),
        harmless=prompts_of("harmless", n_prompts, model.d_vocab),
    )
    positions = range(-n_positions - 1, -1)
    found = candidates(model, prompts, positions=tuple(positions))
    # Some layers stand for all; in the middle of each stretch, so that what an entry at
    # a late block saves is what it saves on average.
    kept = torch.zeros(found.n_layers, 1)
    kept[every // 2 :: every] = 1
    found = replace(found, vectors=found.vectors * kept)
    return Work(model=model, found=found, prompts=prompts)


def published(work: Work) -> Score3:
    """One candidate at a time, with hooks and batches as in published code."""
    hf = work.model.hf
    blocks = work.model.architecture.blocks
    paths = work.model.architecture.map
    harmful, harmless = (
        _left_padded(rows) for rows in (work.prompts.harmful, work.prompts.harmless)
    )
    clean = _last_logits(hf, harmless)
    scores: list[tuple[float, float, float]] = []
    for slot, layer in work.places:
        vector = work.found.vectors[slot, layer]

        def remove(value: torch.Tensor, vector: torch.Tensor = vector) -> torch.Tensor:
            unit = vector / (vector.norm(dim=-1, keepdim=True) + 1e-8)
            return value - (value @ unit).unsqueeze(-1) * unit

        def before(module: Any, args: tuple, remove: Any = remove) -> tuple:
            return (remove(args[0]), *args[1:])

        def behind(module: Any, args: Any, output: Any, remove: Any = remove) -> Any:
            if isinstance(output, tuple):
                return (remove(output[0]), *output[1:])
            return remove(output)

        def add(module: Any, args: tuple, vector: torch.Tensor = vector) -> tuple:
            return (args[0] + vector, *args[1:])

        handles = []
        for block in blocks:
            handles.append(block.register_forward_pre_hook(before))
            for path in (paths.attn, paths.mlp):
                assert path is not None
                module = block.get_submodule(path)
                handles.append(module.register_forward_hook(behind))
        bypass = _scores(_last_logits(hf, harmful))
        kl = divergence(_chances(clean), _chances(_last_logits(hf, harmless)))
        for handle in handles:
            handle.remove()
        handle = blocks[layer].register_forward_pre_hook(add)
        induce = _scores(_last_logits(hf, harmless))
        handle.remove()
        scores.append((bypass.mean(), induce.mean(), kl.mean()))
    return _columns(scores)


def own_loop(work: Work) -> Score3:
    """One candidate at a time through the public functions of this library."""
    model = work.model

    def last(rows: Any) -> torch.Tensor:
        acts = capture(model, rows, sites="logits", positions="last", dtype="float32")
        return acts["logits"]

    clean = _chances(last(work.prompts.harmless))
    scores: list[tuple[float, float, float]] = []
    for slot, layer in work.places:
        vector = work.found.vectors[slot, layer]
        with ablate(model, vector):
            bypass = _scores(last(work.prompts.harmful))
            kl = divergence(clean, _chances(last(work.prompts.harmless)))
        with steer(model, vector, site=f"resid_pre.{layer}"):
            induce = _scores(last(work.prompts.harmless))
        scores.append((bypass.mean(), induce.mean(), kl.mean()))
    return _columns(scores)


def grid(work: Work) -> Score3:
    found = score_grid(work.model, work.found, work.prompts, tokens=TOKENS)
    return _means(found, work)


def needed(work: Work, least_induce: float) -> Callable[[], Score3]:
    def run() -> Score3:
        found = score_grid(
            work.model,
            work.found,
            work.prompts,
            tokens=TOKENS,
            least_induce=least_induce,
        )
        return _means(found, work)

    return run


def _means(found: GridScores, work: Work) -> Score3:
    rows = [found.places.index(place) for place in work.places]
    return tuple(
        scores[rows].mean(1) for scores in (found.bypass, found.induce, found.kl)
    )


def _columns(scores: list[tuple[float, float, float]]) -> Score3:
    return tuple(np.array(scores).T)


def _left_padded(rows: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    batches = []
    for start in range(0, len(rows), BATCH):
        some = rows[start : start + BATCH]
        longest = max(map(len, some))
        ids = torch.tensor([[0] * (longest - len(row)) + list(row) for row in some])
        mask = torch.tensor(
            [[0] * (longest - len(row)) + [1] * len(row) for row in some]
        )
        batches.append((ids, mask))
    return batches


def _last_logits(hf: Any, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> Any:
    with torch.no_grad():
        return torch.cat(
            [
                hf(
                    input_ids=ids,
                    attention_mask=mask,
                    # Without them the positions of padded rows are shifted.
                    position_ids=(mask.cumsum(1) - 1).clamp_min(0),
                ).logits[:, -1]
                for ids, mask in batches
            ]
        )


def _chances(logits: torch.Tensor) -> np.ndarray:
    return logits.double().softmax(-1).numpy()


def _scores(logits: torch.Tensor) -> np.ndarray:
    return refusal_score(_chances(logits)[:, list(TOKENS)].sum(1))


def measure(
    shape: str,
    *,
    n_prompts: int,
    n_positions: int,
    every: int,
    repeats: int,
    clock: Callable[[], float],
) -> dict[str, Any]:
    work = work_of(shape, n_prompts=n_prompts, n_positions=n_positions, every=every)
    right = grid(work)
    middle = float(np.nanmedian(right[1]))
    methods: dict[str, Callable[[], Score3]] = {
        "published": lambda: published(work),
        "own loop": lambda: own_loop(work),
        "grid": lambda: grid(work),
        "grid, needed scores": needed(work, middle),
    }
    times: dict[str, list[float]] = {name: [] for name in methods}
    different: dict[str, float] = {}
    order = list(methods)
    draw = random.Random(0)
    for _ in range(repeats):
        draw.shuffle(order)
        for name in order:
            start = clock()
            found = methods[name]()
            times[name].append(clock() - start)
            different[name] = max(
                float(np.nanmax(abs(one - other)))
                for one, other in zip(found, right, strict=True)
            )

    def ratio(name: str, to: str) -> float:
        pairs = zip(times[name], times[to], strict=True)
        return statistics.median(a / b for a, b in pairs)

    return {
        "shape": shape,
        "candidates": len(work.places),
        "prompts": n_prompts,
        "seconds_published": statistics.median(times["published"]),
        "over_published": {name: ratio(name, "published") for name in methods},
        "over_own_loop": {name: ratio(name, "own loop") for name in methods},
        "difference": different,
        "share_ablated_if_needed": float((right[1] >= middle).mean()),
        "goal": GOAL,
        "goal_met": ratio("grid", "published") <= GOAL,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="The grid of candidates.")
    parser.add_argument("--quick", action="store_true", help="small shapes only")
    parser.add_argument("--json", action="store_true", help="one JSON object instead")
    parser.add_argument("--shape", action="append", default=[], help="only these")
    parser.add_argument("--prompts", type=int, default=32, help="of each kind")
    parser.add_argument("--positions", type=int, default=0, help="of the template")
    parser.add_argument("--every", type=int, default=1, help="every n-th layer only")
    parser.add_argument("--repeats", type=int, default=0, help="rounds of each shape")
    parser.add_argument("--threads", type=int, default=0, help="threads of torch")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    if options.threads:
        torch.set_num_threads(options.threads)
    quick = ["embedded family", "pythia-14m"]
    chosen = options.shape or (quick if options.quick else list(shapes()))
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    results = []
    for shape in chosen:
        result = measure(
            shape,
            n_prompts=options.prompts,
            n_positions=options.positions or (2 if options.quick else 3),
            every=options.every,
            repeats=options.repeats or (2 if options.quick else 3),
            clock=clock,
        )
        results.append(result)
        if not options.json:
            print_result(result)
    if options.json:
        about = {"torch": torch.__version__, "transformers": transformers.__version__}
        print(json.dumps({"about": about, "cases": results}))


def print_result(result: dict[str, Any]) -> None:
    print(
        f"\n{result['shape']}: {result['candidates']} candidates, {result['prompts']}"
        f" prompts of each kind; published {result['seconds_published']:.1f} s"
    )
    print(f"  {'':22}{'/ published':>12}{'/ own loop':>12}{'difference':>12}")
    for name, ratio in result["over_published"].items():
        print(
            f"  {name:22}{ratio:12.3f}{result['over_own_loop'][name]:12.3f}"
            f"{result['difference'][name]:12.0e}"
        )
    share = result["share_ablated_if_needed"]
    met = "met" if result["goal_met"] else "missed"
    print(f"  needed scores: {share:.0%} were ablated; goal {result['goal']} {met}")


if __name__ == "__main__":
    main()
