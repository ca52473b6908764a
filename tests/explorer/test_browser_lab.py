"""The Lab in a real browser: click a token, move the slider, close a tab."""

import re

import pytest
from browser_session import DONE, NO_CHROMIUM, Seen, chromium, serving, visit
from sample_results import truthfulness


pytestmark = [
    pytest.mark.browser,
    # The worker that trains the family.
    pytest.mark.xdist_group("facts_family"),
    NO_CHROMIUM,
]
HOSTILE = '<img src=x onerror="window.hacked=1">'
WRITING = "▍"
TEXTS = "[data-testid=stHtml]"


@pytest.fixture(scope="module")
def base(facts_family, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    truthfulness().save(folder / "r")
    with serving(folder, "--model", str(facts_family.post)) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


def settle(page) -> None:
    page.wait_for_function(DONE, timeout=60_000)


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


def test_tokens_open_their_lens_the_slider_writes_and_markup_stays_text(base, browser):
    page = browser.new_page(color_scheme="dark")
    seen = Seen(base=base)
    seen.watch(page)
    visit(page, f"{base}/lab?l_length=16")
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
    # The address opens what is shown, in another session.
    again = browser.new_page(color_scheme="light")
    seen.watch(again)
    visit(again, page.url)
    assert texts(again) == [same, after]
    again.get_by_role("heading", name="Token 3").wait_for()
    again.close()
    # A prompt is text everywhere.
    box = page.get_by_role("textbox", name="Prompt", exact=True)
    box.fill(HOSTILE)
    box.press("Control+Enter")
    # The family's vocabulary reads it letter by letter.
    page.locator("button.token", has_text=re.compile("^>$")).first.wait_for()
    texts(page)
    page.locator("details:not([open]) > summary").evaluate_all(
        "all => all.forEach(summary => summary.click())"
    )
    settle(page)
    assert page.evaluate("typeof window.hacked") == "undefined"
    assert page.locator("img[src='x']").count() == 0
    page.close()
    assert (seen.outside, seen.errors) == ([], [])


def test_a_closed_tab_does_not_stop_others(base, browser):
    closing = browser.new_page()
    # Documents go on to the end of their length, answers stop.
    closing.goto(f"{base}/lab?l_mode=Text&l_prompt=The+city&l_length=256")
    closing.get_by_text(WRITING).first.wait_for(timeout=60_000)
    closing.close()
    page = browser.new_page()
    visit(page, f"{base}/lab?l_length=12")
    assert all(texts(page))
    assert page.get_by_text("Waiting for another run").count() == 0
    page.close()
