"""The page Induction: what a chosen head attends to at a chosen step, by link."""

import json
from dataclasses import replace

import numpy as np
import pytest
from map_samples import figure_title
from timeline_samples import timeline

from interp.figures import attention_pattern, marked_attention


pytestmark = pytest.mark.xdist_group("explorer")
SERIES = timeline(n_layers=2, n_heads=3)
FIGURE = figure_title(SERIES, "timeline_map")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A series with patterns, and one from before they were kept."""
    root = tmp_path_factory.mktemp("kept")
    SERIES.save(root / "timeline")
    bare = np.zeros((0, 0, 0, 0), dtype=np.float16)
    replace(
        SERIES,
        pattern_heads=(),
        pattern_tokens=(),
        pattern_ids=np.zeros(0, dtype=np.int64),
        pattern_period=0,
        patterns=bare,
    ).save(root / "older")
    return root


def captions(app) -> str:
    return "\n".join(item.value for item in app.caption).replace("\\", "")


@pytest.mark.parametrize("step", ["0", "400", "600"])
def test_a_link_shows_the_pattern_of_its_head_at_its_step(step, kept, open_page):
    app = open_page(
        kept,
        "induction",
        i_run="timeline",
        i_figure=FIGURE,
        i_head="L1H2",
        i_step=step,
    )
    assert not app.exception
    assert app.select_slider(key="i_step").value == step
    place = SERIES.steps.tolist().index(int(step))
    share = marked_attention(SERIES, 1, 2, checkpoint=place)
    assert f"Attention of L1H2 by query and key in one sequence: {share:.0%}" in (
        captions(app)
    )
    drawn = json.loads(app.get("plotly_chart")[-1].proto.spec)
    expected = attention_pattern(SERIES, 1, 2, checkpoint=place).to_json()
    assert expected is not None
    pattern, marks = json.loads(expected)["data"]
    assert drawn["data"][0]["z"] == pattern["z"]
    assert drawn["data"][1]["y"] == marks["y"]


def test_the_slider_moves_the_pattern(kept, open_page):
    app = open_page(kept, "induction", i_run="timeline", i_figure=FIGURE)
    before = captions(app)
    app.select_slider(key="i_step").set_value("100").run()
    assert "L1H2 at step 100" in "\n".join(item.value for item in app.markdown)
    assert captions(app) != before


def test_of_a_head_that_was_not_kept_the_page_says_which_were(kept, open_page):
    app = open_page(kept, "induction", i_run="timeline", i_figure=FIGURE, i_head="L0H1")
    assert "patterns were kept of: L0H0, L1H2" in captions(app)


def test_an_older_result_says_how_patterns_are_kept(kept, open_page):
    app = open_page(kept, "induction", i_run="older", i_figure=FIGURE)
    assert not app.exception
    assert "No attention patterns are kept here" in captions(app)
    assert "interp track SERIES --out NEW_FOLDER" in captions(app)


def test_a_step_that_is_not_there_is_told_and_the_last_is_shown(kept, open_page):
    app = open_page(
        kept, "induction", i_run="timeline", i_figure=FIGURE, i_step="12345"
    )
    assert not app.exception
    assert any("12345" in item.value for item in app.warning)
    assert app.select_slider(key="i_step").value == "600"


def test_heads_that_stand_beside_are_in_the_link_and_leave_when_chosen(kept, open_page):
    app = open_page(
        kept, "induction", i_run="timeline", i_figure=FIGURE, i_heads="L0H1"
    )
    assert app.multiselect(key="i_heads").value == ["L0H1"]
    names = {trace["name"] for trace in lines(app)}
    assert {"L1H2", "L0H1"} <= names
    app.selectbox(key="i_head").set_value("L0H1").run()
    assert not app.exception
    assert app.multiselect(key="i_heads").value == []
    assert "L1H2" not in {trace["name"] for trace in lines(app)}


def lines(app) -> list[dict[str, str]]:
    """The traces of the figure of the chosen head and those beside it."""
    by_head = [
        chart for chart in app.get("plotly_chart") if "i_lines" in chart.proto.id
    ]
    return json.loads(by_head[0].proto.spec)["data"]
