"""What all figures share: titles that a phone can show, and logarithmic axes."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from confidence_samples import confidence
from knowledge_samples import knowledge
from map_samples import formation
from plotly.subplots import make_subplots
from sample_results import refusal, truthfulness

from interp.figures import report_section
from interp.figures.style import PHONE_LINE, log_ticks, styled


def two_panels(titles: list[str], *, x: str = "x") -> Any:
    """Two panels beside each other; plotly's stubs know no fields of layouts."""
    figure = make_subplots(rows=1, cols=2, subplot_titles=titles)
    for column in (1, 2):
        figure.add_trace(go.Scatter(x=[0, 1], y=[0, 1]), row=1, col=column)
    return styled(figure, title="A title", x=x, height=380)


def titles_of(figure: Any) -> list[Any]:
    return [
        note
        for note in figure.layout.annotations
        if (note.xref, note.yref, note.yanchor) == ("paper", "paper", "bottom")
    ]


@pytest.mark.parametrize(
    "make", [confidence, knowledge, formation, refusal, truthfulness]
)
def test_titles_of_panels_stand_below_the_edge_that_a_legend_may_reach(make):
    found = 0
    for panel in report_section(make()).panels:
        layout: Any = panel.figure.layout
        for title in titles_of(panel.figure):
            lines = 1 + title.text.count("<br>")
            # What is left above the title's anchor holds its lines of 13 pixels.
            assert (1 - title.y) * (layout.height - 120) >= 13 * lines
            tops = [axis.domain[1] for axis in panel.figure.select_yaxes()]
            assert min(abs(top - title.y) for top in tops) < 1e-9
            found += 1
    assert found


def test_a_long_title_of_a_panel_is_broken_and_gets_more_room():
    short = two_panels(["in base", "in post"])
    long = two_panels(["in base", "a title that is far too long for a phone"])
    assert titles_of(long)[1].text.count("<br>") == 2
    assert long.layout.yaxis.domain[1] < short.layout.yaxis.domain[1] < 1
    for line in titles_of(long)[1].text.split("<br>"):
        assert len(line) <= PHONE_LINE / 2


def test_titles_of_axes_beside_each_other_do_not_meet():
    figure = two_panels(["a", "b"], x="norm of the output vector")
    for axis in figure.select_xaxes():
        assert axis.title.text == "norm of the output<br>vector"
    alone: Any = styled(go.Figure(), title="", x="norm of the output vector")
    assert alone.layout.xaxis.title.text == "norm of the output vector"


def test_ticks_of_a_logarithmic_axis_are_whole_numbers_around_what_is_drawn():
    for low, high in ((0.004, 0.09), (1.0, 22.0), (3e-5, 2e4)):
        values = np.geomspace(low, high, 50, dtype=np.float32)
        axis: Any = log_ticks(values)
        ticks: Any = axis["tickvals"]
        assert [float(text) for text in axis["ticktext"]] == pytest.approx(ticks)
        assert min(ticks) >= low / 2.01
        assert max(ticks) <= high * 2.01
        assert 3 <= len(ticks) <= 12
    nothing = np.array([0.0, np.nan], np.float32)
    assert log_ticks(nothing) == {"type": "log"}
