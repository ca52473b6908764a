"""In a real browser: clicks and lassos in figures open what lies behind them."""

from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from browser_session import (
    DONE,
    FIND,
    NO_CHROMIUM,
    fits,
    settle,
    visit,
    watched,
)
from confidence_samples import confidence
from knowledge_samples import knowledge
from map_samples import figure_title
from sample_results import refusal, truthfulness

from interp.figures import component_scatter
from interp.figures.truthfulness_sites import probe_rows


pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("explorer"), NO_CHROMIUM]
TRUTH, REFUSAL = "truthfulness?t_run=a", "refusal?r_run=refused"
PHONE = {"width": 390, "height": 844}
SCATTER = ".st-key-t_statement_click .js-plotly-plot"


def click(page, chart: str, x: float, y: float) -> None:
    """Click at a place of the first panel of a chart, given in its own units."""
    figure = page.locator(f".st-key-{chart} .js-plotly-plot")
    # After a choice the old figure stands until the new one is drawn.
    page.wait_for_function(
        "name => document.querySelectorAll(name).length === 1",
        arg=f".st-key-{chart} .js-plotly-plot .plot-container",
    )
    figure.scroll_into_view_if_needed()
    page.wait_for_function(DONE)
    page.mouse.move(*figure.evaluate(FIND, [x, y]))
    figure.locator(".hoverlayer .hovertext").first.wait_for()
    page.mouse.click(*figure.evaluate(FIND, [x, y]))


def shows(page, value: str) -> None:
    """Wait until the first measure below the figure has a value, and all is drawn."""
    first = page.get_by_test_id("stMetricValue").first
    first.get_by_text(value, exact=True).wait_for()
    page.wait_for_function(DONE)


def chosen(page, *names: str) -> list[str]:
    asked = parse_qs(urlsplit(page.url).query)
    return [asked.get(name, [""])[0] for name in names]


def test_a_click_on_a_cell_opens_its_statements_and_the_link_reopens_them(
    page, base, context
):
    cells = {(row.model, row.probe, row.layer): row for row in truthfulness().probes}
    rows = probe_rows(truthfulness())
    figure = quote(figure_title(truthfulness(), "probe_map"))
    visit(page, f"{base}/{TRUTH}&t_figure={figure}")
    # Not at the middle of a cell: all of it can be clicked. The first cell again after
    # another one, which is a choice too.
    for probe, layer in (("logistic", 3), ("ccs", 5), ("logistic", 3)):
        at = rows.index(("post", probe))
        click(page, "t_probe_t_layer_click", layer + 0.4, at - 0.3)
        page.wait_for_url(f"**t_layer={layer}**")
        shows(page, f"{cells['post', probe, layer].auroc:.3f}")
        assert chosen(page, "t_probe") == [f"post · {probe}"]
    with watched(context, base, dark=True) as again:
        visit(again, page.url)
        assert again.get_by_role("combobox", name="Layer").input_value() == "3"
        shows(again, f"{cells['post', 'logistic', 3].auroc:.3f}")


def test_a_click_on_a_point_and_a_choice_by_keyboard_open_a_candidate(page, base):
    figure = quote(figure_title(refusal(), "candidate_curves"))
    visit(page, f"{base}/{REFUSAL}&r_figure={figure}")
    one = next(
        one for one in refusal().candidates if (one.position, one.layer) == (-2, 3)
    )
    click(page, "r_position_r_layer_click", 3, one.bypass)
    page.wait_for_url("**r_layer=3**")
    shows(page, "-0.5")
    box = page.get_by_role("combobox", name="Layer")
    box.focus()
    box.press("ArrowDown")
    box.fill("7")
    box.press("Enter")
    page.wait_for_url("**r_layer=7**")
    page.get_by_text("layer 7 is not below 6").wait_for()


