import dataclasses
import html.parser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from sample_results import provenance, refusal, truthfulness

from interp import figures
from interp.figures import Hidden, Panel, Section


HOSTILE = "</script><script>window.hacked=1</script><img src=x onerror='hacked=1'>\"'&"


def _report() -> str:
    sections = [figures.report_section(r) for r in (truthfulness(), refusal())]
    return figures.report_html(
        "Two models", sections, provenance("compare"), lead="base against post"
    )


class _Outline(html.parser.HTMLParser):
    """The elements of a page with their attributes; what is open at the end."""

    VOID = frozenset({"meta", "img", "br", "link"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_the_page_is_whole_and_holds_plotly_once():
    page = _report()
    outline = _Outline(page)
    assert outline.open == []
    assert page.count("plotly.js v") == 1
    plots = [a for a in outline.all("div") if a.get("class") == "plot"]
    sections = [figures.report_section(one) for one in (truthfulness(), refusal())]
    assert len(plots) == sum(len(section.panels) for section in sections) == 21
    for attributes in plots:
        assert attributes["role"] == "img"
        assert len(attributes["aria-label"] or "") > 20
    for name in ("src", "href"):
        links = [a[name] for _, a in outline.elements if name in a]
        assert all(str(link).startswith("#") for link in links)


def test_the_page_says_what_was_found_and_how_to_repeat_it():
    page = _report()
    assert html.escape(truthfulness().headline()) in page
    assert html.escape(refusal().headline()) in page
    assert html.escape(provenance().command) in page
    assert provenance().git_commit in page
    assert "cccccccccccccccc" in page


def test_answers_are_closed_until_the_reader_opens_them():
    outline = _Outline(_report())
    assert all("open" not in attributes for attributes in outline.all("details"))
    page = _report()
    for answer in ("I cannot help with that.", "Do the harmful thing number 3."):
        for match in re.finditer(re.escape(answer), page):
            before = page[: match.start()]
            assert before.count("<details") > before.count("</details>")


def test_a_result_without_interventions_or_directions_is_still_reported():
    truth, none = truthfulness(), refusal(usable=False)
    object.__setattr__(truth, "interventions", ())
    object.__setattr__(truth, "notes", ("No intervention could be measured.",))
    object.__setattr__(none, "conditions", ())
    object.__setattr__(none, "completions", ())
    sections = [figures.report_section(result) for result in (truth, none)]
    page = figures.report_html("t", sections, provenance())
    assert "No intervention could be measured." in page
    assert "No usable refusal direction" in page
    assert _Outline(page).open == []


def _hostile_page() -> str:
    truth, answers = truthfulness(), refusal()
    object.__setattr__(truth, "models", (HOSTILE, HOSTILE))
    object.__setattr__(truth, "statements", (HOSTILE,) * 120)
    object.__setattr__(truth, "notes", (HOSTILE,))
    completions = tuple(
        dataclasses.replace(row, prompt=f"{HOSTILE}{i}", completion=HOSTILE)
        for i, row in enumerate(answers.completions)
    )
    object.__setattr__(answers, "completions", completions)
    object.__setattr__(answers, "models", (HOSTILE, HOSTILE))
    object.__setattr__(answers, "cosine_position", HOSTILE)
    source = provenance()
    model = dataclasses.replace(source.models[0], name=HOSTILE, device=HOSTILE)
    source = dataclasses.replace(source, command=HOSTILE, models=(model,))
    own = Section(
        title=HOSTILE,
        summary=HOSTILE,
        panels=(Panel(figure=figures.layer_curve(truth), alt=HOSTILE),),
        hidden=(Hidden(title=HOSTILE, rows=pd.DataFrame({HOSTILE: [HOSTILE]})),),
    )
    sections = [figures.report_section(truth), figures.report_section(answers), own]
    return figures.report_html(HOSTILE, sections, source, lead=HOSTILE)


def test_hostile_texts_stay_texts():
    page = _hostile_page()
    outline = _Outline(page)
    assert outline.open == []
    assert outline.all("img") == []
    # One data block per figure, plotly and the drawing script.
    scripts = outline.all("script")
    data = [a for a in scripts if a.get("type") == "application/json"]
    assert len(scripts) == len(data) + 2
    assert not any(name.startswith("on") for _, a in outline.elements for name in a)
    assert page.count("window.hacked") > 10, "the texts must be there to be escaped"


def test_results_and_figures_need_no_torch(tmp_path: Path):
    folder = truthfulness().save(tmp_path / "r")
    code = (
        "import sys, interp.results, interp.figures, interp.provenance, interp.config;"
        "import interp.statistics;"
        "result = interp.results.load(sys.argv[1]);"
        "section = interp.figures.report_section(result);"
        "interp.figures.report_html('t', [section], result.provenance);"
        "heavy = {'torch', 'transformers', 'transformer_lens', 'datasets', 'sklearn'};"
        "found = heavy & set(sys.modules); assert not found, found"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.browser
@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is missing")
def test_a_browser_draws_all_figures_offline_in_both_schemes(tmp_path: Path):
    from playwright.sync_api import sync_playwright

    path = tmp_path / "report.html"
    path.write_text(_hostile_page(), encoding="utf-8")
    asked: list[str] = []
    said: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(
            color_scheme="light", viewport={"width": 390, "height": 800}
        )
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(path.as_uri())
        page.wait_for_function(
            "document.querySelectorAll('.plot .main-svg').length"
            " >= 3 * document.querySelectorAll('.plot').length"
        )
        tick = "document.querySelector('.xtick text').style.fill"
        light = page.evaluate(tick)
        page.emulate_media(color_scheme="dark")
        page.wait_for_function(f"{tick} !== '{light}'")
        width = page.evaluate("document.documentElement.scrollWidth")
        hacked = page.evaluate("typeof window.hacked")
        browser.close()
    assert (asked, said) == ([path.as_uri()], [])
    assert width == 390, "the page must not scroll sideways on a phone"
    assert hacked == "undefined"
