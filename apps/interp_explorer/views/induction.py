"""Which heads copy, and when they appear."""

from interp_explorer.pages import STUDY
from interp_explorer.widgets.study import show_rest, show_study


PAGE = STUDY["induction"]
if shown := show_study(PAGE):
    show_rest(*shown, key=PAGE.key)
