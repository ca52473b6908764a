"""Every benchmark in short form, one table, and a gate: `python benchmarks`.

    python benchmarks [--only capture,track] [--update] [--runs N] [--json]
                      [--stored FILE] [--table FILE] [--limit SECONDS]

Each script runs by itself and reports named ratios. A ratio that got more than 20 %
worse than the one in `stored.json` fails, as does a script that ends with an error. As
ratios vary from run to run, a benchmark that seems worse is run again, up to twice, and
the best value of each ratio counts; the table says which were. `--update` stores what
was measured instead (the median of `--runs`), with the load of the machine beside it,
as each script ends: what is interrupted keeps what it had, and the others lose nothing.
Where there is a CUDA device, `gpu.py` runs too, and its ratios carry the device's name.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

import gate
from gate import Ratio


HERE = Path(__file__).resolve().parent
AGAIN = 2
# What draws the pages of the explorer.
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SINGLE = ("--threads", "1", "--clock", "cpu")
ALONE = ("--without", "nnsight", "--without", "transformer_lens")


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """A script and how its short form is called."""

    name: str
    arguments: tuple[str, ...]


# Peers other than the reference of each ratio are left out: they are not gated.
BENCHMARKS = (
    Benchmark(name="small", arguments=("--quick",)),
    Benchmark(name="capture", arguments=("--quick", *SINGLE, *ALONE)),
    Benchmark(
        name="patching",
        arguments=("--quick", *SINGLE, "--cells", "8", *ALONE[2:]),
    ),
    Benchmark(name="probes", arguments=("--quick", *SINGLE, "--folds-of-peer", "1")),
    Benchmark(name="refusal", arguments=("--quick", *SINGLE, "--without-own")),
    Benchmark(name="track", arguments=("--quick", *SINGLE)),
    Benchmark(name="neurons", arguments=("--quick",)),
    Benchmark(name="formation", arguments=("--quick",)),
    Benchmark(name="validity", arguments=("--quick",)),
    Benchmark(name="faults", arguments=("--faults", "4", "--only", "capture")),
    Benchmark(name="explorer", arguments=("--quick",)),
)
GPU = Benchmark(
    name="gpu",
    arguments=("--shape", "llama-1b", "--prompts", "512", "--minutes", "5"),
)


class BenchmarkFailed(Exception):
    """A script that ended with an error or without ratios."""


def has_cuda() -> bool:
    """Asked in a process of its own, so that this one does not hold the device."""
    code = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", code]).returncode == 0


def run(benchmark: Benchmark, limit: float) -> tuple[Ratio, ...]:
    """The ratios of one run of a script.

    Raises:
        BenchmarkFailed: If it ends with an error, too late, or without ratios.
    """
    script = HERE / f"{benchmark.name}.py"
    quiet = {"OMP_NUM_THREADS": "1", "INTERP_PROGRESS": "off", "HF_HUB_OFFLINE": "1"}
    try:
        done = subprocess.run(
            [sys.executable, str(script), "--json", *benchmark.arguments],
            capture_output=True,
            text=True,
            timeout=limit,
            env={**os.environ, **quiet},
        )
    except subprocess.TimeoutExpired:
        raise BenchmarkFailed(f"{script.name} took more than {limit:g} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout)[-800:].strip()
        raise BenchmarkFailed(f"{script.name} ended with {done.returncode}: {said}")
    try:
        report = json.loads(done.stdout)
        if benchmark.name == "gpu":
            report["ratios"] = _of_device(report)
        if benchmark.name == "faults":
            # It ends with an error unless all results were the same bytes.
            report["ratios"] = [{"name": "same bytes", "value": 1, "better": "higher"}]
        return gate.ratios_of(report, benchmark.name)
    except (KeyError, TypeError, ValueError) as error:
        raise BenchmarkFailed(f"{script.name} reported no ratios: {error}") from None


def _of_device(report: dict) -> list[dict]:
    """Rows of `gpu.py` are times the rate of what stands beside them."""
    device = report["facts"]["device"]
    return [
        {
            "name": f"{device}, {row['part']}, {row['what']} beside {row['beside']}",
            "value": row["rate"],
            "better": "higher",
        }
        for row in report["rows"]
    ]


def gated(
    benchmark: Benchmark, stored: dict[str, float], limit: float
) -> tuple[tuple[Ratio, ...], int]:
    """The best ratios of as many runs as it took to pass, three at most."""
    ratios = run(benchmark, limit)
    runs = 1
    while runs <= AGAIN and not all(r.passes for r in gate.compare(ratios, stored)):
        ratios = gate.best(ratios, run(benchmark, limit))
        runs += 1
    return ratios, runs


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--only", default="", help="names of scripts, by commas")
    parser.add_argument("--update", action="store_true", help="store what is measured")
    parser.add_argument("--runs", type=int, default=1, help="with --update: median of")
    parser.add_argument("--json", action="store_true", help="one JSON object instead")
    parser.add_argument("--stored", type=Path, default=HERE / "stored.json")
    parser.add_argument("--table", type=Path, default=HERE / "table.md")
    parser.add_argument("--limit", type=float, default=900, help="seconds per script")
    options = parser.parse_args()
    known = [benchmark.name for benchmark in (*BENCHMARKS, GPU)]
    for name in filter(None, options.only.split(",")):
        if name not in known:
            parser.error(f"no benchmark {name!r}; there are {', '.join(known)}")
    return options


def chosen(only: str) -> list[Benchmark]:
    """What was asked for, or everything that can run here."""
    names = [name for name in only.split(",") if name]
    if names:
        return [b for b in (*BENCHMARKS, GPU) if b.name in names]
    absent = set()
    if not has_cuda():
        absent.add(GPU.name)
    if not (any(map(shutil.which, BROWSERS)) and find_spec("playwright")):
        absent.add("explorer")
        print("explorer: left out, chromium or playwright is missing", file=sys.stderr)
    return [b for b in (*BENCHMARKS, GPU) if b.name not in absent]


def main() -> int:
    """Run, compare, write the table; 1 if anything got worse or failed."""
    options = parsed()
    stored = {} if options.update else gate.read_stored(options.stored)
    about = _about(options.runs)
    found: list[Ratio] = []
    ran: list[str] = []
    notes: list[str] = []
    failed: list[str] = []
    for benchmark in chosen(options.only):
        start = time.perf_counter()
        try:
            if options.update:
                runs = max(1, options.runs)
                several = [run(benchmark, options.limit) for _ in range(runs)]
                ratios = gate.middle(several)
            else:
                ratios, runs = gated(benchmark, stored, options.limit)
        except BenchmarkFailed as error:
            failed.append(str(error))
            continue
        finally:
            took = time.perf_counter() - start
            print(f"{benchmark.name}: {took:.0f} s", file=sys.stderr, flush=True)
        found += ratios
        ran.append(benchmark.name)
        if options.update:
            gate.store(options.stored, ratios, about)
        # What has ended is kept, also if a later script is interrupted.
        known = gate.read_stored(options.stored)
        rows, rest = gate.compare(found, known), gate.not_run(known, ran)
        gate.write(options.table, gate.table(rows, (), rest) + "\n")
        if runs > 1 and not options.update:
            notes.append(f"{benchmark.name}: best of {runs} runs.")
    if options.update:
        stored = gate.read_stored(options.stored)
    return _end(options, found, stored, ran, notes, failed)


def _end(
    options: argparse.Namespace,
    found: Sequence[Ratio],
    stored: dict[str, float],
    ran: Sequence[str],
    notes: Sequence[str],
    failed: Sequence[str],
) -> int:
    rows = gate.compare(found, stored)
    absent = gate.missing(found, stored, ran)
    passes = not failed and not absent and all(row.passes for row in rows)
    shown = gate.table(rows, absent, gate.not_run(stored, ran))
    text = "\n\n".join([shown, *notes, *failed]) + "\n"
    gate.write(options.table, text)
    if options.json:
        verdicts = [{**asdict(row), "verdict": row.verdict} for row in rows]
        ends = {"passes": passes, "missing": absent, "failed": failed, "notes": notes}
        print(json.dumps({**ends, "rows": verdicts}))
    else:
        print(text + ("all within 20 %" if passes else "FAILED"))
    return 0 if passes else 1


def _about(runs: int) -> dict[str, object]:
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "python": platform.python_version(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load": load,
        "runs": runs,
        "note": "Medians of the runs; a load above the number of cores means that the"
        " machine was busy with other work.",
    }


if __name__ == "__main__":
    # Like Ctrl-C, so that no script goes on alone.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("Stopped; scripts that had ended are in the table.", file=sys.stderr)
        sys.exit(130)