def test_a_click_on_a_cell_shows_its_pairs_and_the_link_brings_them_back(
    page, base, context
):
    figure = quote(figure_title(knowledge(), "knowledge_maps"))
    visit(page, f"{base}/knowledge?k_run=maps/knowledge&k_figure={figure}")
    points = page.locator(".js-plotly-plot").first.locator(".scatterlayer .point")
    points.first.wait_for(state="attached")
    # Markers lie row by row: the fourth column of the third row.
    points.nth(2 * 5 + 3).click(force=True)
    page.wait_for_url("**k_column=object+last**")
    page.get_by_text("Layer 2, object last:").wait_for()
    assert "k_layer=2" in page.url
    settle(page)
    with watched(context, base, dark=True) as again:
        visit(again, page.url)
        again.get_by_text("Layer 2, object last:").wait_for()
        layer = again.get_by_role("combobox", name="Layer", exact=True)
        assert layer.input_value() == "2"
        tokens = again.locator(".interp-token-pairs [data-pos]")
        tokens.nth(4).wait_for()
        assert tokens.count() == 5


def test_a_slider_changes_which_neurons_are_shared(page, base):
    figure = quote(figure_title(confidence(), "overlap_curve"))
    link = f"{base}/confidence?c_run=maps/confidence&c_figure={figure}&c_candidates=2"
    visit(page, link)
    page.get_by_text("2 shared of 2:").wait_for()
    slider = page.get_by_role("slider", name="Candidates of each model")
    slider.focus()
    slider.press("ArrowRight")
    page.get_by_text("2 shared of 4:").wait_for()
    page.wait_for_function("!location.search.includes('c_candidates=2')")


def enclose(page, corners: list[tuple[float, float]]) -> None:
    """Draw a lasso around places of the scatter, given in its own units."""
    figure = page.locator(SCATTER)
    figure.locator("[data-title='Lasso Select']").dispatch_event("click")
    places = [figure.evaluate(FIND, list(corner)) for corner in corners]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in (*places[1:], places[0]):
        # A lasso takes only places that are some pixels apart.
        page.mouse.move(*place, steps=8)
    page.mouse.up()


def test_a_lasso_lists_the_statements_that_it_encloses(page, base):
    result = truthfulness()
    best = max(result.probes, key=lambda row: row.validation_auroc)
    scatter: Any = component_scatter(result, best.model, best.layer)
    points = [
        (float(x), float(y))
        for trace in scatter.data
        for x, y in zip(trace.x, trace.y, strict=True)
    ]
    rows = sorted(y for _, y in points)
    # Between two points in the middle, so that none lies on the line.
    cut = (rows[len(rows) // 2] + rows[len(rows) // 2 + 1]) / 2
    inside = sum(y > cut for _, y in points)
    figure = quote(figure_title(result, "probe_map"))
    visit(page, f"{base}/{TRUTH}&t_figure={figure}")
    page.locator(f"{SCATTER} .plot-container").wait_for()
    page.locator(SCATTER).scroll_into_view_if_needed()
    page.wait_for_function(DONE)
    across = [x for x, _ in points]
    left, right = min(across) - 0.05, max(across) + 0.05
    top = rows[-1] + 0.05
    enclose(page, [(left, cut), (left, top), (right, top), (right, cut)])
    page.get_by_text(f"{inside} statements inside the lasso").wait_for()
    settle(page)
    # What is chosen stays chosen: a lasso lists, and does not choose.
    assert "t_statement" not in page.url
    page.wait_for_function(DONE)
    # Not on the outline, which a click would take hold of.
    outside = [(left + right) / 2, (cut + rows[0]) / 2]
    page.mouse.dblclick(*page.locator(SCATTER).evaluate(FIND, outside))
    page.get_by_text(f"{len(points)} statements.", exact=False).wait_for()
    assert page.get_by_text("inside the lasso").count() == 0
    assert page.get_by_test_id("stException").count() == 0


def test_answers_are_strips_of_tokens_that_fit_a_phone(page, base):
    page.set_viewport_size(PHONE)
    figure = quote(figure_title(refusal(), "refusal_rates"))
    visit(page, f"{base}/{REFUSAL}&r_figure={figure}")
    assert page.locator("button.token").count() == 0
    page.get_by_text("which may be harmful").click()
    token = page.locator("button.token").first
    token.wait_for()
    settle(page)
    assert fits(page)
    token.scroll_into_view_if_needed()
    token.click()
    page.wait_for_function(
        "one => one.getAttribute('aria-pressed') === 'true'",
        arg=token.element_handle(),
    )
    told = page.locator(".told").first
    assert "along the direction" in told.inner_text()
    edges = page.locator(".strip").evaluate_all(
        "all => all.map(one => one.getBoundingClientRect().right)"
    )
    assert max(edges) <= PHONE["width"]
