"""The pages of the explorer; started by `interp explore DIR`."""

import streamlit as st

from interp_explorer.pages import STUDIES, VIEWS


st.set_page_config(page_title="interp explorer", page_icon=":material/biotech:")
st.navigation(
    {
        "Results": [
            st.Page(
                VIEWS / "overview.py",
                title="Overview",
                icon=":material/dashboard:",
                default=True,
            ),
            *(
                st.Page(page.view, title=page.title, icon=page.icon, url_path=page.name)
                for page in STUDIES
            ),
        ],
        "Library": [
            st.Page(
                VIEWS / "runs.py",
                title="Runs",
                icon=":material/folder_open:",
                url_path="runs",
            ),
        ],
    }
).run()
