"""The model, the prompts and the clock that all parts of `gpu.py` share."""

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

import interp
from interp.activations.batching import plan_batches
from interp.activations.budget import default_token_budget
from interp.models.language_model import LanguageModel


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
# How many prompts tell how long all of them will take.
CALIBRATION = 64

Method = Callable[[], object]
Ids = list[list[int]]
# Ids, mask and last positions.
Batch = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table: how many times the reference's rate a method reaches.

    Attributes:
        part: The part of the benchmark.
        what: What was measured.
        beside: What it was measured beside.
        rate: The median over rounds of the reference's time over that of the method.
        rounds: How many rounds there were time for; 0 where no time was measured.
        goal: What the rate should be at least.
        note: What else there is to say.
    """

    part: str
    what: str
    beside: str
    rate: float
    rounds: int = 0
    goal: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a part runs with.

    Attributes:
        model: The model.
        n_prompts: How many prompts, at most.
        rounds: How many rounds, at most.
        seconds: How long the part may take.
        share: What part of the usual size of the work; less where it did not fit.
    """

    model: LanguageModel
    n_prompts: int
    rounds: int
    seconds: float
    share: float = 1.0

    @property
    def device(self) -> torch.device:
        return self.model.device

    def scaled(self, n: int, least: int = 1) -> int:
        """A number of prompts, pairs or sequences, as far as they fit."""
        return max(least, int(n * self.share))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """The rate of each method beside the first, and over how many rounds."""

    by_name: dict[str, float]
    rounds: int


def model_of(shape: str, dtype: torch.dtype, device: str) -> LanguageModel:
    """A model with random weights, which are made on the device and nowhere else."""
    config = AutoConfig.for_model("llama", **SHAPES[shape])
    torch.manual_seed(0)
    with torch.device(device):
        hf = AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
    return interp.load(hf)


def prompts_of(n: int, d_vocab: int) -> Ids:
    """Prompts of random tokens and lengths."""
    draw = random.Random(0)
    return [
        [draw.randrange(3, d_vocab) for _ in range(draw.randint(SHORTEST, LONGEST))]
        for _ in range(n)
    ]


def batches_of(setting: Setting, prompts: Ids) -> list[Batch]:
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


def bare(setting: Setting, batches: Sequence[Batch]) -> Method:
    """The forward pass of the model without its head, and nothing else."""

    def run() -> None:
        with torch.inference_mode():
            for ids, mask, _ in batches:
                setting.model.hf.base_model(ids, attention_mask=mask, use_cache=False)

    return run


def affordable(setting: Setting, n_methods: int, *, slowest: float = 2.0) -> Ids:
    """As many prompts as the part has time for, with a warm-up and two rounds.

    Args:
        setting: The setting.
        n_methods: How many methods will run.
        slowest: How many times the bare forward pass a method may take.
    """
    few = prompts_of(CALIBRATION, setting.model.d_vocab)
    run = bare(setting, batches_of(setting, few))
    run()
    one = seconds(run, setting.device) / CALIBRATION
    runs = 3 * (1 + (n_methods - 1) * slowest)
    n = min(setting.scaled(setting.n_prompts), int(setting.seconds / (runs * one)))
    return prompts_of(max(8, n), setting.model.d_vocab)


def synchronise(device: torch.device) -> None:
    """Wait for the device, so that a clock sees its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(method: Method, device: torch.device) -> float:
    """How long a method takes, with the device idle before and after."""
    synchronise(device)
    start = time.perf_counter()
    method()
    synchronise(device)
    return time.perf_counter() - start


def rates(methods: dict[str, Method], setting: Setting) -> Rates:
    """Median over rounds of the time of the first method over that of each other.

    Every method runs once before. Rounds end when the part's time would.
    """
    start = time.perf_counter()
    reference = next(iter(methods))
    order = list(methods)
    draw = random.Random(0)
    found: dict[str, list[float]] = {name: [] for name in methods}
    for method in methods.values():
        method()
    synchronise(setting.device)
    a_round = time.perf_counter() - start
    rounds = 0
    while rounds < setting.rounds:
        elapsed = time.perf_counter() - start
        if rounds and elapsed + a_round > setting.seconds:
            break
        draw.shuffle(order)
        taken = {name: seconds(methods[name], setting.device) for name in order}
        for name, value in taken.items():
            found[name].append(taken[reference] / value)
        rounds += 1
        a_round = sum(taken.values())
    medians = {
        name: statistics.median(values)
        for name, values in found.items()
        if name != reference
    }
    return Rates(by_name=medians, rounds=rounds)
