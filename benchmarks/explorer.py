"""How long the explorer takes to show something, in a real browser.

    python benchmarks/explorer.py [--quick] [--json] [--rounds N] [--results FOLDER]

Every round starts `interp explore` anew and opens its address in a browser without a
cache: the time until the heading of the overview stands there (the first paint, goal
2 s), until the last card has its line, and, over the list at the side, until the
heading of another page stands there (goal 0.4 s; the first such step also fetches what
draws figures, the second does not). Medians by the clock over rounds. The ratio is to a
server of the same round that shows a bare page of Streamlit with one heading: what
stands above it is ours. Without chromium on the path or playwright there is nothing to
measure, and the script says so. Without `--results` it writes a result of heads and one
of neurons, made up.
"""

import argparse
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np

from interp.provenance import record
from interp.results import HeadScores, NeuronTable


GOALS = {"first paint": 2.0, "page switch": 0.4}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
EXPLORE = ("-P", "-c", "from probes.cli import main; main()", "explore")
BARE = 'import streamlit as st\n\nst.title("Overview", anchor=False)\n'
STREAMLIT = ("-m", "streamlit", "run")
QUIET = ("--server.headless=true", "--browser.gatherUsageStats=false")
PATIENCE = 120
# Every finished result of the first page of cards has a picture of its line.
ALL_LINES = r"""() => {
    const told = document.body.innerText.match(/(\d+) results ·/);
    const lines = document.querySelectorAll("[data-testid=stMain] img[alt]");
    return told && lines.length >= Math.min(12, Number(told[1]));
}"""


def main() -> int:
    """Measure and print; 0 also where there is no browser."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="2 rounds")
    parser.add_argument("--json", action="store_true", help="one JSON object instead")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--results", default="", help="a folder of results")
    options = parser.parse_args()
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None or find_spec("playwright") is None:
        reason = "chromium or playwright is missing"
        print(json.dumps({"ratios": [], "skipped": reason}) if options.json else reason)
        return 0
    rounds = options.rounds or (2 if options.quick else 7)
    with tempfile.TemporaryDirectory() as temporary:
        results = options.results or made_up(Path(temporary) / "results")
        times = measure(rounds, str(results), browser, Path(temporary))
    report(times, as_json=options.json)
    return 0


def made_up(folder: Path) -> Path:
    """Two results of the sizes of a small model."""
    rng = np.random.default_rng(0)
    samples = rng.uniform(0, 1, (1, 12, 12, 16)).astype(np.float32)
    mean = samples.mean(-1)
    HeadScores(
        metrics=("prefix_matching",),
        mean=mean,
        low=mean - np.float32(0.1),
        high=mean + np.float32(0.1),
        samples=samples,
        uniform=np.full((1, 16), 0.1, np.float32),
        loss=rng.uniform(1, 5, (16, 50)).astype(np.float32),
        correct=np.ones((16, 50), np.float32),
        periods=np.full(16, 25, np.int32),
        has_bos=False,
        notes=(),
        provenance=record("heads", command="made up"),
    ).save(folder / "heads")
    NeuronTable(
        model="made up",
        layer=11,
        final_norm="LayerNorm",
        norm=rng.uniform(0.2, 1, 3072).astype(np.float32),
        logit_var=rng.uniform(0.001, 0.01, 3072).astype(np.float32),
        null_fraction=rng.uniform(0, 1, 3072).astype(np.float32),
        null_directions=12,
        singular_values=np.linspace(9, 0.1, 768).astype(np.float32),
        percentile=75.0,
        candidates=np.array([3, 5], np.int32),
        notes=(),
        provenance=record("neurons", command="made up"),
    ).save(folder / "neurons")
    return folder


def measure(
    rounds: int, results: str, browser: str, temporary: Path
) -> dict[str, list[float]]:
    """Seconds of each step, by round."""
    from playwright.sync_api import sync_playwright

    bare = temporary / "bare.py"
    bare.write_text(BARE)
    times: dict[str, list[float]] = {}
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=browser,
            args=["--no-sandbox", "--disable-background-networking"],
        )
        for _ in range(rounds):
            for steps in (
                bare_page(chromium, bare),
                explorer(chromium, results),
            ):
                for name, seconds in steps.items():
                    times.setdefault(name, []).append(seconds)
        chromium.close()
    return times


def bare_page(chromium, script: Path) -> dict[str, float]:
    """A page of one heading, from its address to the heading."""
    with serving(*STREAMLIT, str(script), *QUIET, port="--server.port") as (_, address):
        page = chromium.new_page()
        start = time.perf_counter()
        page.goto(address)
        heading(page, "Overview")
        taken = time.perf_counter() - start
        page.close()
    return {"a bare page": taken}


def explorer(chromium, results: str) -> dict[str, float]:
    """The overview of a new server, and two steps to other pages."""
    with serving(*EXPLORE, results, port="--port") as (up, address):
        found = {"server": up}
        # A context of its own has a cache of its own, which is empty.
        context = chromium.new_context()
        page = context.new_page()
        start = time.perf_counter()
        page.goto(address)
        heading(page, "Overview")
        found["first paint"] = time.perf_counter() - start
        page.wait_for_function(ALL_LINES, timeout=PATIENCE * 1000)
        found["cards"] = time.perf_counter() - start
        for name, title in (("first page switch", "Runs"), ("page switch", "Compare")):
            page.wait_for_selector("[data-test-script-state=notRunning]")
            start = time.perf_counter()
            page.get_by_test_id("stSidebarNavLink").filter(has_text=title).first.click()
            heading(page, title)
            found[name] = time.perf_counter() - start
        context.close()
    return found


def heading(page, title: str) -> None:
    page.get_by_role("heading", name=title, exact=True).first.wait_for(
        timeout=PATIENCE * 1000
    )


@contextmanager
def serving(*command: str, port: str) -> Iterator[tuple[float, str]]:
    """A server from its start to its end: the seconds until it answers, its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    address = f"http://127.0.0.1:{number}"
    start = time.perf_counter()
    server = subprocess.Popen(
        [sys.executable, *command, port, str(number)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            try:
                with urlopen(f"{address}/_stcore/health", timeout=5):
                    break
            except (URLError, OSError):
                if server.poll() is not None:
                    sys.exit("the server ended by itself")
                if time.perf_counter() - start > PATIENCE:
                    sys.exit("the server did not answer")
                time.sleep(0.02)
        yield time.perf_counter() - start, address
    finally:
        server.terminate()
        server.wait(timeout=30)


def report(times: dict[str, list[float]], *, as_json: bool) -> None:
    """Print medians, goals and ratios."""
    medians = {name: statistics.median(own) for name, own in times.items()}
    pairs = list(zip(times["first paint"], times["a bare page"], strict=True))
    ratios = [
        {
            "name": "first paint over a bare page of Streamlit",
            "value": statistics.median(own / bare for own, bare in pairs),
            "better": "lower",
        }
    ]
    if as_json:
        print(json.dumps({"seconds": medians, "ratios": ratios}))
        return
    for name, value in medians.items():
        own = times[name]
        goal = f"  goal {GOALS[name]:g} s" if name in GOALS else ""
        print(f"{name:18} {value:6.2f} s  ({min(own):.2f} to {max(own):.2f}){goal}")
    for ratio in ratios:
        print(f"{ratio['name']:42} {ratio['value']:6.2f} x")


if __name__ == "__main__":
    sys.exit(main())
