"""What a run says of its progress while it goes on."""

from dataclasses import dataclass

import pytest

from interp import progress
from interp.errors import UnwritableError
from interp.progress import progress_bar, using
from interp.provenance import Provenance
from interp.results import RunFolder, open_run, run_progress
from interp.results.run_progress import recorded


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    seed: int = 0


class Shown:
    """A display that remembers what it was told."""

    def __init__(self) -> None:
        self.said: list[object] = []

    def __call__(self, description: str, total: int, unit: str) -> "Shown":
        self.said.append((description, total, unit))
        return self

    def advance(self, amount: int = 1, note: str = "") -> None:
        self.said.append((amount, note))

    def close(self) -> None:
        self.said.append("closed")


@pytest.fixture
def run(tmp_path) -> RunFolder:
    return open_run(
        tmp_path,
        study="s",
        models=["m"],
        spec=Settings(),
        provenance=Provenance(study="s"),
    )


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(run_progress.time, "monotonic", lambda: now[0])
    return now


def told(run: RunFolder) -> list[tuple[object, object, object]]:
    found = [one for one in run.events() if one["event"] == "progress"]
    return [(one["done"], one["of"], one["seconds"]) for one in found]


def test_long_steps_are_written_now_and_again_and_shown_as_before(run, clock):
    shown = Shown()
    with using(recorded(run, shown)), progress_bar("answer", 10, "prompts") as bar:
        for _ in range(10):
            clock[0] += 7
            bar.advance(note="x")
    # Every 20 seconds at the earliest, and at the end.
    assert told(run) == [(3, 10, 21.0), (6, 10, 42.0), (9, 10, 63.0), (10, 10, 70.0)]
    assert run.events()[-1]["what"] == "answer"
    assert shown.said == [("answer", 10, "prompts"), *[(1, "x")] * 10, "closed"]


def test_short_steps_are_not_written(run, clock):
    with using(recorded(run, Shown())):
        for _ in range(50):
            clock[0] += 1
            with progress_bar("capture", 1, "prompts") as bar:
                bar.advance()
    assert told(run) == []


def test_people_see_what_they_saw(run, monkeypatch):
    monkeypatch.setenv("INTERP_PROGRESS", "off")
    shown = Shown()
    with using(shown), using(recorded(run)), progress_bar("a", 1, "b") as bar:
        bar.advance()
    assert shown.said == [("a", 1, "b"), (1, ""), "closed"]
    assert isinstance(progress.display_in_use()("a", 1, "b"), progress.SilentProgress)


def test_events_that_cannot_be_written_stop_nothing(run, clock, monkeypatch):
    def full(*_: object) -> None:
        raise UnwritableError("The disk is full.")

    monkeypatch.setattr(RunFolder, "append", full)
    shown = Shown()
    with using(recorded(run, shown)), progress_bar("answer", 2, "prompts") as bar:
        clock[0] += 30
        bar.advance(2)
    assert shown.said[-1] == "closed"
