"""`import interp` is light: it loads nothing heavy, and every name on first use."""

import ast
import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import interp


HEAVY = (
    "torch",
    "transformers",
    "transformer_lens",
    "numpy",
    "pandas",
    "plotly",
    "datasets",
    "sklearn",
    "scipy",
    "pyarrow",
    "huggingface_hub",
    "pydantic",
)
SECONDS = 0.2


def _run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_nothing_heavy_is_imported() -> None:
    program = "import sys, json, interp; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(_run(program))
    assert "interp" in loaded
    assert [name for name in HEAVY if name in loaded] == []


def test_the_import_takes_less_than_a_fifth_of_a_second() -> None:
    program = (
        "import time; start = time.perf_counter(); import interp; "
        "print(time.perf_counter() - start)"
    )
    assert statistics.median(float(_run(program)) for _ in range(5)) < SECONDS


def test_the_type_checker_sees_the_names_that_exist() -> None:
    tree = ast.parse(Path(interp.__file__).read_text(encoding="utf-8"))
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.asname
        for node in ast.walk(guarded)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == {*interp._WHERE, *interp._MODULES}
    assert seen <= set(dir(interp))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        interp.lode  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]


def test_names_load_on_first_use() -> None:
    assert interp.Site("z", 1).short == "z.1"
    assert interp.load.__module__ == "interp.models.loading"
