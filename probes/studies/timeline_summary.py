"""What a timeline says; knows neither torch nor models."""

import math

import pandas as pd

from interp.results import HeadTimeline
from probes.studies.values import Value, interval, number


def numbers(result: HeadTimeline) -> dict[str, Value]:
    """The numbers that a caller wants first."""
    return {
        "headline": result.headline(),
        "checkpoints": len(result.checkpoints),
        "failed": {row.name: row.reason for row in result.failed},
        "phases": {
            row.curve: {
                "verdict": row.verdict,
                "reason": row.reason,
                "width": number(row.width),
                "abruptness": number(row.abruptness),
                **{
                    time.estimator.replace(" ", "_"): {
                        "step": interval(time.step, time.low, time.high),
                        "between": [number(time.grid_low), number(time.grid_high)],
                    }
                    for time in row.times
                },
            }
            for row in result.phases
        },
        "last": {
            name: number(value)
            for name, value in zip(result.curves, result.mean[:, -1], strict=True)
        },
        "top": {name: list(result.top(name)) for name in result.metrics},
    }


def sentences(result: HeadTimeline) -> tuple[str, ...]:
    """What was found and what limits it."""
    said: list[str] = []
    for row in result.phases:
        if row.verdict != "transition" or "(mean of" in row.curve:
            continue
        times = ", ".join(
            f"{time.step:.0f} by the {time.estimator}" for time in row.times
        )
        said.append(f"{_words(row.curve)} changes at step {times}.")
    ordered = [lag for lag in result.lags if _is_certain(lag.low, lag.high)]
    ordered = [lag for lag in ordered if lag.estimator == "logistic midpoint"]
    unresolved = sum(lag.unresolved for lag in ordered)
    if unresolved:
        said.append(
            f"{unresolved} of {len(ordered)} lags whose interval leaves out zero lie"
            " between the same two checkpoints: their order rests on the shape of the"
            " curves."
        )
    if result.failed:
        names = ", ".join(row.name for row in result.failed[:3])
        said.append(f"{len(result.failed)} checkpoints could not be measured: {names}.")
    return tuple(said)


def phase_table(result: HeadTimeline) -> pd.DataFrame:
    """Whether and when each curve changes."""
    rows = []
    for row in result.phases:
        if "(mean of" in row.curve:
            continue
        middle = row.time("logistic midpoint")
        curve = result.curve(row.curve)
        rows.append(
            {
                "curve": _words(row.curve),
                "verdict": row.verdict,
                "step": _time(middle.step, middle.low, middle.high),
                "between": _gap(middle.grid_low, middle.grid_high),
                "first": float(curve[0]),
                "last": float(curve[-1]),
            }
        )
    columns = ["curve", "verdict", "step", "between", "first", "last"]
    return pd.DataFrame(rows, columns=columns)


def _is_certain(low: float, high: float) -> bool:
    return math.isfinite(low) and (low > 0 or high < 0)


def _time(step: float, low: float, high: float) -> str:
    if math.isnan(step):
        return ""
    known = "" if math.isnan(low) else f" [{low:.0f}, {high:.0f}]"
    return f"{step:.0f}{known}"


def _gap(low: float, high: float) -> str:
    return "" if math.isnan(low) else f"{low:.0f} to {high:.0f}"


def _words(name: str) -> str:
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]
