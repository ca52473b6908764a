"""Where a result comes from, and the command that repeats it."""

import shlex

import pandas as pd
import streamlit as st

from interp.figures import provenance_facts
from interp.provenance import Provenance
from interp.results.runs import SPEC
from interp_explorer.catalog import Entry, settings_of
from interp_explorer.state import root
from interp_explorer.widgets.text import escaped


# What `interp study` runs from a file of settings.
FROM_SETTINGS = ("truthfulness", "refusal", "knowledge", "confidence")
MAX_SETTINGS_BYTES = 200_000


def show_origin(provenance: Provenance, entry: Entry | None = None) -> None:
    """The command that repeats a result, and everything that it depends on.

    Args:
        provenance: What produced it.
        entry: Its run, if there is one: that has kept the settings.
    """
    unfinished = entry is not None and entry.state == "unfinished"
    st.subheader(
        "How to go on with this" if unfinished else "How to repeat this", anchor=False
    )
    again = from_settings(provenance, entry)
    if provenance.command:
        st.code(provenance.command, language="bash", wrap_lines=True)
    else:
        st.caption("It was not made by a command, but from Python.")
    if again and again != provenance.command:
        st.caption("The same from the settings that the run has kept:")
        st.code(again, language="bash", wrap_lines=True)
    with st.expander("What produced it"):
        facts = provenance_facts(provenance)
        st.dataframe(
            pd.DataFrame({"what": [*facts], "value": [*facts.values()]}),
            hide_index=True,
            alt="What produced the result: models, data, settings and versions.",
        )
        show_settings(entry)


def from_settings(provenance: Provenance, entry: Entry | None) -> str:
    """The command that runs a study again from the settings of its run, or nothing.

    Args:
        provenance: What produced the result.
        entry: Its run, if there is one.
    """
    if entry is None or provenance.study not in FROM_SETTINGS:
        return ""
    if settings_of(entry, root()) is None:
        return ""
    settings = str(entry.path / SPEC)
    words = ["interp", "study", provenance.study, settings, "--out", str(root())]
    return shlex.join(words)


def show_settings(entry: Entry | None) -> None:
    """The settings of a run, as its file has them.

    Args:
        entry: The run, if there is one.
    """
    if entry is None or settings_of(entry, root()) is None:
        return
    try:
        text = (entry.path / SPEC).read_bytes()[:MAX_SETTINGS_BYTES]
    except OSError as error:
        st.error(escaped(str(error)))
        return
    st.caption(f"Settings ({SPEC})")
    st.code(text.decode("utf-8", errors="replace"), language="toml")
