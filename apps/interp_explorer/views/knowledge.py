"""Where facts are read and moved."""

from interp_explorer.pages import STUDY
from interp_explorer.widgets.study import show_rest, show_study


PAGE = STUDY["knowledge"]
if shown := show_study(PAGE):
    show_rest(*shown, key=PAGE.key)
