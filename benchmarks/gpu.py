"""What this library does on one CUDA device beside a bare forward pass and its peers.

    python benchmarks/gpu.py [--shape llama-8b|llama-1b|tiny] [--dtype bfloat16]
                             [--prompts N] [--rounds N] [--parts a,b] [--json]
                             [--device cuda|cpu]

Needs nothing but the package: the model has the shape of a real one and random weights,
made on the device. Every ratio is of wall times with the device synchronised; methods
alternate in one process and each is divided by the reference of the same round. Parts:

* `capture`: the last position of every layer for thousands of ragged prompts, beside a
  bare forward of the same batches and HF `output_hidden_states`, with the peak memory
  above the weights;
* `sites`: six sites at all positions, kept on the device, beside a bare forward;
* `patching`: the exact grid of pairs beside one forward per cell (a sample of cells);
* `heads`: attention scores of all heads beside a bare forward with eager attention;
* `probes`: logistic probes of all layers, single and 5 folds x 10 penalties, beside
  scikit-learn on the CPU (some of its fits, scaled), where it is installed;
* `peers`: the capture of two batches by TransformerLens and nnsight, where installed.

`--device cpu --shape tiny` tries the script itself without a device.
"""

# ruff: noqa: E402
import sys
from pathlib import Path


# A script of this folder has the name of a package.
sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != Path(__file__).parent]

import argparse
import itertools
import json
import os
import platform
import random
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM


os.environ.setdefault("INTERP_PROGRESS", "off")
import interp
import probes
from interp.activations.batching import plan_batches
from interp.activations.budget import default_token_budget
from interp.models.language_model import LanguageModel
from interp.patching import PromptPairs, trace


SHAPES: dict[str, dict[str, int]] = {
    "llama-8b": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128_256,
        "max_position_embeddings": 8192,
    },
    "llama-1b": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128_256,
        "max_position_embeddings": 8192,
    },
    "tiny": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 512,
        "max_position_embeddings": 512,
    },
}
SHORTEST, LONGEST = 16, 128
PREFIX, POSITIONS, CELLS, PAIRS = 100, 12, 16, 16
SIX = ("resid_pre", "resid_post", "attn_out", "mlp_out", "mlp_post", "z")
EXAMPLES, FOLDS, PENALTIES, FITS_OF_SKLEARN = 1500, 5, 10, 2
GOAL_CAPTURE, GOAL_PROBES = 0.95, 100.0

