"""Runs: how far each is, where it comes from, how to go on, its files and events."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import streamlit as st

from interp import atomic
from interp.errors import InterpError
from interp.provenance import from_json
from interp.results.runs import PROVENANCE
from interp_explorer.cache import opened
from interp_explorer.catalog import Entry, check_inside
from interp_explorer.going import Going, duration, events_of, going
from interp_explorer.state import choose_entry, listed, root
from interp_explorer.widgets.downloads import show_table, table_downloads
from interp_explorer.widgets.origin import show_origin
from interp_explorer.widgets.text import date, escaped, models_text


MAX_FILES = 500
MAX_EVENTS = 50
# So many unfinished runs are asked how far they are; reading events takes time.
MOST_ASKED = 100
SECONDS_BETWEEN_LOOKS = 5
# Empty where all runs are finished.
PROGRESS_COLUMNS = ("done", "per minute", "left", "last event")


def files(folder: Path) -> pd.DataFrame:
    """The files of a run with their sizes; links are named, not followed."""
    rows: list[tuple[str, float | None]] = []
    for place, _, names in os.walk(folder):
        for name in sorted(names):
            path = Path(place) / name
            size = None if path.is_symlink() else round(path.stat().st_size / 1024, 1)
            rows.append((path.relative_to(folder).as_posix(), size))
            if len(rows) == MAX_FILES:
                return pd.DataFrame(rows, columns=["file", "KiB"])
    return pd.DataFrame(rows, columns=["file", "KiB"])


def show_steps(found: Going) -> None:
    """How far an unfinished run is."""
    columns = st.columns(3)
    step = found.steps[0] if found.steps else None
    columns[0].metric("Since its last start", duration(found.seconds))
    columns[1].metric("Last sign of life", f"{duration(found.silent)} ago")
    columns[2].metric("Left of this step", duration(step.seconds_left) if step else "–")
    if step:
        share = min(max(step.done / step.of, 0.0), 1.0) if step.of else 0.0
        speed = f", {step.per_minute:.3g} per minute" if step.per_minute > 0 else ""
        said = f"{step.what}: {step.done} of {step.of} {step.unit}{speed}"
        st.progress(share, text=escaped(said))
    if found.seems_alive:
        st.caption("It seems to be running.")
    else:
        st.caption("It seems to have stopped: the command below goes on with it.")
    if found.last:
        st.caption(f"Last event: {escaped(found.last)}")


@st.fragment(run_every=SECONDS_BETWEEN_LOOKS)
def follow(entry: Entry) -> None:
    """How far an unfinished run is, looked at again and again."""
    show_steps(going(entry, now=datetime.now(UTC)))


def show_run(entry: Entry) -> None:
    """Progress, origin, files and events of a run."""
    if entry.state == "finished":
        if result := opened(entry):
            show_origin(result.result.provenance, entry)
    elif entry.is_run:
        follow(entry)
        try:
            check_inside(entry.path / PROVENANCE, root())
            source = atomic.parse_json((entry.path / PROVENANCE).read_bytes())
            show_origin(from_json(source), entry)
        except (InterpError, OSError, ValueError) as error:
            st.error(escaped(str(error)))
    with st.expander("Files"):
        show_table(
            files(entry.path), key="n_files", name="files", alt="The files of the run."
        )
    if entry.is_run:
        with st.expander("Events"):
            events = events_of(entry)[-MAX_EVENTS:]
            rows = [{name: str(value) for name, value in e.items()} for e in events]
            show_table(
                pd.DataFrame(rows),
                key="n_events",
                name="events",
                alt="The last events of the run, one row each.",
            )


def table(entries: tuple[Entry, ...]) -> pd.DataFrame:
    """One row per run, with progress where one is not finished."""
    now = datetime.now(UTC)
    waiting = [e for e in entries if e.is_run and e.state != "finished"][:MOST_ASKED]
    asked = {entry.name: going(entry, now=now) for entry in waiting}
    rows = []
    for entry in entries:
        found = asked.get(entry.name)
        step = found.steps[0] if found and found.steps else None
        rows.append(
            {
                "made": date(entry.created),
                "study": entry.study,
                "state": entry.state,
                "models": models_text(entry.models, kind=entry.kind),
                "done": f"{step.done} of {step.of} {step.unit}" if step else "",
                "per minute": step.per_minute if step else None,
                "left": duration(step.seconds_left) if step else "",
                "last event": found.last if found else "",
                "path": entry.name,
            }
        )
    frame = pd.DataFrame(rows)
    return frame if waiting else frame.drop(columns=[*PROGRESS_COLUMNS])


st.title("Runs", anchor=False)
st.caption(
    "Every run and saved result below the folder: how far it is, where it comes from, "
    "its files and events. The command of each repeats it, or goes on with it."
)
found = listed()
if not found.entries:
    st.info("There are no results here.")
else:
    states = st.multiselect(
        "State",
        sorted({entry.state for entry in found.entries}),
        key="n_states",
        bind="query-params",
        placeholder="All",
    )
    entries = tuple(e for e in found.entries if not states or e.state in states)

    def pick() -> None:
        for at in st.session_state["n_table"].selection.rows:
            st.session_state["n_run"] = entries[at].name

    rows = table(entries)
    st.dataframe(
        rows,
        hide_index=True,
        key="n_table",
        on_select=pick,
        selection_mode="single-row",
        alt="One row for each run, the newest first.",
        column_config={
            "per minute": st.column_config.NumberColumn(format="%.3g"),
        },
    )
    st.caption(f"{len(entries)} runs, the newest first. A click on a row opens it.")
    table_downloads(rows, key="n_table", name="runs")
    if entry := choose_entry(entries, key="n_run"):
        models = models_text(entry.models, kind=entry.kind)
        st.caption(
            f"{escaped(entry.study)} · {escaped(models)} · {entry.state} · "
            f"{date(entry.created)}"
        )
        st.markdown(f"**{escaped(entry.headline or 'There is no result yet.')}**")
        show_run(entry)
