"""The explorer in a real browser: it draws, stays local, and runs nobody's markup."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError
from urllib.parse import quote, unquote
from urllib.request import urlopen

import pytest

from interp_explorer.pages import STUDIES


pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("explorer"),
    pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is missing"),
]
ROOT = Path(__file__).parents[2]
VIEWS = ("", *(page.name for page in STUDIES), "runs")
DONE = "document.querySelector('[data-test-script-state=notRunning]') !== null"
# On a deep link Streamlit asks for its own addresses below the page's path first.
PROBES = ("/_stcore/health", "/_stcore/host-config")


@dataclass(kw_only=True)
class Seen:
    """What a page asked for and complained about."""

    base: str
    outside: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def watch(self, page) -> None:
        page.on("request", lambda request: self._asked(request.url))
        page.on("response", self._answered)
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _asked(self, url: str) -> None:
        local = (self.base, self.base.replace("http", "ws"), "data:", "blob:")
        if not url.startswith(local):
            self.outside.append(url)

    def _answered(self, response) -> None:
        if response.status >= 400 and not response.url.endswith(PROBES):
            self.errors.append(f"{response.status} {response.url}")

    def _said(self, message) -> None:
        # Failed requests are judged by their address above.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.errors.append(message.text)


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """`interp explore` on a folder, from its start to its end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    base = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [
            *(sys.executable, "-c", "from probes.cli import main; main()"),
            *("explore", str(folder), "--port", str(port)),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'apps'}"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(600):
            assert server.poll() is None, "the explorer ended by itself"
            try:
                with urlopen(f"{base}/_stcore/health", timeout=5):
                    break
            except (URLError, OSError):
                time.sleep(0.1)
        yield base
    finally:
        server.terminate()
        server.wait(timeout=30)


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def base(folder, hostile_folder, tmp_path_factory) -> Iterator[str]:
    """One explorer of all results; the newest of each kind are the harmless ones."""
    both = tmp_path_factory.mktemp("both")
    for source in (folder, hostile_folder):
        shutil.copytree(source, both, dirs_exist_ok=True)
    with serving(both) as address:
        yield address


def visit(page, address: str) -> None:
    page.goto(address)
    page.get_by_test_id("stHeading").first.wait_for(timeout=60_000)
    page.wait_for_function(DONE, timeout=60_000)


def test_pages_draw_follow_links_and_stay_local(base, browser):
    page = browser.new_page(color_scheme="light")
    seen = Seen(base=base)
    seen.watch(page)
    for view in VIEWS:
        visit(page, f"{base}/{view}")
        assert page.get_by_test_id("stException").count() == 0
        if view not in ("", "runs"):
            page.locator(".js-plotly-plot .main-svg").first.wait_for()
    # A choice writes itself into the address, and the address reopens the choice.
    visit(page, f"{base}/induction?i_run=heads")
    page.get_by_role("combobox", name="Figure").click()
    option = page.get_by_role("option").nth(1)
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
        "runs": "x_run=" + quote("<img src=x onerror=window.hacked=1>"),
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
