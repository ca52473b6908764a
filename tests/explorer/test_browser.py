"""The explorer in a real browser: pages, links, keys, and nobody's markup."""

import re
from typing import get_args
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest
from browser_session import (
    DONE,
    NO_CHROMIUM,
    check_harmless,
    open_all,
    settle,
    turn_to,
    visit,
    watched,
)
from knowledge_samples import knowledge
from map_samples import figure_title

from interp.figures import restoration_map
from interp.figures.knowledge_cells import Shown
from interp.interchange import read_vector
from interp_explorer.pages import STUDIES


pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("explorer"), NO_CHROMIUM]
NAMED = ("Compare", "Directions", "Runs")
PLOTS = ".js-plotly-plot .main-svg"
COLOUR = "getComputedStyle(document.querySelector('.stApp')).backgroundColor"
TICK = "getComputedStyle(document.querySelector('.xtick text')).fill"
NONSENSE = quote('<img src=x onerror="window.hacked=1"> ![x](y)')
# Each page with names, texts and choices of somebody who wants them to run.
HOSTILE = {
    "": f"o_words=&o_studies={NONSENSE}&o_page={NONSENSE}",
    "truthfulness": f"t_run={quote('<img src=x onerror=window.hacked=1>')}"
    f"&t_layer={NONSENSE}&t_statement={NONSENSE}",
    "refusal": f"r_run={quote('![x](outside.invalid) $x$ `a`')}&r_layer={NONSENSE}",
    "knowledge": f"k_run=hostile/knowledge&k_column={NONSENSE}&k_pair={NONSENSE}",
    "confidence": "c_run=hostile/confidence&c_neuron=5&c_bins=1e9&c_candidates=x",
    "induction": f"i_run=hostile/timeline&i_head={NONSENSE}&i_threshold=nan",
    "compare": f"x_kind=truthfulness&x_a=a&x_b={quote('<b> ![x](y)')}"
    f"&x_figure={NONSENSE}",
    "directions": f"d_one={quote('<b>![x](y).safetensors')}&d_names={NONSENSE}",
    "texts": "s_run=hostile/texts",
    "runs": f"n_run={quote('<img src=x onerror=window.hacked=1>')}&n_states={NONSENSE}",
}
# Choices that are not there are said to be not there, in one line.
SAID = ("truthfulness", "refusal", "induction", "compare")


def box(page, name: str):
    return page.get_by_role("combobox", name=name, exact=True)


def test_every_page_is_a_click_away_and_back_returns_to_what_was_chosen(page, base):
    visit(page, f"{base}/?o_words=a")
    page.locator("img[alt='AUROC by layer']").first.wait_for()
    for title in (*(study.title for study in STUDIES), *NAMED):
        turn_to(page, title)
        assert page.get_by_test_id("stException").count() == 0
        if title not in ("Compare", "Runs"):
            page.locator(PLOTS).first.wait_for()
    assert page.evaluate(COLOUR) == "rgb(255, 255, 255)"
    turn_to(page, "Induction")
    box(page, "Result").fill("heads")
    page.get_by_role("option", name="heads", exact=True).click()
    page.wait_for_url("**i_run=heads**")
    turn_to(page, "Runs")
    page.go_back()
    page.get_by_role("heading", name="Induction", exact=True).wait_for()
    page.wait_for_url("**i_run=heads**")
    settle(page)
    assert box(page, "Result").input_value() == "heads"
    assert page.get_by_test_id("stException").count() == 0


def test_a_choice_is_in_the_address_which_reopens_it_in_the_dark(page, base, context):
    visit(page, f"{base}/induction?i_run=heads")
    box(page, "Figure").click()
    option = page.get_by_role("option").nth(2)
    chosen = option.inner_text()
    option.click()
    page.wait_for_url("**i_figure=**")
    with watched(context, base, dark=True) as again:
        visit(again, page.url)
        again.locator(PLOTS).first.wait_for()
        assert box(again, "Figure").input_value() == chosen
        assert again.locator(".js-plotly-plot").count() == 1
        assert again.evaluate(COLOUR) == "rgb(21, 23, 27)"
        assert again.evaluate(TICK) == "rgb(232, 234, 238)"


