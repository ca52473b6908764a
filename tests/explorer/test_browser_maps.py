"""Maps in a real browser: a click shows what lies behind it, and the link keeps it."""

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from browser_session import DONE, NO_CHROMIUM, Seen, chromium, serving, visit
from confidence_samples import confidence
from knowledge_samples import knowledge
from map_samples import figure_title, save_all, save_hostile


pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("explorer"),
    NO_CHROMIUM,
]
MARKUP = (
    '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
    "![x](http://outside.invalid/a.png) [y](javascript:window.hacked=1) $x$ :red[z]"
)
SHOWN = (
    "knowledge?k_run=knowledge",
    "confidence?c_run=confidence&c_neuron=5",
    "induction?i_run=timeline",
)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("maps_in_browser")
    save_all(root)
    save_hostile(root / "hostile", MARKUP)
    with serving(root) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


def box(page, name: str):
    return page.get_by_role("combobox", name=name, exact=True)


def test_a_click_on_a_cell_shows_its_pairs_and_the_link_brings_them_back(base, browser):
    page = browser.new_page()
    seen = Seen(base=base)
    seen.watch(page)
    figure = quote(figure_title(knowledge(), "knowledge_maps"))
    visit(page, f"{base}/knowledge?k_run=knowledge&k_figure={figure}")
    points = page.locator(".js-plotly-plot").first.locator(".scatterlayer .point")
    points.first.wait_for(state="attached")
    # Markers lie row by row: the fourth column of the third row.
    points.nth(2 * 5 + 3).click(force=True)
    page.wait_for_url("**k_column=object+last**")
    page.get_by_text("Layer 2, object last:").wait_for()
    assert "k_layer=2" in page.url
    page.wait_for_function(DONE)
    again = browser.new_page(color_scheme="dark")
    seen.watch(again)
    visit(again, page.url)
    again.get_by_text("Layer 2, object last:").wait_for()
    assert box(again, "Layer").input_value() == "2"
    tokens = again.locator(".interp-token-pairs [data-pos]")
    tokens.nth(4).wait_for()
    assert tokens.count() == 5
    again.close()
    page.close()
    assert (seen.outside, seen.errors) == ([], [])


def test_a_slider_changes_which_neurons_are_shared(base, browser):
    page = browser.new_page()
    seen = Seen(base=base)
    seen.watch(page)
    figure = quote(figure_title(confidence(), "overlap_curve"))
    link = f"{base}/confidence?c_run=confidence&c_figure={figure}&c_candidates=2"
    visit(page, link)
    page.get_by_text("2 shared of 2:").wait_for()
    slider = page.get_by_role("slider", name="Candidates of each model")
    slider.focus()
    slider.press("ArrowRight")
    page.get_by_text("2 shared of 4:").wait_for()
    page.wait_for_function("!location.search.includes('c_candidates=2')")
    page.close()
    assert (seen.outside, seen.errors) == ([], [])


def test_hostile_texts_run_nothing_on_maps(base, browser):
    page = browser.new_page()
    seen = Seen(base=base)
    seen.watch(page)
    for address in SHOWN:
        visit(page, f"{base}/{address.replace('_run=', '_run=hostile/')}")
        page.locator(".js-plotly-plot .main-svg").first.wait_for()
        page.wait_for_function(DONE)
        assert page.evaluate("typeof window.hacked") == "undefined"
        assert page.locator("img[src='x'], a[href^=javascript]").count() == 0
        assert page.get_by_test_id("stException").count() == 0
    page.close()
    assert (seen.outside, seen.errors) == ([], [])
