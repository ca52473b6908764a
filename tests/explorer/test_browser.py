"""The explorer in a real browser: it draws, stays local, and runs nobody's markup."""

import shutil
from collections.abc import Iterator
from urllib.parse import quote, unquote

import pytest
from browser_session import DONE, NO_CHROMIUM, Seen, chromium, serving, visit

from interp_explorer.pages import STUDIES


pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("explorer"),
    NO_CHROMIUM,
]
VIEWS = ("", *(page.name for page in STUDIES), "compare", "directions", "runs")


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def base(folder, hostile_folder, tmp_path_factory) -> Iterator[str]:
    """One explorer of all results; the newest of each kind are the harmless ones."""
    both = tmp_path_factory.mktemp("both")
    for source in (folder, hostile_folder):
        shutil.copytree(source, both, dirs_exist_ok=True)
    with serving(both) as address:
        yield address


def test_pages_draw_follow_links_and_stay_local(base, browser):
    page = browser.new_page(color_scheme="light")
    seen = Seen(base=base)
    seen.watch(page)
    for view in VIEWS:
        visit(page, f"{base}/{view}")
        assert page.get_by_test_id("stException").count() == 0
        if view not in ("", "compare", "directions", "runs"):
            page.locator(".js-plotly-plot .main-svg").first.wait_for()
    # A choice writes itself into the address, and the address reopens the choice.
    visit(page, f"{base}/induction?i_run=heads")
    page.get_by_role("combobox", name="Figure").click()
    option = page.get_by_role("option").nth(2)
    chosen = option.inner_text()
    option.click()
    page.wait_for_url("**i_figure=**")
    again = browser.new_page(color_scheme="dark")
    seen.watch(again)
    visit(again, page.url)
    again.locator(".js-plotly-plot .main-svg").first.wait_for()
    assert again.get_by_role("combobox", name="Figure").input_value() == chosen
    assert again.locator(".js-plotly-plot").count() == 1
    colour = "getComputedStyle(document.querySelector('.stApp')).backgroundColor"
    assert again.evaluate(colour) == "rgb(21, 23, 27)"
    assert page.evaluate(colour) == "rgb(255, 255, 255)"
    tick = "getComputedStyle(document.querySelector('.xtick text')).fill"
    assert again.evaluate(tick) == "rgb(232, 234, 238)"
    again.close()
    page.close()
    assert (seen.outside, seen.errors) == ([], [])


def test_hostile_texts_run_nothing_and_ask_for_nothing(base, browser):
    page = browser.new_page()
    seen = Seen(base=base)
    seen.watch(page)
    visit(page, base)
    assert page.evaluate("typeof window.hacked") == "undefined"
    assert page.locator("img[src='x']").count() == 0
    hostile = {
        "truthfulness": "t_run=" + quote("<img src=x onerror=window.hacked=1>"),
        "refusal": "r_run=" + quote("![x](outside.invalid) $x$ `a`"),
        "runs": "n_run=" + quote("<img src=x onerror=window.hacked=1>"),
    }
    for view, parameter in hostile.items():
        visit(page, f"{base}/{view}?{parameter}")
        chosen = page.get_by_role("combobox", name="Result").input_value()
        assert chosen == unquote(parameter[6:])
        page.locator("details:not([open]) > summary").evaluate_all(
            "all => all.forEach(summary => summary.click())"
        )
        page.get_by_test_id("stDataFrame").first.wait_for()
        for toggle in page.get_by_text("which may be harmful").all():
            toggle.click()
            page.get_by_role("combobox", name="Instruction", exact=True).wait_for()
        page.wait_for_function(DONE)
        assert page.evaluate("typeof window.hacked") == "undefined"
        assert page.locator("img[src='x'], a[href^=javascript]").count() == 0
        assert page.get_by_test_id("stException").count() == 0
    page.close()
    assert (seen.outside, seen.errors) == ([], [])
