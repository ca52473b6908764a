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
NO_CHROMIUM = pytest.mark.skipif(
    shutil.which("chromium") is None, reason="chromium is missing"
)
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

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        yield browser
        browser.close()


def visit(page, address: str) -> None:
    page.goto(address)
    page.get_by_test_id("stHeading").first.wait_for(timeout=60_000)
    page.wait_for_function(DONE, timeout=60_000)
