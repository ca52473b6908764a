"""Entropy neurons of a model of any size from its files: time and memory.

    python benchmarks/neurons.py [--d-model N] [--d-mlp N] [--d-vocab N] [--device NAME]
                                 [--threads N] [--folder DIR] [--json] [--quick]

Writes a checkpoint with random weights in bfloat16 that holds the three matrices that
are read, of the size of Llama 3 8B by default, and reads it in a process of its own.
Reported are seconds and by how much that process grew: its largest memory from the
first matrix on, less what it had after its imports, as the kernel counts it. Beside it
stand what the table of all cosines (neurons x vocabulary in float32) and the three
matrices themselves would take. `--quick` halves every side but the vocabulary's.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoConfig


GOAL_MIB = 2048
MIB = 2**20

# The peak is cleared after the imports: those of TransformerLens alone would hide the
# growth. `clear_refs` is Linux's own way to do that.
READ = """
import json, sys, time
import torch
from pathlib import Path
from interp.neurons import entropy_neurons
folder, warm, device, threads = sys.argv[1:]
torch.set_num_threads(int(threads))
entropy_neurons(warm)
def mib(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(l.split()[1]) for l in lines if l.startswith(field)) / 1024
Path("/proc/self/clear_refs").write_text("5")
before, started = mib("VmRSS"), time.perf_counter()
table = entropy_neurons(folder, device=device or None)
seconds = time.perf_counter() - started
print(json.dumps({
    "seconds": seconds,
    "grown_mib": mib("VmHWM") - before,
    "neurons": int(table.norm.size),
    "logit_var": float(table.logit_var.mean()),
}))
"""


def write_checkpoint(folder: Path, *, d_model: int, d_mlp: int, d_vocab: int) -> None:
    """A folder that holds a config and the three matrices, with random weights."""
    config = AutoConfig.for_model(
        "llama",
        hidden_size=d_model,
        intermediate_size=d_mlp,
        vocab_size=d_vocab,
        num_hidden_layers=1,
        num_attention_heads=max(1, d_model // 128),
        num_key_value_heads=max(1, d_model // 128),
        bos_token_id=0,
        eos_token_id=1,
    )
    config.save_pretrained(folder)
    generator = torch.Generator().manual_seed(0)

    def drawn(rows: int, columns: int) -> torch.Tensor:
        table = torch.empty(rows, columns, dtype=torch.bfloat16)
        for start in range(0, rows, 4096):
            part = torch.randn(min(4096, rows - start), columns, generator=generator)
            table[start : start + 4096] = part
        return table

    tensors = {
        "lm_head.weight": drawn(d_vocab, d_model),
        "model.norm.weight": torch.ones(d_model, dtype=torch.bfloat16),
        "model.layers.0.mlp.down_proj.weight": drawn(d_model, d_mlp),
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def measure(
    folder: Path, *, sizes: dict[str, int], device: str, threads: int
) -> dict[str, float]:
    """Seconds and memory of reading a checkpoint of these sizes."""
    large, small = folder / "large", folder / "small"
    write_checkpoint(large, **sizes)
    write_checkpoint(small, d_model=128, d_mlp=64, d_vocab=256)
    done = subprocess.run(
        [sys.executable, "-c", READ, str(large), str(small), device, str(threads)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    cosines = 4 * sizes["d_mlp"] * sizes["d_vocab"] / MIB
    matrices = 2 * sizes["d_model"] * (sizes["d_mlp"] + sizes["d_vocab"]) / MIB
    return {**found, "all_cosines_mib": cosines, "matrices_mib": matrices}


def main() -> None:
    """Measure once and print."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--d-model", type=int, default=4096)
    parser.add_argument("--d-mlp", type=int, default=14_336)
    parser.add_argument("--d-vocab", type=int, default=128_256)
    parser.add_argument("--device", default="")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="Where files may be written.")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.d_model, options.d_mlp = 2048, 7168
    sizes = {name: getattr(options, name) for name in ("d_model", "d_mlp", "d_vocab")}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        found = measure(
            Path(folder), sizes=sizes, device=options.device, threads=options.threads
        )
    if options.json:
        grown = found["grown_mib"] / found["matrices_mib"]
        ratio = {"name": "memory over the matrices'", "value": grown, "better": "lower"}
        print(json.dumps({"sizes": sizes, **found, "ratios": [ratio]}))
        return
    for name, value in found.items():
        print(f"{name:>24} {value:,.2f}")
    verdict = "within" if found["grown_mib"] < GOAL_MIB else "above"
    print(f"{verdict} the goal of {GOAL_MIB} MiB")


if __name__ == "__main__":
    main()
