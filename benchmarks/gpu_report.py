"""What `gpu.py` says of a machine: a Markdown table for the docs, and JSON."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
import transformers
from gpu_setting import Row


COLUMNS = ("part", "what", "beside", "times the rate", "goal", "rounds")


def facts(shape: str, dtype: str, device: str, attention: str) -> dict[str, str]:
    """The machine, the versions and the model that the numbers belong to."""
    about = {"device": platform.machine()}
    if device.startswith("cuda"):
        found = torch.cuda.get_device_properties(device)
        about = {
            "device": found.name,
            "memory": f"{found.total_memory / 2**30:.0f} GiB",
            "CUDA": str(torch.version.cuda),
        }
    return {
        **about,
        "cores": str(os.cpu_count()),
        "shape": shape,
        "dtype": dtype,
        "attention": attention,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }


def heading(about: Mapping[str, str]) -> str:
    """The machine in one line, and the head of the table."""
    said = ", ".join(f"{name} {value}" for name, value in about.items())
    return "\n".join([said, "", _cells(COLUMNS), _cells(["---"] * len(COLUMNS))])


def line(row: Row) -> str:
    """One row of the table."""
    goal = "" if row.goal is None else f"{row.goal:g}"
    if row.goal is not None:
        goal += " met" if row.rate >= row.goal else " MISSED"
    what = f"{row.what} ({row.note})" if row.note else row.what
    rounds = str(row.rounds or "")
    return _cells([row.part, what, row.beside, f"{row.rate:.3g}", goal, rounds])


def _cells(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def write(
    folder: Path,
    about: Mapping[str, str],
    rows: Sequence[Row],
    failed: Mapping[str, str],
) -> None:
    """Replace `gpu.json` and `gpu.md` in a folder by what is known so far."""
    report = {
        "facts": dict(about),
        "rows": [asdict(row) for row in rows],
        "failed": dict(failed),
    }
    lines = [heading(about), *map(line, rows)]
    lines += [f"\n{part} failed: {why}" for part, why in failed.items()]
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("gpu.json", json.dumps(report, indent=2)),
        ("gpu.md", "\n".join(lines)),
    ):
        beside = folder / f"{name}.new"
        beside.write_text(text + "\n")
        beside.replace(folder / name)
