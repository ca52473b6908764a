"""Notebooks as they are in the repository: cells of a percent script, run in order."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import jupytext


NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
SCRIPTS = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.py"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The value of a cell's last line, which Jupyter shows."""

    cell: int
    value: Any


def cells(script: Path, kind: str) -> list[str]:
    """The sources of all cells of a kind, `markdown` or `code`."""
    read = jupytext.read(script, fmt="py:percent")
    return [cell.source for cell in read.cells if cell.cell_type == kind]


def shown_by(script: Path) -> Iterator[Shown]:
    """Run a notebook in a fresh namespace, top to bottom; what each cell shows."""
    space = vars(ModuleType("__main__"))
    for number, source in enumerate(cells(script, "code"), start=1):
        tree = ast.parse(source, filename=f"{script.name}, code cell {number}")
        last = tree.body[-1]
        asks = isinstance(last, ast.Expr)
        body = ast.Module(tree.body[:-1] if asks else tree.body, type_ignores=[])
        where = f"{script.name}, code cell {number}"
        exec(compile(body, where, "exec"), space)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), where, "eval"), space)
            # Jupyter shows nothing for None, and nothing behind a semicolon.
            if value is not None and not source.rstrip().endswith(";"):
                yield Shown(cell=number, value=value)
