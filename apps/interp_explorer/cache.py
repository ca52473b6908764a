"""Opened results, kept while their files stay as they are.

Results and their figures are shared by all sessions: nothing may change them.
"""

from dataclasses import dataclass

import streamlit as st

from interp import results
from interp.errors import ResultError
from interp.figures import Section, report_section
from interp.results import Result
from interp_explorer.catalog import READ_FILES, Entry, Stamp, check_inside
from interp_explorer.state import root
from interp_explorer.widgets.text import escaped


MAX_OPEN = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Opened:
    """A result and what a report shows of it."""

    result: Result
    section: Section


def opened(entry: Entry) -> Opened | None:
    """The result of an entry; if it cannot be read, the page says why.

    Args:
        entry: A finished run or a saved result.
    """
    try:
        for name in READ_FILES:
            check_inside(entry.path / name, root())
        return _open(str(entry.path), entry.stamp)
    except ResultError as error:
        st.error(escaped(str(error)))
        return None


@st.cache_resource(max_entries=MAX_OPEN, show_spinner="Reading the result")
def _open(path: str, stamp: Stamp) -> Opened:
    del stamp
    result = results.load(path)
    return Opened(result=result, section=report_section(result))
