"""Every notebook runs top to bottom on the embedded models, built like the others."""

import ast
import json
import re
from pathlib import Path

import jupytext
import pandas as pd
import plotly.graph_objects as go
import pytest
from notebooks.percent import NOTEBOOKS, SCRIPTS, cells, shown_by


MAX_CELL, MAX_HELPER = 26, 10
scripts = pytest.mark.parametrize(
    "script", SCRIPTS, ids=[script.stem for script in SCRIPTS]
)


@pytest.mark.xdist_group("facts_family")
@pytest.mark.usefixtures("facts_family", "induction_family")
@scripts
def test_it_runs_top_to_bottom_and_every_figure_shows_data(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # Results are written beside a notebook; here they go.
    monkeypatch.chdir(tmp_path)
    shown = list(shown_by(script))
    for one in shown:
        where = f"code cell {one.cell}"
        if isinstance(one.value, go.Figure):
            assert one.value.data, where
            assert all(has_points(trace) for trace in one.value.data), where
            assert json.loads(one.value.to_json() or "{}")["data"], where
        elif isinstance(one.value, pd.DataFrame | pd.Series):
            assert len(one.value), where
    assert any(
        isinstance(one.value, go.Figure) or hasattr(one.value, "_repr_html_")
        for one in shown
    )


def has_points(trace) -> bool:
    """Whether a trace holds anything to see, or is one of a legend's empty ones."""
    given = trace.to_plotly_json()
    drawn = any(len(given.get(axis, ())) for axis in "zyx")
    return drawn or given.get("showlegend") is True


@scripts
def test_it_opens_with_question_and_paper_and_closes_with_what_would_falsify_it(
    script: Path,
):
    texts = cells(script, "markdown")
    opening, closing = texts[0], texts[-1]
    assert re.match(rf"# {script.name[:2]} \w", opening)
    assert 0 < opening.index("**Question.**") < opening.index("**Paper.**")
    assert "](https://" in opening
    headings = re.findall(r"^## .*", "\n".join(texts), flags=re.MULTILINE)
    assert headings[-1] == "## What holds here, and what would falsify it"
    assert "would be false" in closing
    assert "**Next.**" in closing


@scripts
def test_it_asserts_what_the_tiny_model_can_show(script: Path):
    last = ast.parse(cells(script, "code")[-1])
    assert any(isinstance(node, ast.Assert) for node in ast.walk(last))


@scripts
def test_helper_code_stays_in_the_library(script: Path):
    for source in cells(script, "code"):
        assert len(source.splitlines()) <= MAX_CELL, source
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda):
                length = (node.end_lineno or 0) - node.lineno + 1
                assert length <= MAX_HELPER, source
        assert ".show(" not in source


@scripts
def test_prose_leaves_numbers_to_the_cells_that_print_them(script: Path):
    for text in cells(script, "markdown"):
        without_links = re.sub(r"\]\([^)]*\)|arXiv:\S+", "", text)
        assert not re.findall(r"\d\.\d\d+|\d %", without_links.replace("95 %", "")), (
            text
        )


@scripts
def test_it_converts_to_a_notebook_without_outputs_and_back(script: Path):
    read = jupytext.read(script)
    assert read.metadata["jupytext"]["formats"] == "ipynb,py:percent"
    assert read.metadata["kernelspec"]["name"] == "python3"
    notebook = json.loads(jupytext.writes(read, fmt="ipynb"))
    codes = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] for cell in codes)
    assert ["".join(cell["source"]) for cell in codes] == cells(script, "code")
    back = jupytext.reads(json.dumps(notebook), fmt="ipynb")
    assert [c.source for c in back.cells] == [c.source for c in read.cells]


def test_the_index_names_every_notebook():
    index = (NOTEBOOKS / "README.md").read_text(encoding="utf-8")
    assert SCRIPTS
    assert re.findall(r"\((\d\d_\w+\.py)\)", index) == [s.name for s in SCRIPTS]
