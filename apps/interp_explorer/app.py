"""The pages of the explorer; started by `interp explore DIR`."""

from pathlib import Path

import streamlit as st

from interp_explorer.pages import STUDIES, TEXTS, VIEWS
from interp_explorer.state import keep_choices


WIDTH = 1080

# Without an icon of its own a page would fetch its symbol from the symbol's makers.
st.set_page_config(
    page_title="interp explorer",
    page_icon=Path(__file__).with_name("icon.svg"),
    layout="wide",
)
page = st.navigation(
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
            st.Page(
                VIEWS / "compare.py",
                title="Compare",
                icon=":material/compare_arrows:",
                url_path="compare",
            ),
        ],
        "Live": [
            st.Page(
                VIEWS / "lab.py",
                title="Lab",
                icon=":material/science:",
                url_path="lab",
            ),
            st.Page(
                TEXTS.view, title=TEXTS.title, icon=TEXTS.icon, url_path=TEXTS.name
            ),
        ],
        "Library": [
            st.Page(
                VIEWS / "directions.py",
                title="Directions",
                icon=":material/explore:",
                url_path="directions",
            ),
            st.Page(
                VIEWS / "runs.py",
                title="Runs",
                icon=":material/folder_open:",
                url_path="runs",
            ),
        ],
    }
)
# Before any widget of the page, which would take its default.
keep_choices()
# Wide enough for maps of many layers, not so wide that lines cannot be read.
with st.container(width=WIDTH):
    page.run()