def test_the_keyboard_alone_reaches_a_page_and_its_figures(page, base):
    visit(page, base)

    def tab_to(find: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate(f"document.activeElement.matches({find!r})"):
                # A reader must see where the keys go.
                assert page.evaluate("document.activeElement.matches(':focus-visible')")
                return
        raise AssertionError(f"no way to {find}")

    tab_to("a[href$=confidence]")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Confidence", exact=True).wait_for()
    settle(page)
    tab_to("input[role=combobox][aria-label*=Figure]")
    page.keyboard.press("ArrowDown")
    page.get_by_role("option").nth(1).wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**c_figure=**")
    page.wait_for_function("document.querySelectorAll('.js-plotly-plot').length === 1")


@pytest.mark.parametrize("view", HOSTILE)
def test_hostile_names_texts_and_links_run_nothing(view, page, base):
    visit(page, f"{base}/{view}?{HOSTILE[view]}")
    check_harmless(page)
    if view in SAID:
        page.get_by_text("This link asks for").first.wait_for()
    if view == "":
        return
    open_all(page)
    for toggle in page.get_by_text("which may be harmful").all():
        toggle.click()
        if view == "texts":
            # In the prompt and in both texts.
            page.get_by_text("<img src=x").nth(2).wait_for()
        else:
            box(page, "Instruction").wait_for()
    settle(page)
    check_harmless(page)


def test_what_is_not_comparable_is_refused_until_one_insists(page, base):
    visit(page, f"{base}/compare?x_kind=truthfulness&x_a=a&x_b=seed+5")
    page.get_by_text("they differ in seed").wait_for()
    assert page.locator(".js-plotly-plot").count() == 0
    page.get_by_text("Look anyway").click()
    page.get_by_text("Not a fair comparison").wait_for()
    page.wait_for_url("**x_anyway=true**")
    page.locator(PLOTS).nth(1).wait_for()
    # One is a copy of the other, so that a third panel would be empty.
    page.get_by_text("The two figures show the same values").first.wait_for()


def test_directions_go_out_as_files_that_read_back(page, base, tmp_path):
    visit(page, f"{base}/directions?d_one=up.safetensors")
    with page.expect_download() as download:
        page.get_by_role("button", name="Neuronpedia JSON").click()
    download.value.save_as(tmp_path / "v.json")
    expected = np.random.default_rng(0).normal(size=16)
    np.testing.assert_allclose(
        read_vector(tmp_path / "v.json").vector, expected, rtol=1e-5
    )
    with page.expect_download() as download:
        page.get_by_role("button", name="Parquet").first.click()
    download.value.save_as(tmp_path / "d.parquet")
    rows = pd.read_parquet(tmp_path / "d.parquet")
    assert {"up.safetensors", "<b>![x](y).safetensors"} <= {*rows["name"]}


def test_a_chosen_figure_goes_out_as_it_is_shown(page, base, tmp_path):
    figure = quote(figure_title(knowledge(), "knowledge_maps"))
    view = f"knowledge?k_run=maps/knowledge&k_figure={figure}&k_map=post"
    visit(page, f"{base}/{view}")
    page.locator(PLOTS).first.wait_for()
    page.get_by_text("Numbers, downloads, Python").first.click()
    with page.expect_download() as download:
        page.get_by_role("button", name=re.compile("as HTML")).click()
    download.value.save_as(tmp_path / "f.html")
    saved = (tmp_path / "f.html").read_text()
    shown = page.locator(".js-plotly-plot")
    assert saved.count("<h3>") == shown.count() > 1
    # What the report draws is the map of the base model.
    titles = [
        restoration_map(knowledge(), where).to_plotly_json()["layout"]["title"]["text"]
        for where in get_args(Shown)[:2]
    ]
    assert [f"<h3>{title}</h3>" in saved for title in titles] == [False, True]
    with page.expect_download() as download:
        page.get_by_role("button", name="Figure 1 as SVG").click()
    download.value.save_as(tmp_path / "f.svg")
    svg = (tmp_path / "f.svg").read_text()
    assert svg.startswith("<svg")
    assert "heatmaplayer" in svg
    page.wait_for_function(DONE)
