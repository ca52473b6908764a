"""Sharing one command among processes: `--shard i/n`, and `--ray` for a cluster.

Shards of one command write parts into the same folder (see `interp.sharding`), so they
need a file system that all of them see. On Ray each shard is a task: it is run again
when its worker dies, and what it had finished is not computed again. At the end the
command itself puts the parts together.
"""

import os
import socket
import sys
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interp.errors import ConfigError, InterpError
from interp.sharding import claim, parse_shard
from probes.cli.output import say


LOCAL = "local"
EXIT_SOME_FAILED = 4
# How often Ray starts a shard again whose worker died.
RETRIES = 3
SECONDS_FOR_AN_ANSWER = 5.0
# What the user typed, for the shards that run the same.
_ARGUMENTS: ContextVar[tuple[str, ...]] = ContextVar("arguments", default=())


class ShardFailedError(InterpError, RuntimeError):
    """A shard ended with an error; what others finished is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    code: int
    said: str


def remember(arguments: Sequence[str]) -> list[str]:
    """The arguments, ready to be read: `--ray` without an address means this machine.

    Args:
        arguments: What stands behind `interp` on the command line.

    Example:
        >>> remember(["track", "m", "--ray", "--out", "d"])
        ['track', 'm', '--ray', 'local', '--out', 'd']
    """
    given: list[str] = []
    for place, word in enumerate(arguments):
        given.append(word)
        following = arguments[place + 1 : place + 2]
        if word == "--ray" and (not following or following[0].startswith("-")):
            given.append(LOCAL)
    _ARGUMENTS.set(tuple(given))
    return given


def share(
    shard: str | None, ray: str | None, shards: int | None, *, device: str
) -> None:
    """Become the shard that is named, or have a cluster do all of them.

    After shards have run on Ray all parts are there, and what the command does next
    puts them together.

    Args:
        shard: What `--shard` says.
        ray: What `--ray` says.
        shards: What `--shards` says.
        device: What `--device` says; a shard needs a GPU unless that is the CPU.

    Raises:
        ConfigError: If the options do not go together or name no shard.
        ShardFailedError: If a shard failed.
    """
    if ray is None:
        if shards is not None:
            raise ConfigError(
                f"--shards {shards} was given without --ray.",
                remedy="Add --ray, or write --shard i/n for one of them.",
            )
        claim(None if shard is None else parse_shard(shard))
        return
    if shard is not None:
        raise ConfigError(
            "--shard and --ray were both given.",
            expected="A shard is one process; --ray starts them all.",
            remedy="Leave one of them out.",
        )
    run_on_ray(_ARGUMENTS.get(), address=ray, shards=shards, device=device)


def run_on_ray(
    arguments: Sequence[str], *, address: str, shards: int | None, device: str
) -> None:
    """Run all shards of a command as tasks of a Ray cluster, and wait for them.

    Args:
        arguments: The command, with `--ray` and `--shards`, which shards do not get.
        address: Of the cluster; `"local"` starts one here.
        shards: How many; one for each GPU or CPU by default.
        device: Where models run.

    Raises:
        ConfigError: If Ray is not installed or cannot be reached.
        ShardFailedError: If a shard failed for another reason than a lost worker.
    """
    ray = _imported()
    started = not ray.is_initialized()
    if started:
        _connect(ray, address)
    try:
        gpus = _gpus_of_a_shard(ray, device)
        count = shards or _workers(ray, gpus)
        words = without_ray(arguments)
        say(f"{count} shards on Ray, {gpus:g} GPU and 1 CPU each.")
        task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(_run_shard)
        numbers = {
            task.remote([*words, "--shard", f"{index}/{count}"], str(Path.cwd())): index
            for index in range(count)
        }
        _wait(ray, numbers, count)
    finally:
        if started:
            ray.shutdown()


def without_ray(arguments: Sequence[str]) -> list[str]:
    """The arguments of a shard: those of the command without what is for Ray.

    Example:
        >>> without_ray(["track", "m", "--ray", "local", "--shards=4", "--json"])
        ['track', 'm']
    """
    kept: list[str] = []
    skips = False
    for word in arguments:
        if skips or word.startswith(("--ray=", "--shards=")) or word == "--json":
            skips = False
        elif word in ("--ray", "--shards"):
            skips = True
        else:
            kept.append(word)
    return kept


def _imported() -> Any:
    # Ray would report to its makers, and warn of a way of counting that is to change.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            "--ray needs the package ray, which is not installed.",
            remedy="Install it: pip install 'interp[ray]'.",
        ) from error
    return ray


def _connect(ray: Any, address: str) -> None:
    _require_answer(address)
    # Workers must find the same packages as this process.
    paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    environment = {"env_vars": {"PYTHONPATH": paths}}
    try:
        ray.init(
            address=address,
            runtime_env=environment,
            include_dashboard=False if address == LOCAL else None,
            log_to_driver=False,
            logging_level="ERROR",
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise _unreachable(address, error) from error


def _require_answer(address: str) -> None:
    """Ask the head's port first: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        with socket.create_connection((host, int(port)), SECONDS_FOR_AN_ANSWER):
            pass
    except (OSError, OverflowError) as error:
        raise _unreachable(address, error) from error


def _unreachable(address: str, error: Exception) -> ConfigError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return ConfigError(
        f"No Ray cluster can be reached at {address!r}: {reason}.",
        expected="The address of a cluster's head, as 10.0.0.1:6379, or auto.",
        remedy="Start one with `ray start --head`, or leave the address out.",
    )


def _gpus_of_a_shard(ray: Any, device: str) -> float:
    has_gpus = ray.cluster_resources().get("GPU", 0) >= 1
    return 1.0 if has_gpus and device != "cpu" else 0.0


def _workers(ray: Any, gpus: float) -> int:
    name = "GPU" if gpus else "CPU"
    return max(1, int(ray.cluster_resources().get(name, 1)))


def _run_shard(arguments: list[str], folder: str) -> _Outcome:
    """One shard, in a worker: the command, run in the folder of the driver."""
    import contextlib
    import io

    from probes.cli.run import run

    os.chdir(folder)
    os.environ.setdefault("INTERP_PROGRESS", "off")
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        code = run(arguments)
    return _Outcome(code=code, said=said.getvalue())


def _wait(ray: Any, numbers: dict[Any, int], count: int) -> None:
    waiting = list(numbers)
    while waiting:
        done, waiting = ray.wait(waiting, num_returns=1)
        number = numbers[done[0]]
        try:
            outcome = ray.get(done[0])
        except ray.exceptions.RayError as error:
            raise ShardFailedError(
                f"Shard {number}/{count} was lost {RETRIES + 1} times:"
                f" {str(error).splitlines()[0]}",
                remedy="What is finished is kept: run the same command again.",
            ) from error
        if outcome.code not in (0, EXIT_SOME_FAILED):
            lines = outcome.said.strip().splitlines() or [f"exit code {outcome.code}"]
            raise ShardFailedError(
                f"Shard {number}/{count} failed: {lines[-1]}",
                remedy="What is finished is kept: run the same command again.",
            )
        say(f"shard {number}/{count} is done ({count - len(waiting)} of {count})")
