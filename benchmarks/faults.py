"""Faults against real work: does every interrupted run end with the same bytes?

    python benchmarks/faults.py [--faults N] [--seed S] [--only capture,track,...]

Small work (a capture, a tracking, two studies, training) is hit by one to three faults
in a row: killed, stopped, interrupted, refused a write or a read, with clocks that
jump, as two processes at once, or as shards of which one is lost. After each fault
nothing unfinished may count as finished, and the exit code must be one that is
documented. Then the work is run again to its end and compared with an undisturbed run,
byte by byte. Exits with 1 on any difference; `--trial` repeats one.
"""

import argparse
import contextlib
import importlib
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


# The folder of this file holds a `probes.py` that would hide the package.
sys.path[:] = [path for path in sys.path if not path.endswith("benchmarks")]
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["INTERP_PROGRESS"] = "off"

import fault_injection as injection  # noqa: E402
import torch  # noqa: E402
from fault_injection import Child, Ended  # noqa: E402
from fault_tally import Tally, joined, table, to_json  # noqa: E402
from fault_watch import FAULTS, JUMPS, Fault, FaultName  # noqa: E402
from fault_work import (  # noqa: E402
    Content,
    Work,
    content,
    final,
    prepare,
    strays,
    works,
    wrongly_taken,
)

from interp.stopping import listen  # noqa: E402


