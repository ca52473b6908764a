"""What a session has computed, so that a click does not compute it again."""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import streamlit as st


T = TypeVar("T")
MEMORY = "lab_memory"
# Settings that a reader goes back and forth between, and no more.
MAX_REMEMBERED = 24


def remembered(what: Hashable, make: Callable[[], T]) -> T:
    """A value that was made before in this session, or is made now.

    Args:
        what: All that decides it.
        make: Makes it.
    """
    held = recall(what)
    return keep(what, make()) if held is None else held


def recall(what: Hashable) -> Any:
    """A value that was kept, or None.

    Args:
        what: As it was kept.
    """
    return st.session_state.get(MEMORY, {}).get(what)


def keep(what: Hashable, value: T) -> T:
    """Keep a value for this session; the oldest is forgotten.

    Args:
        what: All that decides it.
        value: The value.
    """
    # A new table: another run of this session may be reading the old one.
    table = {**st.session_state.get(MEMORY, {}), what: value}
    for old in list(table)[: max(0, len(table) - MAX_REMEMBERED)]:
        del table[old]
    st.session_state[MEMORY] = table
    return value
