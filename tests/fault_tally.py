"""How many faults there were, where they hit, and how what they hit ended."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


PLACES_SHOWN = 4
_NUMBERS = ("trials", "missed", "strays")


@dataclass(slots=True, kw_only=True)
class Tally:
    """What happened in all trials.

    Attributes:
        hits: Faults by kind and piece of work.
        places: What was being done when they came, by kind and place.
        ended: Exit codes of what they hit, by kind and code.
        missed: Faults that came after the end.
        trials: How many folders.
        strays: Unfinished files beside finished work.
        failures: For each trial that failed how to repeat it, and its story.
    """

    hits: Counter[tuple[str, str]] = field(default_factory=Counter)
    places: Counter[tuple[str, str]] = field(default_factory=Counter)
    ended: Counter[tuple[str, str]] = field(default_factory=Counter)
    missed: int = 0
    trials: int = 0
    strays: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def faults(self) -> int:
        return sum(self.hits.values())


def to_json(tally: Tally) -> dict[str, Any]:
    """A tally as plain values."""
    tables = {"hits": tally.hits, "places": tally.places, "ended": tally.ended}
    return {
        **{name: getattr(tally, name) for name in _NUMBERS},
        "faults": tally.faults,
        "failures": tally.failures,
        **{
            name: {kind: _of_kind(counts, kind) for kind, _ in counts}
            for name, counts in tables.items()
        },
    }


def joined(several: Iterable[Mapping[str, Any]]) -> Tally:
    """One tally of several that `to_json` wrote."""
    tally = Tally()
    for one in several:
        for name in _NUMBERS:
            setattr(tally, name, getattr(tally, name) + one[name])
        tally.failures += one["failures"]
        for counts, name in (
            (tally.hits, "hits"),
            (tally.places, "places"),
            (tally.ended, "ended"),
        ):
            for kind, found in one[name].items():
                for what, n in found.items():
                    counts[kind, what] += n
    return tally


def table(tally: Tally, kinds: Iterable[str]) -> str:
    """Faults by kind and work, how they ended and what they hit, as Markdown."""
    names = sorted({name for _, name in tally.hits})
    lines = [
        f"| fault | {' | '.join(names)} | all | ended with | hit while |",
        "|---" * (len(names) + 4) + "|",
    ]
    for kind in kinds:
        counts = [tally.hits[kind, name] for name in names]
        if sum(counts):
            cells = (
                kind,
                *(str(count or "") for count in counts),
                str(sum(counts)),
                _shares(_of_kind(tally.ended, kind)),
                _shares(_of_kind(tally.places, kind)),
            )
            lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        f"{tally.faults} faults in {tally.trials} trials; {tally.missed} more came"
        f" after the end; {tally.strays} unfinished files were left beside the results;"
        f" {len(tally.failures)} trials failed.",
    ]
    return "\n".join(lines)


def _of_kind(counts: Counter[tuple[str, str]], kind: str) -> dict[str, int]:
    return {what: n for (one, what), n in counts.items() if one == kind}


def _shares(counts: Mapping[str, int]) -> str:
    ordered = Counter(counts).most_common()
    shown = [f"{name} ({n})" for name, n in ordered[:PLACES_SHOWN]]
    rest = sum(n for _, n in ordered[PLACES_SHOWN:])
    return ", ".join([*shown, *([f"others ({rest})"] if rest else [])])
