"""In a real browser: a click on a cell opens what lies behind it, as a link does."""

from collections.abc import Iterator
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from browser_session import DONE, NO_CHROMIUM, Seen, chromium, serving, visit
from sample_results import refusal, truthfulness

from interp.figures import report_section
from interp.figures.truthfulness_sites import probe_rows
from interp_explorer.widgets.panel import heading


pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("explorer"),
    NO_CHROMIUM,
]
# Where a place of the first panel lies on the screen.
FIND = """(figure, [x, y]) => {
    const {xaxis, yaxis} = figure._fullLayout;
    const box = figure.getBoundingClientRect();
    return [
        box.left + xaxis._offset + xaxis.d2p(x),
        box.top + yaxis._offset + yaxis.d2p(y),
    ];
}"""


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("clicked")
    truthfulness().save(root / "truth")
    refusal().save(root / "refused")
    with serving(root) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


def title(name: str) -> str:
    """How the page calls a figure."""
    for result in (truthfulness(), refusal()):
        for at, panel in enumerate(report_section(result).panels, start=1):
            if panel.name == name:
                return f"{at}. {heading(panel)}"
    raise AssertionError(name)


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
    base, browser
):
    cells = {(row.model, row.probe, row.layer): row for row in truthfulness().probes}
    rows = probe_rows(truthfulness())
    page = browser.new_page()
    seen = Seen(base=base)
    seen.watch(page)
    visit(page, f"{base}/truthfulness?t_figure={quote(title('probe_map'))}")
    # Not at the middle of a cell: all of it can be clicked. The first cell again after
    # another one, which is a choice too.
    for probe, layer in (("logistic", 3), ("ccs", 5), ("logistic", 3)):
        at = rows.index(("post", probe))
        click(page, "t_probe_t_layer_click", layer + 0.4, at - 0.3)
        page.wait_for_url(f"**t_layer={layer}**")
        shows(page, f"{cells['post', probe, layer].auroc:.3f}")
        assert chosen(page, "t_probe") == [f"post · {probe}"]
    again = browser.new_page(color_scheme="dark")
    seen.watch(again)
    visit(again, page.url)
    assert again.get_by_role("combobox", name="Layer").input_value() == "3"
    shows(again, f"{cells['post', 'logistic', 3].auroc:.3f}")
    again.close()
    page.close()
    assert (seen.outside, seen.errors) == ([], [])


def test_a_click_on_a_point_and_a_choice_by_keyboard_open_a_candidate(base, browser):
    page = browser.new_page()
    seen = Seen(base=base)
    seen.watch(page)
    visit(page, f"{base}/refusal?r_figure={quote(title('candidate_curves'))}")
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
    page.close()
    assert (seen.outside, seen.errors) == ([], [])
