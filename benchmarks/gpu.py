"""What this library does on one CUDA device beside a bare forward pass and its peers.

    python benchmarks/gpu.py [--shape llama-8b|llama-1b|tiny] [--dtype bfloat16]
                             [--minutes N] [--prompts N] [--rounds N] [--parts a,b]
                             [--out FOLDER] [--json] [--device cuda|cpu]

Needs nothing but the package: the model has the shape of a real one and random weights,
made on the device. Every ratio is of wall times with the device synchronised; methods
alternate in one process and each is divided by the reference of the same round. Parts:

* `capture`: the last position of every layer for thousands of ragged prompts, beside a
  bare forward of the same batches and HF `output_hidden_states`, with the peak memory
  above the weights;
* `sites`: six sites at all positions, kept on the device, and the moments of classes,
  beside a bare forward;
* `patching`: the exact grid of pairs beside one forward per cell (a sample of cells);
* `heads`: attention scores of all heads beside a bare forward with eager attention;
* `probes`: logistic probes of all layers, single and 5 folds x 10 penalties, beside
  scikit-learn on the CPU (some of its fits, scaled), where it is installed;
* `peers`: the capture of two batches by TransformerLens and nnsight, where installed.

Each part has its share of `--minutes`: it makes fewer rounds, and `capture` takes fewer
prompts, to stay inside; at twice its share it is given up. A part that does not fit
into memory is tried again at half the size. After each part what is known lies in
`gpu.json` and `gpu.md` in `--out` (`build/`): nothing is lost by what comes later.
`--device cpu --shape tiny` tries the script itself without a device.
"""

# ruff: noqa: E402
import sys
from pathlib import Path


# A script of this folder has the name of a package: that is imported first.
HERE = Path(__file__).resolve().parent
sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != HERE]
# Where the package is not installed, the checkout of this file is measured.
sys.path.append(str(HERE.parent))

import argparse
import gc
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace


os.environ.setdefault("INTERP_PROGRESS", "off")
import probes  # noqa: F401


sys.path.append(str(HERE))
import gpu_report as report
import torch
import transformers
from gpu_capture import capture_part, sites_part
from gpu_heads import heads_part
from gpu_patching import patching_part
from gpu_peers import peers_part
from gpu_probes import probes_part
from gpu_setting import SHAPES, Row, Setting, model_of

from interp.errors import OutOfMemoryError


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part and its share of the time."""

    run: Callable[[Setting], list[Row]]
    share: float


PARTS: dict[str, Part] = {
    "capture": Part(run=capture_part, share=0.3),
    "sites": Part(run=sites_part, share=0.1),
    "patching": Part(run=patching_part, share=0.15),
    "heads": Part(run=heads_part, share=0.1),
    "probes": Part(run=probes_part, share=0.2),
    "peers": Part(run=peers_part, share=0.15),
}
SMALLEST_SHARE = 1 / 64


@dataclass(slots=True)
class Found:
    """What the parts said so far."""

    rows: list[Row] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


class GivenUp(BaseException):
    """A part took twice its share of the time.

    Not an `Exception`, since those of a peer are its own affair, and handled there.
    """


@contextmanager
def given_up_after(seconds: float) -> Iterator[None]:
    """Raise `GivenUp` in the block when the time is over, where there are signals."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def on_alarm(*_: object) -> None:
        raise GivenUp(f"took more than {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def measured(part: Part, setting: Setting) -> list[Row]:
    """The rows of a part, at the largest size that fits.

    Raises:
        GivenUp: If it takes too long.
        OutOfMemoryError: If it does not fit at any size.
    """
    while True:
        try:
            with given_up_after(2 * setting.seconds):
                rows = part.run(setting)
        except (torch.OutOfMemoryError, OutOfMemoryError):
            smaller = setting.share / 2
            if smaller < SMALLEST_SHARE:
                raise
            setting = replace(setting, share=smaller)
        else:
            if setting.share == 1:
                return rows
            said = f"{setting.share:g} of the size, for memory"
            return [
                replace(row, note="; ".join(filter(None, (row.note, said))))
                for row in rows
            ]
        # Only here is the exception, and with it what the frames held, let go.
        _let_go()


def _let_go() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="One CUDA device.")
    parser.add_argument("--shape", choices=list(SHAPES), default="llama-8b")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=15, help="for all parts")
    parser.add_argument("--prompts", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=5, help="at most")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--out", type=Path, default=HERE.parent / "build")
    parser.add_argument("--json", action="store_true", help="one JSON object instead")
    options = parser.parse_args()
    unknown = [name for name in options.parts.split(",") if name not in PARTS]
    if unknown:
        parser.error(f"no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    if not isinstance(getattr(torch, options.dtype, None), torch.dtype):
        parser.error(f"no dtype {options.dtype!r} in PyTorch")
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("PyTorch finds no CUDA device; --device cpu --shape tiny tries it")
    return options


def main() -> int:
    """Run the parts; 1 if one of them failed."""
    options = parsed()
    transformers.logging.set_verbosity_error()
    model = model_of(options.shape, getattr(torch, options.dtype), options.device)
    attention = str(model.hf.config._attn_implementation)
    about = report.facts(options.shape, options.dtype, options.device, attention)
    if not options.json:
        print(report.heading(about), flush=True)
    found = Found()
    names = options.parts.split(",")
    whole = sum(PARTS[name].share for name in names)
    for name in names:
        setting = Setting(
            model=model,
            n_prompts=options.prompts,
            rounds=options.rounds,
            seconds=60 * options.minutes * PARTS[name].share / whole,
        )
        rows = attempted(name, setting, found)
        report.write(options.out, about, found.rows, found.failed)
        if not options.json:
            for row in rows:
                print(report.line(row), flush=True)
        # An error of the device stays, and cleaning up raises it again.
        with suppress(RuntimeError):
            _let_go()
    if options.json:
        rows_as_dicts = [asdict(row) for row in found.rows]
        print(json.dumps({"facts": about, "rows": rows_as_dicts}))
    return 1 if found.failed else 0


def attempted(name: str, setting: Setting, found: Found) -> list[Row]:
    """The rows of a part, which are noted; none if it failed, which is noted too."""
    rows: list[Row] = []
    start = time.perf_counter()
    # One part that fails must not lose what the others measured.
    try:
        rows = measured(PARTS[name], setting)
    except (Exception, GivenUp) as error:
        found.failed[name] = f"{type(error).__name__}: {error}"[:500]
        print(f"{name} failed: {found.failed[name]}", file=sys.stderr)
    print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    found.rows += rows
    return rows


if __name__ == "__main__":
    sys.exit(main())
