"""The explorer served to a real browser, and what the browser saw."""

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
from urllib.request import urlopen

import pytest


ROOT = Path(__file__).parents[1]
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    None,
)
# A machine of the project's own has one: there a missing browser is a failure.
NO_CHROMIUM = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CI"), reason="chromium is missing"
)
DONE = "document.querySelector('[data-test-script-state=notRunning]') !== null"
# On a deep link Streamlit asks for its own addresses below the page's path first.
PROBES = ("/_stcore/health", "/_stcore/host-config")
# Where a place of the first panel lies on the screen.
FIND = """(figure, [x, y]) => {
    const {xaxis, yaxis} = figure._fullLayout;
    const box = figure.getBoundingClientRect();
    return [
        box.left + xaxis._offset + xaxis.d2p(x),
        box.top + yaxis._offset + yaxis.d2p(y),
    ];
}"""


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
def serving(folder: Path, *options: str) -> Iterator[str]:
    """`interp explore` on a folder, from its start to its end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    base = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [
            *(sys.executable, "-c", "from probes.cli import main; main()"),
            *("explore", str(folder), "--port", str(port), *options),
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


@contextmanager
def chromium() -> Iterator:
    """The system's browser."""
    from playwright.sync_api import sync_playwright

    assert CHROMIUM, "with CI set the tests need chromium, and there is none"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"]
        )
        yield browser
        browser.close()


@contextmanager
def watched(context, base: str, *, dark: bool = False) -> Iterator:
    """A tab that asked for nothing outside and complained about nothing at its end.

    Tabs of one context share its cache: the scripts of the figures are read once.
    """
    page = context.new_page()
    page.emulate_media(color_scheme="dark" if dark else "light")
    seen = Seen(base=base)
    seen.watch(page)
    yield page
    page.close()
    assert (seen.outside, seen.errors) == ([], []), f"{seen.outside} {seen.errors}"


def settle(page) -> None:
    """Wait until the script of the page has ended."""
    page.wait_for_function(DONE, timeout=60_000)


def visit(page, address: str) -> None:
    page.goto(address)
    page.get_by_test_id("stHeading").first.wait_for(timeout=60_000)
    settle(page)


def turn_to(page, title: str) -> None:
    """Another page over the list at the side, as a reader goes."""
    link = page.get_by_test_id("stSidebarNavLink").filter(has_text=title)
    link.first.click()
    page.get_by_role("heading", name=title, exact=True).wait_for(timeout=60_000)
    settle(page)


def open_all(page) -> None:
    """Open everything that is closed, but for what a switch guards."""
    page.locator("details:not([open]) > summary").evaluate_all(
        "all => all.forEach(summary => summary.click())"
    )
    settle(page)


def check_harmless(page) -> None:
    """Nothing of a hostile text has become more than a text."""
    assert page.evaluate("typeof window.hacked") == "undefined"
    assert page.locator("img[src='x'], a[href^=javascript]").count() == 0
    assert page.get_by_test_id("stException").count() == 0


def fits(page) -> bool:
    """Whether the page needs no scrolling to the side."""
    return page.evaluate(
        "[document.documentElement, document.querySelector('[data-testid=stMain]')]"
        ".every(one => one.scrollWidth <= one.clientWidth)"
    )
