"""The number and the line of a result on its card, read once for each state of it."""

import base64
import html
import logging
import math

import streamlit as st

from interp.errors import InterpError
from interp_explorer.catalog import READ_FILES, Entry, Stamp, check_inside
from interp_explorer.state import root
from interp_explorer.widgets.text import escaped


logger = logging.getLogger("interp.explorer")
MAX_KEPT = 4096


def glance(entry: Entry) -> None:
    """Show the number and the line; nothing where the result cannot be read.

    Args:
        entry: A finished run or a saved result; its page says what is wrong with it.
    """
    try:
        for name in READ_FILES:
            check_inside(entry.path / name, root())
        number, name, line, drawing = _glance(str(entry.path), entry.stamp)
    except (InterpError, ValueError, LookupError) as error:
        logger.warning("%s: %s", entry.name, error)
        return
    st.markdown(f"**{escaped(number)}**")
    if drawing:
        st.html(drawing)
    st.caption(escaped(f"{name}. Line: {line}." if drawing else f"{name}."))


@st.cache_data(max_entries=MAX_KEPT, show_spinner=False)
def _glance(path: str, stamp: Stamp) -> tuple[str, str, str, str]:
    """The headline number, what it is of, what the line is, and a picture of it.

    There is no picture of a line of less than two points.
    """
    del stamp
    # Imported here: a list of runs is shown before plotly is there.
    from interp import results
    from interp.figures.brief import brief, sparkline

    found = brief(results.load(path))
    if sum(map(math.isfinite, found.values)) < 2:
        return found.number, found.name, found.line, ""
    drawing = sparkline(found.values, alt=found.line).encode()
    # As an image: Streamlit takes the drawing itself out of a page.
    address = f"data:image/svg+xml;base64,{base64.b64encode(drawing).decode()}"
    alt = html.escape(found.line)
    picture = f'<img src="{address}" alt="{alt}" title="{alt}" style="max-width:100%">'
    return found.number, found.name, found.line, picture
