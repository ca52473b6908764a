"""Runs: where each comes from, the command that repeats it, its files and events."""

import json
import os
from pathlib import Path

import pandas as pd
import streamlit as st

from interp.errors import InterpError
from interp.provenance import from_json
from interp.results import RunFolder
from interp.results.runs import EVENTS, PROVENANCE, SPEC
from interp_explorer.cache import opened
from interp_explorer.catalog import Entry, check_inside
from interp_explorer.state import choose_entry, listed, root
from interp_explorer.widgets.origin import show_origin
from interp_explorer.widgets.text import date, escaped


MAX_FILES = 500
MAX_SETTINGS_BYTES = 200_000
MAX_EVENTS = 50


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


def show_run(entry: Entry) -> None:
    """Files, settings and events of a run, and what goes on with an unfinished one."""
    with st.expander("Files", expanded=True):
        st.dataframe(files(entry.path), hide_index=True)
    if not entry.is_run:
        return
    try:
        for name in (SPEC, EVENTS, PROVENANCE):
            check_inside(entry.path / name, root())
        if entry.state == "unfinished":
            show_origin(from_json(json.loads((entry.path / PROVENANCE).read_bytes())))
        settings = (entry.path / SPEC).read_bytes()[:MAX_SETTINGS_BYTES]
        run = RunFolder(
            path=entry.path, study=entry.study, models="", spec_hash=entry.path.name
        )
        events = run.events()[-MAX_EVENTS:]
    except (InterpError, OSError, ValueError) as error:
        st.error(escaped(str(error)))
        return
    with st.expander("Settings"):
        st.code(settings.decode("utf-8", errors="replace"), language="toml")
    with st.expander("Events"):
        rows = [{name: str(value) for name, value in row.items()} for row in events]
        st.dataframe(pd.DataFrame(rows), hide_index=True)


st.title("Runs", anchor=False)
st.caption("Where every result comes from, and the command that repeats it.")
found = listed()
if not found.entries:
    st.info("There are no results here.")
else:
    entry = choose_entry(found.entries, key="x_run")
    if entry:
        st.caption(
            f"{escaped(entry.study)} · {escaped(' and '.join(entry.models))} · "
            f"{entry.state} · {date(entry.created)}"
        )
        st.markdown(f"**{escaped(entry.headline or 'There is no result yet.')}**")
        if entry.state == "finished" and (result := opened(entry)):
            show_origin(result.result.provenance)
        show_run(entry)
    st.subheader("All runs", anchor=False)
    st.dataframe(
        pd.DataFrame(
            {
                "made": [date(e.created) for e in found.entries],
                "study": [e.study for e in found.entries],
                "state": [e.state for e in found.entries],
                "models": [" and ".join(e.models) for e in found.entries],
                "path": [e.name for e in found.entries],
            }
        ),
        hide_index=True,
    )
