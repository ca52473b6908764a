"""Track a series in forked processes that are killed; prints what was seen as JSON.

Run as a script by `test_track.py`: one process imports torch, and each forked child
starts warm. Usage: kill_track.py SERIES FOLDER
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch

from interp.heads import AttentionScores, Losses, SequenceSpec, track


def run(series: str, out: Path, kill_at: int) -> None:
    """Track the series; the process dies when it measures checkpoint `kill_at`."""
    measured = 0

    def dies(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal measured
        # Shards are renamed into place: the kill comes just before one of them is.
        if event == "os.rename" and "/shards/" in str(arguments[1]):
            measured += 1
            if measured == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    if kill_at:
        sys.addaudithook(dies)
    track(
        series,
        metrics=[AttentionScores(), Losses()],
        sequences=SequenceSpec(n_sequences=4, n_tokens=24),
        out=out,
    )


def forked(series: str, out: Path, kill_at: int) -> int:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            run(series, out, kill_at)
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def main() -> None:
    series, out = sys.argv[1], Path(sys.argv[2])
    torch.set_num_threads(1)
    seen = []
    for kill_at in (1, 2, 3, 0):
        status = forked(series, out, kill_at)
        shards = sorted(path.name for path in out.rglob("shards/*.safetensors"))
        seen.append({"status": status, "shards": len(shards)})
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main()
