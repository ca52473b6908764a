"""What a page shows: the folder, and choices that live in the address."""

import sys
from collections.abc import Sequence
from pathlib import Path

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from interp_explorer.catalog import Catalog, Entry, catalog
from interp_explorer.widgets.text import escaped


def root() -> Path:
    """The folder of results, which stands behind the script on the command line."""
    return Path(sys.argv[1]).expanduser().resolve()


def listed() -> Catalog:
    """What lies below the folder of results now."""
    return catalog(root())


def keep_choices() -> None:
    """Show what was chosen on a page that the back button reaches by a bare address.

    When a page is left, Streamlit takes the choices out of its address before it
    turns to the next one, which leaves a bare address of the page in between. Back
    lands there, and for a step in the history Streamlit takes what an address does
    not say for the default. A run that is no such step restores what was chosen, and
    puts it into the address, as where a page is opened from the list at the side.
    """
    context = get_script_run_ctx()
    if context and context.is_history_navigation and not st.query_params:
        st.rerun()


def choose(
    label: str,
    options: Sequence[str],
    *,
    key: str,
    default: str = "",
    help_text: str = "",
    slider: bool = False,
) -> str | None:
    """One of several options, which the address names; the first by default.

    Args:
        label: What is chosen, in our own words.
        options: Texts, which may be anybody's.
        key: The parameter in the address.
        default: What is chosen where the address does not say, if not the first.
        help_text: What the choice means.
        slider: Whether it is drawn as a slider: for what has an order, such as steps.
    """
    asked = st.query_params.get(key)
    if asked is not None and asked not in options:
        st.warning(f"This link asks for {escaped(asked)}, which is not here.")
    # A slider has two ends.
    if slider and len(options) > 1:
        return st.select_slider(
            label,
            options,
            default if default in options else options[0],
            key=key,
            bind="query-params",
            help=help_text or None,
        )
    return st.selectbox(
        label,
        options,
        index=options.index(default) if default in options else 0,
        key=key,
        bind="query-params",
        help=help_text or None,
    )


def choose_entry(entries: Sequence[Entry], *, key: str) -> Entry | None:
    """One of several results, which the address names; the newest by default.

    Args:
        entries: The results, the newest first.
        key: The parameter in the address.
    """
    names = [entry.name for entry in entries]
    name = choose("Result", names, key=key, help_text="The newest is first.")
    return next((entry for entry in entries if entry.name == name), None)
