"""Real results and the Lab in a real browser, on the embedded models."""

import re
from collections.abc import Iterator
from urllib.parse import urljoin

import pytest
from browser_session import (
    NO_CHROMIUM,
    check_harmless,
    fits,
    open_all,
    serving,
    settle,
    visit,
    watched,
)

from interp_explorer.pages import STUDIES


pytestmark = [
    pytest.mark.browser,
    # The worker that trains the family.
    pytest.mark.xdist_group("facts_family"),
    NO_CHROMIUM,
]
HOSTILE = '<img src=x onerror="window.hacked=1">'
WRITING = "▍"
TEXTS = "[data-testid=stHtml]"
PHONE = {"width": 390, "height": 844}
# Every embedded result is of a study but the last.
STUDIED = [page.name for page in STUDIES if page.name != "induction"]


@pytest.fixture(scope="module")
def base(demo, facts_family) -> Iterator[str]:
    """The explorer of the demo's results, with its model."""
    with serving(demo.out, "--model", str(facts_family.post)) as address:
        yield address


def texts(page) -> list[str]:
    """The unchanged and the steered text, once both are written."""
    page.wait_for_function(
        f"[...document.querySelectorAll('{TEXTS}')].length === 2 && "
        f"![...document.querySelectorAll('{TEXTS}')].some("
        f"one => one.textContent.includes('{WRITING}'))",
        timeout=60_000,
    )
    settle(page)
    return page.locator(TEXTS).all_inner_texts()


def test_tokens_open_their_lens_the_slider_writes_and_links_reopen_it(
    page, base, context
):
    visit(page, f"{base}/lab?l_length=16&l_strength=0")
    unchanged, before = texts(page)
    token = page.locator("button.token").nth(2)
    token.click()
    page.get_by_role("heading", name="Token 2").wait_for()
    page.wait_for_url("**l_token=2**")
    assert token.get_attribute("aria-pressed") == "true"
    # The strip is one stop of the tab key; arrows move inside it.
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Token 3").wait_for()
    slider = page.get_by_role("slider", name=re.compile("Strength"))
    slider.focus()
    slider.press("End")
    page.wait_for_url("**l_strength=3**")
    page.wait_for_function(
        f"before => document.querySelectorAll('{TEXTS}')[1]?.innerText !== before",
        arg=before,
    )
    same, after = texts(page)
    assert same == unchanged
    assert after != before
    page.get_by_role("button", name="Save to results").click()
    saved = page.get_by_role("link", name=re.compile("Saved as lab"))
    place = urljoin(f"{base}/", saved.get_attribute("href"))
    with watched(context, base) as kept:
        visit(kept, place)
        kept.get_by_text("which may be harmful").click()
        assert texts(kept) == [same, after]
    # The address opens what is shown in another session, and so does a shared link.
    page.get_by_role("button", name="Share").click()
    link = page.get_by_text(f"{base}/lab?s=").first.inner_text()
    for address in (page.url, link):
        with watched(context, base, dark=True) as again:
            visit(again, address)
            assert texts(again) == [same, after]
            again.get_by_role("heading", name="Token 3").wait_for()


def test_a_hostile_prompt_stays_a_text_everywhere(page, base):
    visit(page, f"{base}/lab?l_length=16&l_token=1&l_model={HOSTILE}")
    box = page.get_by_role("textbox", name="Prompt", exact=True)
    box.fill(HOSTILE)
    box.press("Control+Enter")
    # The family's vocabulary reads it letter by letter.
    page.locator("button.token", has_text=re.compile("^>$")).first.wait_for()
    texts(page)
    open_all(page)
    check_harmless(page)


def test_every_page_of_real_results_draws_and_fits_a_phone(page, base):
    page.set_viewport_size(PHONE)
    for view in ("", *STUDIED, "induction", "compare", "lab", "directions", "runs"):
        visit(page, f"{base}/{view}")
        assert page.get_by_test_id("stException").count() == 0
        assert page.get_by_test_id("stAlertContentError").count() == 0
        if view in STUDIED:
            page.locator(".js-plotly-plot .main-svg").first.wait_for()
        assert fits(page), view


def test_a_closed_tab_does_not_stop_others(page, base, context):
    closing = context.new_page()
    # Documents go on to the end of their length, answers stop.
    closing.goto(f"{base}/lab?l_mode=Text&l_prompt=The+city&l_length=256")
    # Not the mark of writing: a slow browser may first draw what is written already.
    closing.locator(TEXTS).first.wait_for(timeout=60_000)
    closing.close()
    visit(page, f"{base}/lab?l_length=12")
    assert all(texts(page))
    assert page.get_by_text("Waiting for another run").count() == 0
