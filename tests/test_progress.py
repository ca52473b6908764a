"""Progress goes where it is sent, and bars close even after an exception."""

import pytest

from interp import progress
from interp.errors import ConfigError


class Recorded:
    events: list[object]
    last: "Recorded"

    def __init__(self, description, total, unit):
        self.events = [(description, total, unit)]
        Recorded.last = self

    def advance(self, amount=1, note=""):
        self.events.append((amount, note))

    def close(self):
        self.events.append("closed")


def test_a_display_can_be_put_under_all_progress():
    def work():
        with progress.progress_bar("capture", 3, "examples") as bar:
            bar.advance(2, note="half")
            raise ZeroDivisionError

    with progress.using(Recorded), pytest.raises(ZeroDivisionError):
        work()
    assert Recorded.last.events == [("capture", 3, "examples"), (2, "half"), "closed"]


def test_lines_appear_only_now_and_then(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setenv("INTERP_PROGRESS", "lines")
    with progress.progress_bar("track", 10, "checkpoints") as bar:
        bar.advance()
        now[0] = 31.0
        bar.advance(4, note="step 512")
        bar.advance()
    assert capsys.readouterr().err == "track: 5/10 checkpoints step 512\n"


def test_an_unknown_display_is_named(monkeypatch):
    monkeypatch.setenv("INTERP_PROGRESS", "fancy")
    with (
        pytest.raises(ConfigError, match="INTERP_PROGRESS is 'fancy'"),
        progress.progress_bar("x", 1, "steps"),
    ):
        pass
