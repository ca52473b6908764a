"""`interp doctor`: what this machine has, and whether a model's sites hold."""

import os
import platform
import shutil
import time
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from probes.cli.options import Device, Dtype, Json, Revision, TrustRemoteCode
from probes.cli.output import emit, say, show_table


if TYPE_CHECKING:
    from interp.models.selfcheck import SelfCheck

PACKAGES = (
    "interp torch transformers transformer-lens nnsight datasets streamlit plotly ray"
)
WRITE_TEST_BYTES = 64 * 2**20
EXIT_FAILED_CHECK = 3


def doctor(
    model: Annotated[
        str | None,
        typer.Argument(help="Hub id or folder; without it only the machine."),
    ] = None,
    revision: Revision = None,
    folder: Annotated[
        Path,
        typer.Option(
            help="Where the write speed is measured.", exists=True, file_okay=False
        ),
    ] = Path(),
    device: Device = "auto",
    dtype: Dtype = "auto",
    trust_remote_code: TrustRemoteCode = False,
    as_json: Json = False,
) -> int:
    """Print versions, devices and write speed; with MODEL, its self-check report.

    The self-check runs the model on a few random tokens: shapes, causality, batch
    equals single, embedding + sum of writes = final residual, editing changes the
    output. Exit code 3 if a check fails.
    """
    machine = _machine(folder)
    if not as_json:
        for name, value in machine.items():
            say(f"{name:<16} {value}")
    if model is None:
        if as_json:
            emit({"ok": True, "machine": machine})
        return 0

    from interp.models.loading import load
    from interp.models.selfcheck import check

    loaded = load(
        model,
        revision=revision,
        device=device,
        dtype=dtype,
        trust_remote_code=trust_remote_code,
    )
    result = check(loaded)
    if as_json:
        emit({"ok": result.passed, "machine": machine, "check": _as_dict(result)})
    else:
        say(f"\n{loaded!r}")
        _print_check(result)
    return 0 if result.passed else EXIT_FAILED_CHECK


def _machine(folder: Path) -> dict[str, str]:
    facts = {"python": platform.python_version()}
    for package in PACKAGES.split():
        try:
            facts[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            facts[package] = "not installed"
    facts["processor"] = f"{os.cpu_count()} cores, {platform.machine()}"
    facts["gpu"] = _gpus()
    usage = shutil.disk_usage(folder)
    facts["disk free"] = f"{usage.free / 2**30:.1f} GiB in {folder}"
    facts["write speed"] = _write_speed(folder)
    return facts


def _gpus() -> str:
    import torch

    if not torch.cuda.is_available():
        return "none"
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return ", ".join(names)


def _write_speed(folder: Path) -> str:
    data = os.urandom(2**20)
    try:
        with TemporaryDirectory(dir=folder, prefix=".interp-doctor-") as temporary:
            started = time.perf_counter()
            with (Path(temporary) / "speed").open("wb") as file:
                for _ in range(WRITE_TEST_BYTES // len(data)):
                    file.write(data)
                file.flush()
                os.fsync(file.fileno())
            seconds = time.perf_counter() - started
    except OSError as error:
        return f"cannot write in {folder}: {error.strerror}"
    return f"{WRITE_TEST_BYTES / 2**20 / seconds:.0f} MiB/s in {folder}"


def _print_check(result: "SelfCheck") -> None:
    from rich.table import Table

    table = Table(title=f"Self-check ({result.source})", title_justify="left")
    for column in ("check", "holds", "error", "what"):
        table.add_column(column)
    for one in result.checks:
        error = "" if one.error is None else f"{one.error:.1e}"
        table.add_row(one.name, "yes" if one.passed else "NO", error, one.detail)
    show_table(table)
    say(f"sites: {', '.join(result.components)}")


def _as_dict(result: "SelfCheck") -> dict[str, object]:
    return {
        "model": result.model,
        "source": result.source,
        "components": list(result.components),
        "checks": [
            {
                "name": one.name,
                "passed": one.passed,
                "error": one.error,
                "detail": one.detail,
            }
            for one in result.checks
        ],
    }
