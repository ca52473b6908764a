"""Make the pictures of the explorer anew: `python docs/images/make.py DEMO`.

DEMO is the folder that `interp demo --out DEMO` has written. Needs chromium.
"""

import argparse
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from playwright.sync_api import Page, sync_playwright


HERE = Path(__file__).parent
DONE = "document.querySelector('[data-test-script-state=notRunning]') !== null"
DRAWN = (
    "document.querySelectorAll('.js-plotly-plot .main-svg').length > 0 && "
    "document.querySelectorAll('[data-testid=stSkeleton]').length === 0"
)
# The harmless example of the Lab, steered towards refusing it.
LAB = "lab?l_strength=1&l_length=16"
PICTURES = {"explorer": ("truthfulness", 1000), "lab": (LAB, 1520)}
WIDTH = 1280


def main() -> None:
    """Start the explorer on a folder, take the pictures, end it."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("demo", type=Path, help="what `interp demo` has written")
    folder = asked.parse_args().demo
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["explore", str(folder), "--port", str(port)]
    code = "from probes.cli import main; main()"
    server = subprocess.Popen([sys.executable, "-c", code, *words])
    try:
        wait_for(f"http://127.0.0.1:{port}/_stcore/health")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            for name, (address, height) in PICTURES.items():
                page = browser.new_page(
                    viewport={"width": WIDTH, "height": height}, color_scheme="light"
                )
                page.goto(f"http://127.0.0.1:{port}/{address}")
                take(page, HERE / f"{name}.png")
                page.close()
            browser.close()
    finally:
        server.terminate()
        server.wait(timeout=30)


def take(page: Page, path: Path) -> None:
    """Save what a page shows once its figures are drawn."""
    page.get_by_test_id("stHeading").first.wait_for(timeout=120_000)
    page.wait_for_function(DONE, timeout=120_000)
    page.wait_for_function(DRAWN, timeout=120_000)
    # Figures take their width from the page a moment after they are there.
    page.wait_for_timeout(2_000)
    page.screenshot(path=path)


def wait_for(address: str) -> None:
    """Wait until the server answers."""
    for _ in range(600):
        try:
            with urlopen(address, timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.1)
    raise SystemExit("the explorer does not answer")


if __name__ == "__main__":
    main()
