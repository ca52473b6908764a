"""`interp show`: what a result, a run or a folder of runs says, without torch."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from probes.cli.options import Json
from probes.cli.output import emit, say, show_table


if TYPE_CHECKING:
    import pandas as pd

    from interp.results import Result, RunInfo

MAX_ROWS = 40


def show(
    path: Annotated[
        Path, typer.Argument(help="A result, a run folder, or a folder of runs.")
    ],
    as_json: Json = False,
) -> int:
    """Show what was found: a headline and a table, or the list of runs below PATH."""
    from interp import results
    from interp.errors import ResultError

    place = path.expanduser()
    is_result = any((p / "result.json").is_file() for p in (place, place / "result"))
    if is_result or place.name == "result.json" or (place / "spec.toml").is_file():
        _show_result(place, results.load(place), as_json=as_json)
        return 0
    if (place / "manifest.json").is_file():
        raise ResultError(
            f"{str(path)!r} is a store of activations, not a result.",
            remedy=f"Read it with interp.store.open({str(path)!r}).",
        )
    runs = results.find(place)
    if not runs:
        raise ResultError(
            f"There are no results in {str(path)!r}.",
            expected="A result, a run folder, or a folder that `interp compare` wrote.",
        )
    _show_runs(place, runs, as_json=as_json)
    return 0


def _show_result(path: Path, result: "Result", *, as_json: bool) -> None:
    from interp import results
    from probes.studies.summary import brief_table, numbers, sentences

    if as_json:
        emit({"ok": True, "path": str(path), "kind": result.KIND, **numbers(result)})
        return
    of = f": {' and '.join(result.models)}" if result.models else ""
    say(f"{results.title(result)}{of}")
    for sentence in sentences(result):
        say(f"  {sentence}")
    _print_frame(brief_table(result))
    for note in result.notes:
        say(f"- {note}")
    if result.provenance.command:
        say(f"\nAgain: {result.provenance.command}")


def _print_frame(frame: "pd.DataFrame") -> None:
    from rich.table import Table

    from interp.results.display import cell

    table = Table()
    for name in frame.columns:
        table.add_column(str(name))
    for row in frame.head(MAX_ROWS).itertuples(index=False, name=None):
        table.add_row(*(cell(value) for value in row))
    show_table(table)
    if len(frame) > MAX_ROWS:
        say(f"{len(frame) - MAX_ROWS} more rows.")


def _show_runs(path: Path, runs: "tuple[RunInfo, ...]", *, as_json: bool) -> None:
    report = path / "report.html"
    if as_json:
        emit(
            {
                "ok": True,
                "path": str(path),
                "report": str(report) if report.is_file() else None,
                "runs": [
                    {
                        "path": str(run.path),
                        "study": run.study,
                        "models": list(run.models),
                        "created": run.created,
                        "state": run.state,
                        "headline": run.headline,
                    }
                    for run in runs
                ],
            }
        )
        return
    for run in runs:
        say(f"{run.study}: {' and '.join(run.models)} ({run.state}, {run.created})")
        say(f"  {run.headline or 'no result yet'}")
        say(f"  {run.path}")
    if report.is_file():
        say(f"\nReport: {report}")
