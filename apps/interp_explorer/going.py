"""How far a run is, by its events. Knows nothing of Streamlit."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from interp.errors import InterpError
from interp.results import RunFolder
from interp.results.run_progress import PROGRESS, SECONDS_BETWEEN_EVENTS
from interp.results.runs import EVENTS
from interp_explorer.catalog import Entry, check_inside


BEGINNINGS = ("started", "resumed")
# A step that takes long between two events is not yet a sign of death.
SILENT_AFTER = 6 * SECONDS_BETWEEN_EVENTS
# Events are small; a file beyond this is none of ours.
MAX_BYTES = 32 * 2**20
Event = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A long step of a run.

    Attributes:
        what: What is done.
        done: How much of it.
        of: How much there is in all.
        unit: What is counted.
        per_minute: How fast, NaN if unknown.
        seconds_left: At this speed, NaN if unknown.
    """

    what: str
    done: int
    of: int
    unit: str
    per_minute: float
    seconds_left: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Going:
    """What the events of a run say.

    Attributes:
        starts: How often it was started.
        seconds: From its last start to its last event, NaN if unknown.
        last: The last event in words; empty if there is none.
        at: When that was, in ISO 8601.
        silent: Seconds since then, NaN if unknown.
        steps: The long steps since the last start, the newest first.
    """

    starts: int
    seconds: float
    last: str
    at: str
    silent: float
    steps: tuple[Step, ...]

    @property
    def seems_alive(self) -> bool:
        """Whether it wrote something lately."""
        return self.silent < SILENT_AFTER


def going(entry: Entry, *, now: datetime) -> Going:
    """How far a run is.

    Args:
        entry: The run.
        now: The time, with its zone.
    """
    return summary(events_of(entry), now=now)


def events_of(entry: Entry) -> tuple[Event, ...]:
    """The events of a run; none if they cannot be read.

    Args:
        entry: The run, which was found inside the folder.
    """
    path = entry.path / EVENTS
    try:
        check_inside(path, entry.path)
        if path.stat().st_size > MAX_BYTES:
            return ()
        run = RunFolder(
            path=entry.path, study=entry.study, models="", spec_hash=entry.path.name
        )
        return run.events()
    except (InterpError, OSError):
        return ()


def summary(events: Sequence[Event], *, now: datetime) -> Going:
    """What events say of how far a run is.

    Args:
        events: In their order.
        now: The time, with its zone.

    Example:
        >>> from datetime import UTC
        >>> started = {"event": "started", "time": "2026-01-01T00:00:00+00:00"}
        >>> summary([started], now=datetime(2026, 1, 1, 0, 1, tzinfo=UTC)).silent
        60.0
    """
    starts = [i for i, one in enumerate(events) if one.get("event") in BEGINNINGS]
    since = events[starts[-1] :] if starts else events
    last = events[-1] if events else {}
    return Going(
        starts=len(starts),
        seconds=_apart(since[0], last) if since else float("nan"),
        last=_in_words(last),
        at=str(last.get("time", "")),
        silent=_seconds(str(last.get("time", "")), now.isoformat()),
        steps=_steps(since),
    )


def duration(seconds: float) -> str:
    """A time in the two largest units that it has, a dash if unknown.

    Example:
        >>> duration(42), duration(4000), duration(float("nan"))
        ('42 s', '1 h 6 min', '–')
    """
    if seconds != seconds:
        return "–"
    whole = round(seconds)
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    parts = []
    for name, size in units:
        count, whole = divmod(whole, size)
        if count or (name == "s" and not parts):
            parts.append(f"{count} {name}")
    return " ".join(parts[:2])


def _steps(events: Sequence[Event]) -> tuple[Step, ...]:
    by_name: dict[tuple[str, int], list[Event]] = {}
    for event in events:
        total = event.get("of")
        if event.get("event") == PROGRESS and isinstance(total, int):
            # Taken out and put in again, so that the newest is last.
            key = (str(event.get("what", "")), total)
            by_name[key] = [*by_name.pop(key, []), event]
    found = [_step(what, of, own) for (what, of), own in by_name.items()]
    return tuple(reversed(found))


def _step(what: str, of: int, events: Sequence[Event]) -> Step:
    last = events[-1]
    # What a resumed run finds done was not done at this speed.
    done, seconds = _number(last, "done"), _number(last, "seconds")
    if len(events) > 1:
        done -= _number(events[0], "done")
        seconds -= _number(events[0], "seconds")
    rate = done / seconds if done > 0 and seconds > 0 else float("nan")
    reached = _number(last, "done")
    return Step(
        what=what,
        done=int(reached),
        of=of,
        unit=str(last.get("unit", "")),
        per_minute=rate * 60,
        seconds_left=max(of - reached, 0) / rate,
    )


def _number(event: Event, name: str) -> float:
    value = event.get(name)
    return float(value) if isinstance(value, int | float) else 0.0


def _apart(first: Event, last: Event) -> float:
    return _seconds(str(first.get("time", "")), str(last.get("time", "")))


def _seconds(first: str, last: str) -> float:
    try:
        return (
            datetime.fromisoformat(last) - datetime.fromisoformat(first)
        ).total_seconds()
    except (ValueError, TypeError):
        return float("nan")


def _in_words(event: Event) -> str:
    """An event without its time and command."""
    hidden = ("time", "event", "command", "kind", "headline")
    facts = [f"{name} {value}" for name, value in event.items() if name not in hidden]
    name = str(event.get("event", ""))
    return f"{name}: {', '.join(facts)}" if facts else name
