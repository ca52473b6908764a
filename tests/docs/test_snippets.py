"""The Python in the documentation runs, on the embedded models."""

import re
from pathlib import Path
from typing import Any

import pytest


DOCS = Path(__file__).parents[2] / "docs"
# Pages whose blocks run one after the other, and what their models are called.
FACTS_PAGES = ("tutorial.md",)
INDUCTION_PAGES = ("own.md",)
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
HUB_WORDS = "folder/of/checkpoint"


def blocks(page: str) -> list[str]:
    found = BLOCK.findall((DOCS / page).read_text())
    return [block for block in found if HUB_WORDS not in block]


def run(
    page: str, monkeypatch: pytest.MonkeyPatch, family: object
) -> dict[str, object]:
    monkeypatch.setattr("interp.organism.train", lambda name: family)
    names: dict[str, Any] = {"__name__": "snippet"}
    for block in blocks(page):
        exec(compile(block, page, "exec"), names)
    return names


@pytest.mark.parametrize("page", FACTS_PAGES)
def test_the_python_of_a_page_runs_on_the_facts_family(
    page, facts_family, monkeypatch, capsys
):
    names = run(page, monkeypatch, facts_family)

    assert len(blocks(page)) >= 4
    assert names["sweep"].to_dataframe()["auroc"].max() > 0.9
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("page", INDUCTION_PAGES)
def test_the_python_of_a_page_runs_on_the_induction_family(
    page, induction_family, monkeypatch, capsys
):
    names = run(page, monkeypatch, induction_family)

    assert "unembedding_norm" in names["timeline"].to_dataframe()["metric"].unique()
    assert capsys.readouterr().out.strip()


def test_every_page_of_the_navigation_says_something():
    pages = [path for path in DOCS.rglob("*.md") if "hooks" not in path.parts]

    assert len(pages) >= 15
    for path in pages:
        words = path.read_text().split()
        includes = "--8<--" in words
        assert includes or len(words) > 40, f"{path.name} is empty"
