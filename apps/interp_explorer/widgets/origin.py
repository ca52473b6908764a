"""Where a result comes from, and the command that repeats it."""

import pandas as pd
import streamlit as st

from interp.figures import provenance_facts
from interp.provenance import Provenance


def show_origin(provenance: Provenance) -> None:
    """The command that repeats a result, and everything that it depends on.

    Args:
        provenance: What produced it.
    """
    st.subheader("How to repeat this", anchor=False)
    if provenance.command:
        st.code(provenance.command, language="bash", wrap_lines=True)
    else:
        st.caption("It was not made by a command.")
    facts = provenance_facts(provenance)
    with st.expander("What produced it"):
        st.dataframe(
            pd.DataFrame({"what": [*facts], "value": [*facts.values()]}),
            hide_index=True,
        )
