"""The link that a session was opened with."""

import streamlit as st

from interp.errors import InterpError
from interp_explorer.lab.settings import apply, current
from interp_explorer.lab.shares import shared
from interp_explorer.state import root
from interp_explorer.widgets.text import escaped


SHARE = "s"
OPENED, SETTINGS = "lab_opened", "lab_link"


def open_link() -> None:
    """Show what the link in the address was made for; once, before any widget."""
    asked = st.query_params.get(SHARE)
    if asked is None or st.session_state.get(OPENED) == asked:
        return
    st.session_state[OPENED] = asked
    try:
        settings = shared(asked, root())
    except InterpError as error:
        st.error(escaped(str(error)))
        return
    apply(settings)
    st.session_state[SETTINGS] = settings


def forget_link() -> None:
    """Take the link's name out of the address once something else is shown."""
    if SHARE in st.query_params and st.session_state.get(SETTINGS) != current():
        del st.query_params[SHARE]
