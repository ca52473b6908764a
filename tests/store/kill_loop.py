"""Fill stores in forked processes that are killed; prints what was seen as JSON.

Run as a script by `test_kill.py`: one process imports torch and each forked child
starts warm, so that a kill costs milliseconds. Usage: kill_loop.py FOLDER SEED
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from interp.errors import StoreError
from interp.store import StoreSpec, open as open_store, plan_shards
from interp.store.layout import check_content, find_shards, hashing_pool
from interp.store.writer import fill


KILLS = 24
EVENTS_TRIED = 20
N_EXAMPLES = 96
SITES = {f"resid_post.{layer}": (64, 32) for layer in range(4)}
ROWS = [{"prompt": f"statement {row}", "label": row % 2} for row in range(N_EXAMPLES)]
PLAN = plan_shards(
    SITES, dtype="bfloat16", n_examples=N_EXAMPLES, rows_per_shard=N_EXAMPLES // 12
)
SPEC = StoreSpec(
    model="tiny",
    revision="abc",
    tokenizer="def",
    sites=SITES,
    positions="last",
    dtype="bfloat16",
    data="ghi",
    plan=PLAN,
)


def run(folder: Path) -> None:
    def compute(rows: range) -> dict[str, torch.Tensor]:
        time.sleep(0.004)
        shape = (len(rows), 64, 32)
        generator = torch.Generator().manual_seed(rows.start)
        return {
            site: torch.randn(shape, generator=generator).bfloat16() for site in SITES
        }

    fill(folder, SPEC, ROWS, compute=compute, provenance={"time": time.time()})


def forked(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return child


def finished(child: int) -> bool:
    """Whether a child ended by itself; False if it was killed."""
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return False
    if os.waitstatus_to_exitcode(status) != 0:
        raise RuntimeError("A child failed instead of being killed.")
    return True


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "provenance.json"
    }


def whole_shards(folder: Path) -> int:
    """How many shards count after a kill; each must be right to the last byte."""
    found = find_shards(folder)
    with hashing_pool() as pool:
        for index, paths in found.items():
            for path in paths:
                check_content(path, SPEC, PLAN.shard(index), pool)
    if len(found) < PLAN.n_shards:
        try:
            open_store(folder)
        except StoreError:
            return len(found)
        raise RuntimeError("A store that misses a shard was opened.")
    return len(found)


def killed_at_random_times(
    base: Path, wanted: dict[str, bytes], seconds: float, generator: random.Random
) -> Iterator[dict[str, object]]:
    kills = attempts = 0
    while kills < KILLS:
        folder = base / f"times{attempts}"
        attempts += 1
        ended = False
        while not ended:
            child = forked(lambda folder=folder: run(folder))
            time.sleep(generator.uniform(0, 0.6 * seconds))
            os.kill(child, signal.SIGKILL)
            ended = finished(child)
            kills += not ended
            if not ended:
                strays = len(list(folder.rglob(".*.part")))
                yield {"whole": whole_shards(folder), "strays": strays}
        yield {"equal": content(folder) == wanted}


def killed_at_file_events(
    base: Path, wanted: dict[str, bytes], generator: random.Random
) -> Iterator[dict[str, object]]:
    """Kills between two operations on files, where a wrong order would show."""
    for attempt in range(EVENTS_TRIED):
        folder, last = base / f"events{attempt}", generator.randrange(1, 60)

        def die_at_event(folder: Path = folder, last: int = last) -> None:
            left = last

            def hook(event: str, arguments: tuple[object, ...]) -> None:
                nonlocal left
                of_store = bool(arguments) and str(folder) in str(arguments[0])
                if of_store and event in ("open", "os.rename", "os.mkdir", "os.remove"):
                    left -= 1
                    if left == 0:
                        os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(hook)
            run(folder)

        killed = not finished(forked(die_at_event))
        whole = whole_shards(folder) if folder.exists() else 0
        if not finished(forked(lambda folder=folder: run(folder))):
            raise RuntimeError("An undisturbed child was killed.")
        yield {"killed": killed, "whole": whole, "equal": content(folder) == wanted}


def main() -> None:
    base, generator = Path(sys.argv[1]), random.Random(int(sys.argv[2]))
    torch.set_num_threads(1)
    start = time.monotonic()
    if not finished(forked(lambda: run(base / "undisturbed"))):
        raise RuntimeError("The undisturbed child was killed.")
    seconds = time.monotonic() - start
    wanted = content(base / "undisturbed")
    times = list(killed_at_random_times(base, wanted, seconds, generator))
    events = list(killed_at_file_events(base, wanted, generator))
    sys.stdout.write(json.dumps({"times": times, "events": events, "seconds": seconds}))


if __name__ == "__main__":
    main()
