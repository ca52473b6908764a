"""What the small things cost: importing, `--help`, opening results, a first result.

    python benchmarks/small.py [--quick] [--json] [--rounds N]
                               [--model FOLDER --statements FILE]

Each runs in a process of its own, in turn, and its processor time counts, with that of
its children: of a machine with other work it says more than what the clock says, which
stands beside it. Medians over rounds, and ratios to the same round of what cannot be
left out: `python -c pass` for what imports nothing heavy, `import pandas` for opening
a result, and the import of torch and of one model class of transformers for the first
result. That imports this library, loads a model, captures, sweeps over 40 prompts and
saves what it found, once in a process that has those two imported, like the kernel of
a notebook, and once from a fresh one. The model is a small one with random weights
unless `--model` names another. It was loaded before, by another process: where sites
are in a model of its architecture is known, and its files are in memory.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


IMPORTED, FRESH = "first result, libraries imported", "first result, fresh process"
GOALS = {"import interp": 0.2, "interp --help": 0.5, IMPORTED: 3.0}
BESIDE = {
    "import interp": "pass",
    "interp --help": "pass",
    "interp show": "import pandas",
    IMPORTED: "import a model class",
    FRESH: "import a model class",
}
COMMAND = "import sys; sys.argv[:] = {}; from probes.cli import main; main()"
MODEL_CLASS = """
import torch
from transformers import AutoTokenizer, LlamaForCausalLM
"""
# Ids where there is no text: a model with random weights has no tokenizer. The last
# line says what it took from here on, with children: a commit is asked of git.
FIRST = f"""{MODEL_CLASS}
import os, sys, time
start, before = time.perf_counter(), sum(os.times()[:4])
import logging
import numpy as np
import interp, probes
logging.getLogger("interp").setLevel(logging.ERROR)
folder, data, out = sys.argv[1:]
model = interp.load(folder)
if data:
    given = interp.data.statements(data)
    prompts, labels = list(given.prompts[:40]), np.asarray(given.labels[:40], bool)
else:
    draw = np.random.default_rng(0)
    prompts = [draw.integers(3, 800, 12).tolist() for _ in range(40)]
    labels = np.arange(40) % 2 == 0
acts = interp.capture(model, prompts, sites="resid_post.*", positions="last")
probes.sweep(acts, labels).save(out)
print(sum(os.times()[:4]) - before, time.perf_counter() - start)
"""
MAKE = """
import sys
import torch
from transformers import AutoConfig, AutoModelForCausalLM
torch.manual_seed(0)
config = AutoConfig.for_model(
    "llama", vocab_size=880, hidden_size=96, intermediate_size=256,
    num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=4,
)
AutoModelForCausalLM.from_config(config).save_pretrained(sys.argv[1])
"""


Seconds = tuple[float, float]


def seconds(code: str, *arguments: str) -> tuple[Seconds, str]:
    """Processor time and time by the clock of a process that runs some code.

    Returns:
        The two times, and what it printed.
    """
    # The folder of this file holds a `probes.py` that would hide the package.
    command = [sys.executable, "-P", "-c", code, *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "INTERP_PROGRESS": "off"}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    taken = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    return (user + system, taken), done.stdout


def measure(
    rounds: int, model: str, data: str, temporary: Path
) -> dict[str, list[Seconds]]:
    """Processor time and time by the clock of everything, by round."""
    result = str(temporary / "result")
    if not model:
        model = str(temporary / "model")
        seconds(MAKE, model)
    # Once to warm up: what is where in the model is kept, and files are in memory.
    seconds(FIRST, model, data, result)
    runs: dict[str, tuple[str, ...]] = {
        "pass": ("pass",),
        "import interp": ("import interp",),
        "interp --help": (COMMAND.format(["interp", "--help"]),),
        "import pandas": ("import pandas",),
        "interp show": (COMMAND.format(["interp", "show", result]),),
        "import a model class": (MODEL_CLASS,),
        FRESH: (FIRST, model, data, result + "-again"),
    }
    times: dict[str, list[Seconds]] = {name: [] for name in (*runs, IMPORTED)}
    for _ in range(rounds):
        for name, call in runs.items():
            taken, said = seconds(*call)
            times[name].append(taken)
            if name == FRESH:
                cpu, wall = map(float, said.splitlines()[-1].split())
                times[IMPORTED].append((cpu, wall))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description="What the small things cost.")
    parser.add_argument("--quick", action="store_true", help="2 rounds")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--model", default="", help="a folder; random by default")
    parser.add_argument("--statements", default="", help="a file, with --model")
    options = parser.parse_args()
    rounds = options.rounds or (2 if options.quick else 9)
    with tempfile.TemporaryDirectory() as temporary:
        times = measure(rounds, options.model, options.statements, Path(temporary))
    cpu = {name: statistics.median(c for c, _ in t) for name, t in times.items()}
    wall = {name: statistics.median(w for _, w in t) for name, t in times.items()}
    ratios = [
        {
            "name": f"{name} over {base}",
            "value": statistics.median(
                own / other
                for (own, _), (other, _) in zip(times[name], times[base], strict=True)
            ),
            "better": "lower",
        }
        for name, base in BESIDE.items()
    ]
    if options.json:
        print(json.dumps({"cpu": cpu, "wall": wall, "ratios": ratios}))
        return
    for name, value in cpu.items():
        goal = f"  goal {GOALS[name]:g} s" if name in GOALS else ""
        print(f"{name:32} {value:6.2f} s of processor, {wall[name]:6.2f} s{goal}")
    for ratio in ratios:
        print(f"{ratio['name']:60} {ratio['value']:6.2f} x")


if __name__ == "__main__":
    main()
