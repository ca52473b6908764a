"""Each page on real results: what it shows, what its address means, what it hides."""

import subprocess
import sys

import pytest
from sample_results import refusal, truthfulness

from interp.figures import report_section
from interp.results import KINDS, find
from interp_explorer.pages import PAGES, page_of
from interp_explorer.widgets.panel import heading
from interp_explorer.widgets.text import escaped


pytestmark = pytest.mark.xdist_group("explorer")
VIEWS = ("", *(page.name for page in PAGES), "compare", "directions", "runs")


def texts(app) -> str:
    shown = [*app.markdown, *app.caption, *app.text, *app.code, *app.subheader]
    return "\n".join(str(item.value) for item in shown)


def test_every_kind_of_result_has_one_page():
    homes = [page.kinds.count(kind) for page in PAGES for kind in page.kinds]
    assert {kind for page in PAGES for kind in page.kinds} >= {*KINDS}
    assert set(homes) == {1}
    assert all(page_of(kind) is not None for kind in KINDS)


def test_the_overview_counts_and_shows_headlines(folder, open_page):
    app = open_page(folder)
    assert "**6** results · **1** not finished · **3** models" in texts(app)
    assert escaped(truthfulness().headline()) in texts(app)


def test_the_overview_counts_what_is_damaged_apart(tmp_path, open_page):
    truthfulness().save(tmp_path / "r")
    refusal().save(tmp_path / "broken")
    (tmp_path / "broken" / "result.json").write_text("{")
    app = open_page(tmp_path)
    assert "**1** results · **0** not finished · **1** damaged" in texts(app)


def test_the_overview_is_narrowed_by_its_address(folder, open_page):
    app = open_page(folder, o_studies="Refusal")
    assert escaped(refusal().headline()) in texts(app)
    assert escaped(truthfulness().headline()) not in texts(app)


def test_a_study_shows_all_its_figures_or_the_one_of_the_address(folder, open_page):
    panels = report_section(truthfulness()).panels
    shown = {item.value for item in open_page(folder, "truthfulness").subheader}
    assert {escaped(heading(panel)) for panel in panels} <= shown
    wanted = "1. " + heading(panels[0])
    app = open_page(folder, "truthfulness", t_figure=wanted)
    assert len(app.get("plotly_chart")) == 1
    assert app.selectbox(key="t_figure").value == wanted


def test_an_address_names_the_result(folder, open_page):
    app = open_page(folder, "induction", i_run="heads")
    assert app.selectbox(key="i_run").value == "heads"
    assert "attention" in texts(app)


def test_an_address_with_an_unknown_result_says_so(folder, open_page):
    app = open_page(folder, "induction", i_run="<gone>")
    assert "gone" in app.warning[0].value
    assert not app.exception


def test_charts_say_what_they_show(folder, open_page):
    charts = open_page(folder, "knowledge").get("plotly_chart")
    assert charts
    assert all(len(chart.proto.alt) > 20 for chart in charts)


def test_answers_are_not_sent_before_they_are_asked_for(folder, open_page):
    app = open_page(folder, "refusal")
    prompt = refusal().completions[0].prompt
    answer = refusal().completions[0].completion
    frames = "\n".join(frame.value.to_csv() for frame in app.dataframe)
    assert prompt not in texts(app) + frames
    assert answer not in texts(app) + frames
    toggle = next(t for t in app.toggle if "harmful" in t.label)
    shown = toggle.set_value(True).run()
    # As plain text; coloured tokens are data that no text holds.
    shown = shown.toggle(key="r_coloured").set_value(False).run()
    assert answer in texts(shown)


def test_statements_are_found_by_words(folder, open_page):
    app = open_page(folder, "truthfulness", t_statements="town1")
    # Of 10 to 19 and 1, with one of two statements about each.
    assert any(caption.value.startswith("11 statements") for caption in app.caption)


def test_a_run_shows_the_command_that_repeats_it(folder, open_page):
    for name in ("heads", find(folder / "refusal")[0].path.relative_to(folder)):
        app = open_page(folder, "runs", n_run=str(name))
        assert truthfulness().provenance.command in [code.value for code in app.code]


def test_where_a_result_comes_from_is_sent_at_the_top_once_it_is_asked_for(
    folder, open_page
):
    app = open_page(folder, "refusal")
    command = truthfulness().provenance.command
    assert [code.value for code in app.code].count(command) == 1
    app.session_state["r_origin"] = True
    app.run()
    assert [code.value for code in app.code].count(command) == 2


def test_an_unfinished_run_shows_the_command_that_goes_on_with_it(folder, open_page):
    runs = find(folder / "truthfulness")
    path = next(run.path for run in runs if run.state == "unfinished")
    app = open_page(folder, "runs", n_run=str(path.relative_to(folder)))
    assert "no result yet" in texts(app)
    assert truthfulness().provenance.command in [code.value for code in app.code]


def test_a_page_without_results_says_how_to_make_one(tmp_path, open_page):
    truthfulness().save(tmp_path / "r")
    app = open_page(tmp_path, "knowledge")
    assert "interp compare" in app.info[0].value


def test_a_damaged_result_is_named_and_the_page_stands(tmp_path, open_page):
    truthfulness().save(tmp_path / "r")
    (tmp_path / "r" / "rows.parquet").write_bytes(b"no")
    app = open_page(tmp_path, "truthfulness")
    assert not app.exception
    assert "checksum" in app.error[0].value


@pytest.mark.parametrize("view", ["", "refusal"])
def test_hostile_texts_stay_texts(view, hostile_folder, open_page):
    app = open_page(hostile_folder, view)
    assert not app.exception
    for item in (*app.markdown, *app.caption, *app.subheader, *app.warning):
        assert "<img" not in item.value.replace("\\<img", "")
        assert "![" not in item.value.replace("\\!\\[", "")


def test_every_page_opens_without_an_error_and_without_torch(folder):
    code = (
        "import sys\n"
        "from streamlit.testing.v1 import AppTest\n"
        "app, views = sys.argv[1], sys.argv[3:]\n"
        "sys.argv = [app, sys.argv[2]]\n"
        "at = AppTest.from_file(app, default_timeout=60).run()\n"
        "assert not at.exception, at.exception\n"
        "for view in views:\n"
        "    at.switch_page(f'views/{view}.py').run()\n"
        "    assert not at.exception, at.exception\n"
        "    assert not at.error, at.error\n"
        "    assert len(at.title) == 1\n"
        "heavy = {'torch', 'transformers', 'transformer_lens', 'datasets'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    app = "apps/interp_explorer/app.py"
    done = subprocess.run(
        [sys.executable, "-c", code, app, str(folder), *VIEWS[1:]],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "[]", done.stderr
