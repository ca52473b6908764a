"""Named ratios of benchmarks beside stored ones: has any got worse?

Nothing here measures. Ratios only are compared, as times of one machine say nothing
about another; a ratio that was never stored passes, and one that is stored but was not
measured fails, since a case that is renamed would otherwise leave the gate unseen.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Literal


LIMIT = 1.2
Better = Literal["lower", "higher"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """One ratio of a benchmark, and which way is better."""

    name: str
    value: float
    better: Better


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A ratio beside the stored one.

    Attributes:
        stored: None if there is none yet.
        worse: How many times worse than the stored one; below 1 is better.
    """

    ratio: Ratio
    stored: float | None
    worse: float

    @property
    def passes(self) -> bool:
        return self.worse <= LIMIT

    @property
    def verdict(self) -> str:
        if self.stored is None:
            return "new"
        return "ok" if self.passes else "WORSE"


def ratios_of(report: Mapping[str, object], benchmark: str) -> tuple[Ratio, ...]:
    """The ratios that a script reported, named after the script and the case.

    Raises:
        ValueError: If it reported none, or not as name, value and better.
    """
    rows = report.get("ratios")
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"{benchmark} reported no ratios")
    found = []
    for row in rows:
        name, value, better = row["name"], float(row["value"]), row["better"]
        if better not in ("lower", "higher"):
            raise ValueError(f"{benchmark}: {name} is better {better!r}")
        found.append(Ratio(name=f"{benchmark}: {name}", value=value, better=better))
    return tuple(found)


def compare(
    ratios: Sequence[Ratio], stored: Mapping[str, float]
) -> tuple[Compared, ...]:
    """Each ratio beside the stored one of its name."""
    return tuple(
        Compared(
            ratio=ratio, stored=(before := stored.get(ratio.name)),
            worse=_worse(ratio, before),
        )
        for ratio in ratios
    )  # fmt: skip


def _worse(ratio: Ratio, stored: float | None) -> float:
    if stored is None:
        return 1.0
    # What is no positive number is no measurement, and must not pass as a good one.
    if not (math.isfinite(ratio.value) and ratio.value > 0):
        return math.inf
    return ratio.value / stored if ratio.better == "lower" else stored / ratio.value


def missing(
    ratios: Iterable[Ratio], stored: Mapping[str, float], benchmarks: Iterable[str]
) -> tuple[str, ...]:
    """Stored names of the benchmarks that ran, which were not measured."""
    measured = {ratio.name for ratio in ratios}
    ran = tuple(f"{name}: " for name in benchmarks)
    return tuple(n for n in stored if n.startswith(ran) and n not in measured)


def best(first: Sequence[Ratio], again: Sequence[Ratio]) -> tuple[Ratio, ...]:
    """The better value of each ratio of two runs; what one run lacks is kept."""
    values = {ratio.name: ratio for ratio in first}
    for ratio in again:
        before = values.get(ratio.name, ratio)
        pick = min if ratio.better == "lower" else max
        values[ratio.name] = pick(ratio, before, key=lambda r: _finite(r))
    return tuple(values.values())


def _finite(ratio: Ratio) -> float:
    if math.isfinite(ratio.value) and ratio.value > 0:
        return ratio.value
    return math.inf if ratio.better == "lower" else -math.inf


def middle(runs: Sequence[Sequence[Ratio]]) -> tuple[Ratio, ...]:
    """The median of each ratio over runs."""
    values: dict[str, list[float]] = {}
    last = {ratio.name: ratio for run in runs for ratio in run}
    for run in runs:
        for ratio in run:
            values.setdefault(ratio.name, []).append(ratio.value)
    return tuple(
        replace(ratio, value=median(values[name])) for name, ratio in last.items()
    )


def read_stored(path: Path) -> dict[str, float]:
    """Stored values by name; empty where nothing was stored."""
    if not path.is_file():
        return {}
    return {row["name"]: row["value"] for row in json.loads(path.read_text())["ratios"]}


def store(path: Path, ratios: Sequence[Ratio], about: Mapping[str, object]) -> None:
    """Put ratios in the place of those of the same benchmarks; others stay.

    Args:
        path: The file.
        ratios: What was measured.
        about: When and on what; kept for each benchmark.

    Raises:
        ValueError: If a value is no positive number, which nothing could be held to.
    """
    wrong = [r.name for r in ratios if not (math.isfinite(r.value) and r.value > 0)]
    if wrong:
        raise ValueError(f"nothing is stored: {', '.join(wrong)} is not positive")
    empty: dict[str, Any] = {"about": {}, "ratios": []}
    before = json.loads(path.read_text()) if path.is_file() else empty
    ran = {ratio.name.partition(": ")[0] for ratio in ratios}
    circumstances = before["about"] | dict.fromkeys(sorted(ran), about)
    kept = [r for r in before["ratios"] if r["name"].partition(": ")[0] not in ran]
    new = [asdict(replace(r, value=float(f"{r.value:.4g}"))) for r in ratios]
    ordered = sorted([*kept, *new], key=lambda row: row["name"])
    content = {"about": circumstances, "ratios": ordered}
    write(path, json.dumps(content, indent=1) + "\n")


def write(path: Path, text: str) -> None:
    """Put a text into a file, which is never seen half written."""
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(text)
    beside.replace(path)


def not_run(
    stored: Mapping[str, float], benchmarks: Iterable[str]
) -> tuple[tuple[str, float], ...]:
    """What is stored of the benchmarks that did not run."""
    ran = tuple(f"{name}: " for name in benchmarks)
    return tuple(item for item in stored.items() if not item[0].startswith(ran))


def table(
    rows: Sequence[Compared],
    absent: Sequence[str],
    rest: Sequence[tuple[str, float]] = (),
) -> str:
    """A Markdown table of all ratios.

    Args:
        rows: What was measured.
        absent: Names that should have been measured.
        rest: Names and stored values of what did not run.
    """
    lines = [
        "| benchmark | ratio | better | stored | times worse | |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        stored = "" if row.stored is None else f"{row.stored:.3g}"
        worse = "" if row.stored is None else f"{row.worse:.2f}"
        lines.append(
            f"| {row.ratio.name} | {row.ratio.value:.3g} | {row.ratio.better} |"
            f" {stored} | {worse} | {row.verdict} |"
        )
    lines += [f"| {name} | | | | | NOT MEASURED |" for name in absent]
    lines += [f"| {name} | | | {value:.3g} | | not run |" for name, value in rest]
    return "\n".join(lines)