TWO, LOST = "two processes", "worker lost"
KINDS: tuple[str, ...] = (*FAULTS, TWO, LOST)
MOST_IN_A_ROW = 3
# How often work that a fault came too late for is begun anew.
AGAIN = 0.8
# In this share of its operations on files no work is at its last part.
EARLY = 0.25
# What each fault may end with, besides 0; -9 is the kill itself.
CODES = {
    "SIGKILL": {-9},
    "SIGTERM": {75},
    "Ctrl-C": {130},
    "disk full": {3},
    # Bad data, something refused, or checkpoints that were passed over.
    "read error": {2, 3, 4},
    "clock jumps": set(),
    TWO: set(),
    LOST: {-9},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """An undisturbed run: what it leaves, and what it takes."""

    content: Content
    ended: Ended
    sizes: tuple[int, ...]


class Trial:
    """One folder in which a piece of work is hit, and then finished.

    Args:
        work: The work.
        quiet: How it goes undisturbed.
        folder: An empty place for the trial.
        base: Operations on files below it count.
        draw: The source of randomness.
        tally: Where what happens is counted.
    """

    def __init__(
        self,
        work: Work,
        quiet: Quiet,
        folder: Path,
        *,
        base: Path,
        draw: random.Random,
        tally: Tally,
    ) -> None:
        self._work = work
        self._quiet = quiet
        self._out = folder
        self._base = base
        self._draw = draw
        self._tally = tally
        self._story: list[str] = []
        self._is_done = False
        self.problems: list[str] = []

    def run(self, kinds: Sequence[str]) -> None:
        """Some faults in a row, and then the work to its end."""
        for kind in self._draw.choices(kinds, k=self._draw.randint(1, MOST_IN_A_ROW)):
            if kind == TWO:
                self._two_at_once()
            elif kind == LOST:
                self._lose_a_worker()
            else:
                assert kind in FAULTS
                self._alone(kind)
            if self.problems:
                return
            if self._is_done and self._draw.random() < AGAIN:
                self._finish()
                shutil.rmtree(self._out, ignore_errors=True)
                self._is_done = False
        self._finish()

    def describe(self) -> str:
        return "; ".join((*self._story, *self.problems))

    def _alone(self, kind: FaultName) -> None:
        fault = injection.drawn(kind, self._draw, self._quiet.ended, self._quiet.sizes)
        if kind == "clock jumps":
            self._shift_times()
        is_new = not self._out.exists()
        ended = injection.run(self._whole, self._base, fault)
        self._judge(kind, str(fault), ended)
        before = EARLY * self._quiet.ended.events
        early = fault.event is not None and fault.event < before
        if kind == "SIGTERM" and early and is_new and ended.code == 0:
            self.problems.append("it did not stop")

    def _two_at_once(self) -> None:
        """Two processes start together or one later, and sometimes one is killed."""
        wait = self._draw.choice(
            (0.0, self._draw.uniform(0, self._quiet.ended.seconds))
        )
        fault = None
        if self._draw.random() < 0.3:
            fault = injection.drawn(
                "SIGKILL", self._draw, self._quiet.ended, self._quiet.sizes
            )
        first = Child(self._whole, self._base, fault)
        if fault is None or fault.event is not None:
            time.sleep(wait)
        second = Child(self._whole, self._base)
        one, two = first.ended(), second.ended()
        kind = TWO if fault is None else "SIGKILL"
        self._judge(kind, f"{TWO}, the first with {fault}", one, count=False)
        self._judge(TWO, f"{TWO}, the second", two, hit=True)

    def _lose_a_worker(self) -> None:
        """Shards run at the same time; one is killed, and started again elsewhere."""
        shards, n = self._work.shards, self._draw.choice((2, 3))
        assert shards is not None
        lost = self._draw.randrange(n)
        fault = injection.drawn(
            "SIGKILL", self._draw, self._quiet.ended, self._quiet.sizes
        )

        def child(index: int, fault: Fault | None) -> Child:
            return Child(
                lambda: _listening(lambda: shards(self._out, f"{index}/{n}")),
                self._base,
                fault,
            )

        children = [child(i, fault if i == lost else None) for i in range(n)]
        children[lost].strike()
        ends = [each.ended() for each in children]
        for index, ended in enumerate(ends):
            said = f"shard {index}/{n}" + (f" with {fault}" if index == lost else "")
            if index == lost:
                self._judge(LOST, said, ended)
            else:
                self._judge(TWO, said, ended, count=False)
        if not self.problems:
            self._judge(TWO, "the shard again", child(lost, None).ended(), count=False)

    def _finish(self) -> None:
        ended = injection.run(self._whole, self._base)
        if ended.code:
            self.problems.append(f"the last run ended with {ended.code}: {ended.said}")
            return
        found, wanted = final(content(self._out)), final(self._quiet.content)
        different = sorted(
            name for name in {*found, *wanted} if found.get(name) != wanted.get(name)
        )
        if different:
            self.problems.append(f"{len(different)} files differ: {different[:4]}")
        self._tally.strays += len(strays(self._out))

    def _judge(
        self,
        kind: str,
        said: str,
        ended: Ended,
        *,
        hit: bool = False,
        count: bool = True,
    ) -> None:
        """Count a fault, and say whether its end was one of those that it may have."""
        self._story.append(f"{said} -> {ended.code} ({ended.place})")
        self._is_done = self._is_done or (ended.code == 0 and "shard" not in said)
        if count and (ended.hit or hit):
            self._tally.hits[kind, self._work.name] += 1
            if kind not in (TWO, "clock jumps"):
                self._tally.places[kind, ended.place] += 1
            self._tally.ended[kind, str(ended.code)] += 1
        elif count:
            self._tally.missed += 1
        if ended.code not in CODES[kind] | {0}:
            self.problems.append(f"ended with {ended.code}: {ended.said[-3000:]}")
            return
        if ended.place == injection.HUNG:
            self.problems.append(f"hung: {ended.said[-3000:]}")
            return
        wrong = self._wrongly_taken()
        if wrong:
            self.problems.append(wrong)

    def _wrongly_taken(self) -> str:
        """In words, what would be taken for finished and is not."""

        def check() -> int:
            taken = self._work.taken(self._out)
            wrong = wrongly_taken(self._out, taken, self._quiet.content)
            if wrong:
                print(f"taken for finished: {wrong[:4]}")
            return 1 if wrong else 0

        ended = injection.run(check, self._base / "nothing")
        return f"after it: {ended.said[-3000:]}" if ended.code else ""

    def _whole(self) -> int:
        return _listening(lambda: self._work.run(self._out))

    def _shift_times(self) -> None:
        """Give every file a time that another clock could have given it."""
        now = time.time()
        for path in self._out.rglob("*") if self._out.is_dir() else ():
            with contextlib.suppress(OSError):
                then = max(0.0, now + self._draw.choice(JUMPS))
                os.utime(path, (then, then))


def _listening(work: Callable[[], int]) -> int:
    listen()
    return work()


def quiet_run(work: Work, base: Path) -> Quiet:
    """An undisturbed run, after a first one that tells which modules to import."""
    _undisturbed(work, base / f"quiet-{work.name}-cold", base)
    out = base / f"quiet-{work.name}"
    ended = _undisturbed(work, out, base)
    taken = injection.run(lambda: 0 if work.taken(out) else 1, base)
    if taken.code:
        raise RuntimeError(f"{work.name} is not taken for finished: {taken.said}")
    sizes = tuple(path.stat().st_size for path in out.rglob("*") if path.is_file())
    return Quiet(content=content(out), ended=ended, sizes=sizes)


def _undisturbed(work: Work, out: Path, base: Path) -> Ended:
    names = base / "modules.json"

    def run() -> int:
        code = _listening(lambda: work.run(out))
        names.write_text(json.dumps(sorted(sys.modules)))
        return code

    ended = injection.run(run, base)
    if ended.code:
        raise RuntimeError(f"{work.name} ends with {ended.code}: {ended.said}")
    # Here, so that no child has to do it again.
    for name in json.loads(names.read_text()):
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    return ended


def soak(options: argparse.Namespace, base: Path, tally: Tally) -> None:
    """Trials until there were as many faults as asked for, or time is up."""
    prepare(base)
    every = works(base)
    chosen = [every[name] for name in options.only or every]
    quiet = {work.name: quiet_run(work, base) for work in chosen}
    begun = time.monotonic()
    for number in _numbers(options):
        if tally.faults >= options.faults and options.trial is None:
            return
        if options.minutes and time.monotonic() - begun > 60 * options.minutes:
            return
        work = chosen[number % len(chosen)]
        # The same trial whatever else is chosen.
        mine = number // len(chosen) if options.trial is None else options.trial
        folder = base / f"{work.name}-{mine}"
        trial = Trial(
            work,
            quiet[work.name],
            folder,
            base=base,
            draw=random.Random(f"{options.seed} {work.name} {mine}"),
            tally=tally,
        )
        kinds = [kind for kind in options.kinds or KINDS if kind != LOST or work.shards]
        trial.run(kinds)
        tally.trials += 1
        if trial.problems:
            again = f"--seed {options.seed} --only {work.name} --trial {mine}"
            again += f" --kinds {','.join(options.kinds)}" if options.kinds else ""
            tally.failures.append(f"{again}\n    {trial.describe()}")
            print(f"FAILED {tally.failures[-1]}", file=sys.stderr, flush=True)
        elif options.verbose:
            print(f"{work.name} {mine}: {trial.describe()}", file=sys.stderr)
        if not (trial.problems and options.keep):
            shutil.rmtree(folder, ignore_errors=True)


def _numbers(options: argparse.Namespace) -> Iterator[int]:
    if options.trial is not None:
        yield 0
        return
    number = 0
    while True:
        yield number
        number += 1


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def main() -> int:
    """Run the trials and print the table; 1 if anything differed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=_words, help="Names of works, by commas.")
    parser.add_argument("--kinds", type=_words, help="Names of faults, by commas.")
    parser.add_argument("--trial", type=int, help="Only this trial of one work.")
    parser.add_argument("--minutes", type=float, help="Stop after so long.")
    parser.add_argument("--keep", action="store_true", help="Keep what failed.")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--table", type=Path, nargs="+", help="Join what --json wrote; run nothing."
    )
    options = parser.parse_args()
    if options.table:
        read = (json.loads(path.read_text()) for path in options.table)
        print(table(joined(read), KINDS))
        return 0
    torch.set_num_threads(1)
    base = Path(tempfile.mkdtemp(prefix="interp-faults-"))
    tally = Tally()
    try:
        soak(options, base, tally)
    finally:
        if not (tally.failures and options.keep):
            shutil.rmtree(base, ignore_errors=True)
    if options.json:
        print(json.dumps(to_json(tally)))
    else:
        print(table(tally, KINDS))
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