Method = Callable[[], object]
Ids = list[list[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table: how many times the reference's rate a method reaches."""

    part: str
    what: str
    beside: str
    rate: float
    goal: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    model: LanguageModel
    n_prompts: int
    rounds: int

    @property
    def device(self) -> torch.device:
        return self.model.device


def model_of(shape: str, dtype: torch.dtype, device: str) -> LanguageModel:
    config = AutoConfig.for_model("llama", **SHAPES[shape])
    torch.manual_seed(0)
    with torch.device(device):
        hf = AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
    return interp.load(hf)


def prompts_of(n: int, d_vocab: int) -> Ids:
    draw = random.Random(0)
    return [
        [draw.randrange(3, d_vocab) for _ in range(draw.randint(SHORTEST, LONGEST))]
        for _ in range(n)
    ]


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(method: Method, device: torch.device) -> float:
    synchronise(device)
    start = time.perf_counter()
    method()
    synchronise(device)
    return time.perf_counter() - start


def rates(methods: dict[str, Method], setting: Setting) -> dict[str, float]:
    """Median over rounds of the time of the first method over that of each other."""
    reference = next(iter(methods))
    order = list(methods)
    draw = random.Random(0)
    found: dict[str, list[float]] = {name: [] for name in methods}
    for method in methods.values():
        method()
    for _ in range(setting.rounds):
        draw.shuffle(order)
        taken = {name: seconds(methods[name], setting.device) for name in order}
        for name, value in taken.items():
            found[name].append(taken[reference] / value)
    return {
        name: statistics.median(values)
        for name, values in found.items()
        if name != reference
    }


def batches_of(setting: Setting, prompts: Ids) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Ids, mask and last positions of the batches that `capture` would make too."""
    lengths = [len(ids) for ids in prompts]
    budget = default_token_budget(setting.model)
    made = []
    for rows in plan_batches(lengths, token_budget=budget):
        longest = max(lengths[row] for row in rows)
        ids = torch.tensor(
            [prompts[row] + [0] * (longest - lengths[row]) for row in rows]
        )
        ends = torch.tensor([lengths[row] for row in rows])
        mask = (torch.arange(longest) < ends[:, None]).long()
        made.append(tuple(t.to(setting.device) for t in (ids, mask, ends - 1)))
    return made


def bare(setting: Setting, batches: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Method:
    def run() -> None:
        with torch.inference_mode():
            for ids, mask, _ in batches:
                setting.model.hf.base_model(ids, attention_mask=mask, use_cache=False)

    return run


def hidden_states(
    setting: Setting, batches: Sequence[tuple[Tensor, Tensor, Tensor]]
) -> Method:
    def run() -> Tensor:
        rows = []
        with torch.inference_mode():
            for ids, mask, last in batches:
                states = setting.model.hf.base_model(
                    ids, attention_mask=mask, use_cache=False, output_hidden_states=True
                ).hidden_states[1:]
                index = torch.arange(len(ids), device=ids.device)
                rows.append(torch.stack([s[index, last] for s in states], 1).cpu())
        return torch.cat(rows)

    return run


def transformer_lens(
    setting: Setting, batches: Sequence[tuple[Tensor, Tensor, Tensor]]
) -> Method:
    """TransformerLens' bridge on the same weights, full batches of its own padding."""
    from transformer_lens.model_bridge.sources._bridge_builder import (
        build_bridge_from_module,
    )

    hf = setting.model.hf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bridge = build_bridge_from_module(hf, type(hf).__name__, hf_config=hf.config)
    names = [f"blocks.{i}.hook_resid_post" for i in range(setting.model.n_layers)]

    def run() -> None:
        with torch.inference_mode():
            for ids, _, last in batches:
                _, cache = bridge.run_with_cache(
                    ids, names_filter=names, prepend_bos=False, return_type=None
                )
                index = torch.arange(len(ids), device=ids.device)
                torch.stack([cache[name][index, last] for name in names], 1).cpu()

    return run


def nnsight(
    setting: Setting, batches: Sequence[tuple[Tensor, Tensor, Tensor]]
) -> Method:
    """Nnsight at its best: around the base model, without a cache."""
    from nnsight import NNsight

    model: Any = NNsight(setting.model.hf.base_model)

    def run() -> None:
        for ids, mask, last in batches:
            rows: list[Any] = []
            index = torch.arange(len(ids), device=ids.device)
            with (
                torch.inference_mode(),
                model.trace(ids, attention_mask=mask, use_cache=False),
            ):
                for layer in model.layers:
                    rows.append(layer.output[index, last].save())
            torch.stack(rows, 1).cpu()

    return run


def capture_part(setting: Setting) -> list[Row]:
    prompts = prompts_of(setting.n_prompts, setting.model.d_vocab)
    batches = batches_of(setting, prompts)
    beside = f"bare forward, {len(prompts)} prompts"

    def ours() -> Tensor:
        return interp.capture(setting.model, prompts)["resid_post"]

    found = rates(
        {
            "bare": bare(setting, batches),
            "interp": ours,
            "HF output_hidden_states": hidden_states(setting, batches),
        },
        setting,
    )
    rows = [
        Row(
            part="capture",
            what=f"{name}, last position of all layers",
            beside=beside,
            rate=rate,
            goal=GOAL_CAPTURE if name == "interp" else None,
        )
        for name, rate in found.items()
    ]
    return [*rows, *_memory(setting, ours)]


def peers_part(setting: Setting) -> list[Row]:
    """The last part: peers leave hooks on the model that they are given."""
    prompts = prompts_of(setting.n_prompts, setting.model.d_vocab)
    batches = batches_of(setting, prompts)
    few = batches[len(batches) // 2 :][:2]
    rows = []
    for name, make in (("transformer_lens", transformer_lens), ("nnsight", nnsight)):
        if find_spec(name) is None:
            continue
        try:
            methods = {"bare": bare(setting, few), name: make(setting, few)}
            rate = rates(methods, setting)[name]
        except Exception as error:  # a peer may not support a version or a shape
            print(f"{name} could not be measured: {error!r}"[:300], file=sys.stderr)
            continue
        what = f"{name}, last position of all layers"
        beside = f"bare forward, {len(few)} batches"
        rows.append(Row(part="peers", what=what, beside=beside, rate=rate))
    return rows


def _memory(setting: Setting, ours: Callable[[], Tensor]) -> list[Row]:
    if setting.device.type != "cuda":
        return []
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    rows = ours()
    above = torch.cuda.max_memory_allocated() - before
    note = f"peak above the weights {above / 2**30:.2f} GiB, rows (CPU) "
    note += f"{rows.nbytes / 2**30:.2f} GiB"
    weights = sum(p.nbytes for p in setting.model.hf.parameters())
    return [
        Row(
            part="capture",
            what="peak memory above the weights",
            beside="the weights",
            rate=above / weights,
            note=note,
        )
    ]


def sites_part(setting: Setting) -> list[Row]:
    n = max(8, setting.n_prompts // 64)
    prompts = prompts_of(n, setting.model.d_vocab)
    methods: dict[str, Method] = {
        "bare": bare(setting, batches_of(setting, prompts)),
        "interp": lambda: interp.capture(
            setting.model,
            prompts,
            sites=[f"{name}.*" for name in SIX],
            positions="all",
            device=setting.device,
        ),
    }
    rate = rates(methods, setting)["interp"]
    what = "interp, six sites of all layers at all positions, rows kept on the device"
    return [
        Row(part="sites", what=what, beside=f"bare forward, {n} prompts", rate=rate)
    ]


def patching_part(setting: Setting) -> list[Row]:
    model, pairs = setting.model, pairs_of(PAIRS)
    cells = list(itertools.product(range(model.n_layers), range(POSITIONS)))
    share = CELLS / len(cells)
    sample = random.Random(0).sample(cells, CELLS)
    naive_cells: dict[tuple[int, int], float] = {}

    def naive() -> None:
        naive_cells.update(naive_loop(model, pairs, sample))

    first = seconds(naive, model.device)  # warms up
    grid = trace(model, pairs).ld[0, 0]
    gap = max(abs(grid[cell] - value) for cell, value in naive_cells.items())
    del first
    ratios = []
    for _ in range(setting.rounds):
        loop = seconds(naive, model.device) / share
        own = seconds(lambda: trace(model, pairs), model.device) / len(pairs)
        ratios.append(loop / own)
    return [
        Row(
            part="patching",
            what=f"interp.patching.trace, {PAIRS} pairs, a pair",
            beside=f"one forward per cell ({CELLS} of {len(cells)} cells, scaled)",
            rate=statistics.median(ratios),
            note=f"largest difference of a cell {gap:.2g}",
        )
    ]


def pairs_of(n: int) -> PromptPairs:
    draw = random.Random(0)

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(draw.randrange(3, 500) for _ in range(count))

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


def naive_loop(
    model: LanguageModel, pairs: PromptPairs, cells: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], float]:
    """LD of cells of the first pair, by one whole forward pass and a hook each."""
    hf = model.hf
    clean = torch.tensor([pairs.clean_ids[0]], device=model.device)
    corrupted = torch.tensor([pairs.corrupted_ids[0]], device=model.device)
    blocks = hf.base_model.layers
    kept: list[Tensor] = []
    handles = [
        block.register_forward_hook(lambda _m, _a, out: kept.append(_stream(out)))
        for block in blocks
    ]
    found = {}
    with torch.inference_mode():
        hf(clean, use_cache=False, logits_to_keep=1)
        for handle in handles:
            handle.remove()
        for layer, position in cells:
            at, value = PREFIX + position, kept[layer][:, PREFIX + position]

            def replaced(_m: Any, _a: Any, out: Any, at=at, value=value) -> Any:
                hidden = _stream(out).clone()
                hidden[:, at] = value
                return (hidden, *out[1:]) if isinstance(out, tuple) else hidden

            handle = blocks[layer].register_forward_hook(replaced)
            logits = hf(corrupted, use_cache=False, logits_to_keep=1).logits[0, -1]
            handle.remove()
            found[layer, position] = float(logits[3].float() - logits[4].float())
    return found


def _stream(out: Any) -> Tensor:
    return out[0] if isinstance(out, tuple) else out


def heads_part(setting: Setting) -> list[Row]:
    model = setting.model
    sequences = interp.heads.repeated_tokens(model, seed=0)
    ids = torch.tensor(sequences.ids.tolist(), device=model.device)

    def eager() -> None:
        before = model.hf.config._attn_implementation
        model.hf.set_attn_implementation("eager")
        try:
            with torch.inference_mode():
                for batch in ids.split(8):
                    model.hf(batch, use_cache=False, output_attentions=True)
        finally:
            model.hf.set_attn_implementation(before)

    methods: dict[str, Method] = {
        "eager": eager,
        "interp": lambda: interp.heads.score(model, sequences, resamples=20),
    }
    rate = rates(methods, setting)["interp"]
    what = f"interp.heads.score, {len(ids)} sequences of {ids.shape[1]} tokens"
    beside = "a forward with output_attentions (8 at a time, patterns thrown away)"
    return [Row(part="heads", what=what, beside=beside, rate=rate)]


def probes_part(setting: Setting) -> list[Row]:
    if find_spec("sklearn") is None:
        print("scikit-learn is not installed: probes not measured", file=sys.stderr)
        return []
    from sklearn.linear_model import LogisticRegression

    n_layers, d_model = setting.model.n_layers, setting.model.d_model
    n = EXAMPLES if d_model > 1000 else 200
    rows, labels = transformer_like(n, n_layers, d_model, setting.device)
    on_cpu = rows.cpu().numpy().astype(np.float64)
    targets = labels.cpu().numpy()

    folds = torch.arange(n, device=setting.device) % FOLDS
    held_in = (folds != torch.arange(FOLDS, device=setting.device)[:, None]).float()
    penalties = np.logspace(-4, 4, PENALTIES).tolist()

    def single() -> None:
        probes.fit_logistic(rows, labels)

    def path() -> None:
        probes.fit_logistic(rows, labels, weights=held_in, c=penalties)

    start = time.perf_counter()
    for layer in range(FITS_OF_SKLEARN):
        LogisticRegression(max_iter=10_000, tol=1e-6).fit(on_cpu[layer], targets)
    one = (time.perf_counter() - start) / FITS_OF_SKLEARN
    made = []
    for name, method, fits in (
        ("single fits of all layers", single, n_layers),
        (f"{FOLDS} folds x {PENALTIES} penalties", path, n_layers * FOLDS * PENALTIES),
    ):
        method()
        own = statistics.median(
            seconds(method, setting.device) for _ in range(setting.rounds)
        )
        made.append(
            Row(
                part="probes",
                what=f"{name}, n {n}, d {d_model}, {n_layers} layers",
                beside=f"scikit-learn on the CPU ({FITS_OF_SKLEARN} fits, scaled)",
                rate=one * fits / own,
                goal=GOAL_PROBES if setting.device.type == "cuda" else None,
            )
        )
    return made


def transformer_like(
    n: int, n_layers: int, d_model: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Features with a spectrum that falls like that of activations, and labels."""
    draw = torch.Generator(device=device).manual_seed(0)
    scale = torch.arange(1, d_model + 1, device=device) ** -0.7
    rows = torch.randn(n_layers, n, d_model, device=device, generator=draw) * scale
    labels = torch.arange(n, device=device) % 2 == 1
    shift = torch.randn(n_layers, 1, d_model, device=device, generator=draw) * scale
    rows = rows + 0.3 * labels[:, None].float() * shift
    return rows, labels


PARTS: dict[str, Callable[[Setting], list[Row]]] = {
    "capture": capture_part,
    "sites": sites_part,
    "patching": patching_part,
    "heads": heads_part,
    "probes": probes_part,
    "peers": peers_part,
}


def facts(options: argparse.Namespace) -> dict[str, str]:
    has_cuda = options.device.startswith("cuda")
    return {
        "device": torch.cuda.get_device_name() if has_cuda else platform.machine(),
        "shape": options.shape,
        "dtype": options.dtype,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }


def line(row: Row) -> str:
    goal = "" if row.goal is None else f" (goal {row.goal:g})"
    note = f"; {row.note}" if row.note else ""
    return f"| {row.part} | {row.what} | {row.beside} | {row.rate:.3g}{goal}{note} |"


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="One CUDA device.")
    parser.add_argument("--shape", choices=list(SHAPES), default="llama-8b")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--prompts", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--json", action="store_true", help="one JSON object instead")
    options = parser.parse_args()
    unknown = [name for name in options.parts.split(",") if name not in PARTS]
    if unknown:
        parser.error(f"no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("PyTorch finds no CUDA device; --device cpu --shape tiny tries it")
    return options


def main() -> None:
    options = parsed()
    transformers.logging.set_verbosity_error()
    dtype = getattr(torch, options.dtype)
    setting = Setting(
        model=model_of(options.shape, dtype, options.device),
        n_prompts=options.prompts,
        rounds=options.rounds,
    )
    about = facts(options)
    if not options.json:
        print(", ".join(f"{name} {value}" for name, value in about.items()))
        print("| part | what | beside | times the rate |\n|---|---|---|---|")
    rows: list[Row] = []
    for name in options.parts.split(","):
        # One part that fails must not lose what the others measured.
        try:
            found = PARTS[name](setting)
        except Exception as error:
            found = []
            print(f"{name} failed: {error!r}"[:500], file=sys.stderr)
        rows += found
        if not options.json:
            for row in found:
                print(line(row), flush=True)
    if options.json:
        print(json.dumps({"facts": about, "rows": [asdict(row) for row in rows]}))


if __name__ == "__main__":
    main()
