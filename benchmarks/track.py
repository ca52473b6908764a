"""What a checkpoint costs in `track`, beside reading its weights and running it once.

    python benchmarks/track.py [--quick] [--json] [--rounds N] [--threads N]
                               [--clock wall|cpu]

The series is of a model with random weights. In each round, in random order, (a) every
checkpoint's weights are read into a loaded model and the evaluation tokens are run
through it once, as plainly as can be, and (b) `track` measures the series with its
usual metrics. From (b) only the time between the first and the last checkpoint counts,
so that making the model and the bootstrap at the end do not, on either side. Shown is
the median of the ratios b / a of the rounds, per checkpoint; the goal is 1.3.
With `--clock cpu` processor time counts, of all threads: on a machine with other work
that is steadier, and what reading ahead hides counts in full.
"""

import argparse
import json
import logging
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

import interp
from interp import heads


os.environ.setdefault("INTERP_PROGRESS", "off")
GOAL = 1.3
Clock = Callable[[], float]
SHAPES: dict[str, dict[str, Any]] = {
    # Quick: large enough that the model and not the interpreter takes the time.
    "quick": {
        "hidden_size": 256,
        "num_attention_heads": 8,
        "num_hidden_layers": 6,
        "intermediate_size": 1024,
        "vocab_size": 8192,
    },
    "pythia-70m": {
        "hidden_size": 512,
        "num_attention_heads": 8,
        "num_hidden_layers": 6,
        "intermediate_size": 2048,
        "vocab_size": 50304,
    },
}


def make_series(folder: Path, shape: dict[str, Any], n_checkpoints: int) -> None:
    """Checkpoints of random weights, each a little away from the one before."""
    config = AutoConfig.for_model("gpt_neox", max_position_embeddings=256, **shape)
    generator = torch.Generator().manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    for number in range(n_checkpoints):
        place = folder / f"step{number * 100}"
        model.save_pretrained(place)
        tensors = load_file(place / "model.safetensors")
        for name, tensor in tensors.items():
            noise = torch.randn(tensor.shape, generator=generator)
            tensors[name] = tensor + 0.01 * noise
        save_file(tensors, place / "model.safetensors", metadata={"format": "pt"})


def plain_seconds(
    model: interp.LanguageModel, ids: torch.Tensor, folders: list[Path], clock: Clock
) -> float:
    """Seconds per checkpoint to read its weights and run the tokens once."""
    targets = model.hf.state_dict()
    # As the files call it.
    targets["embed_out.weight"] = model.hf.get_output_embeddings().weight
    start = clock()
    for folder in folders:
        tensors = load_file(folder / "model.safetensors")
        with torch.inference_mode():
            for name, tensor in tensors.items():
                targets[name].copy_(tensor)
            for rows in ids.split(16):
                model.hf(input_ids=rows, use_cache=False)
    return (clock() - start) / len(folders)


def tracked_seconds(folder: Path, given: heads.RepeatedTokens, clock: Clock) -> float:
    """Seconds per checkpoint in `track`, without the first, which makes the model."""
    ends: list[float] = []

    def note(model: Any, context: Any) -> heads.Measured:
        ends.append(clock())
        return heads.Measured()

    heads.track(
        folder,
        metrics=[heads.AttentionScores(), heads.Losses(), note],
        sequences=given,
    )
    return (ends[-1] - ends[0]) / (len(ends) - 1)


def measure(
    name: str, *, n_sequences: int, n_checkpoints: int, rounds: int, clock: Clock
) -> dict[str, Any]:
    """What a checkpoint of a series costs in both ways."""
    ratios, plain = [], []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_series(folder, SHAPES[name], n_checkpoints)
        folders = sorted(folder.iterdir(), key=lambda path: int(path.name[4:]))
        model = interp.load(folders[0])
        given = heads.repeated_tokens(model, n_sequences=n_sequences, n_tokens=128)
        ids = torch.from_numpy(given.ids)
        plain_seconds(model, ids, folders[:1], clock)
        for number in range(rounds):
            order = random.Random(number).sample(("plain", "track"), 2)
            seconds = {
                method: plain_seconds(model, ids, folders, clock)
                if method == "plain"
                else tracked_seconds(folder, given, clock)
                for method in order
            }
            plain.append(seconds["plain"])
            ratios.append(seconds["track"] / seconds["plain"])
    return {
        "shape": name,
        "tokens": ids.numel(),
        "rounds": rounds,
        "plain_seconds": statistics.median(plain),
        "ratio": statistics.median(ratios),
        "ratios": [round(ratio, 3) for ratio in sorted(ratios)],
        "goal": GOAL,
        "met": statistics.median(ratios) <= GOAL,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="The cost of tracking.")
    parser.add_argument("--quick", action="store_true", help="under a minute")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    # A checkpoint of random weights has no tokenizer, which each round would say.
    logging.getLogger("interp").setLevel(logging.ERROR)
    n_sequences, n_checkpoints = (16, 5) if options.quick else (32, 3)
    found = measure(
        "quick" if options.quick else "pythia-70m",
        n_sequences=n_sequences,
        n_checkpoints=n_checkpoints,
        rounds=min(options.rounds, 5) if options.quick else options.rounds,
        clock=time.perf_counter if options.clock == "wall" else time.process_time,
    )
    if options.json:
        one = {"name": found["shape"], "value": found["ratio"], "better": "lower"}
        about = {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "processor": platform.processor() or platform.machine(),
            "threads": options.threads,
            "clock": options.clock,
        }
        print(json.dumps({**found, **about, "ratios": [one]}))
        return
    print(
        f"{found['shape']}, {found['tokens']} tokens, {found['rounds']} rounds of"
        f" {n_checkpoints}"
    )
    print(f"plain      {found['plain_seconds']:.3f} s per checkpoint")
    print(f"track      {found['ratio']:.2f} x (goal {GOAL}); {found['ratios']}")


if __name__ == "__main__":
    main()
