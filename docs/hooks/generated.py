"""Pages made from the code: the reference of names, the commands, the notebooks."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files


ROOT = Path(__file__).parents[2]
# In the order of the data's flow.
PACKAGES = (
    "interp",
    "interp.models",
    "interp.activations",
    "interp.store",
    "interp.directions",
    "interp.interchange",
    "interp.edits",
    "interp.lens",
    "interp.streaming",
    "interp.patching",
    "interp.neurons",
    "interp.heads",
    "interp.formation",
    "interp.data",
    "interp.organism",
    "interp.results",
    "interp.figures",
    "interp.sites",
    "interp.positions",
    "interp.statistics",
    "interp.progress",
    "interp.provenance",
    "interp.sharding",
    "interp.errors",
    "probes",
    "probes.estimators",
    "probes.studies",
)
NOTEBOOKS = ROOT / "notebooks"


def on_config(config: Any) -> Any:
    """The navigation with the generated pages.

    Args:
        config: The settings of the site.
    """
    for entry in config.nav:
        if "Reference" in entry:
            entry["Reference"] += [
                {name: f"reference/{name}.md"} for name in PACKAGES if _place(name)
            ]
        if "Notebooks" in entry:
            entry["Notebooks"] = [
                "notebooks.md",
                *({_title(path): _address(path)} for path in _notebooks()),
            ]
    return config


def on_files(files: Files, config: Any) -> Files:
    """All files of the site, the generated ones too.

    Args:
        files: Those that are there.
        config: The settings of the site.
    """
    pages = {"reference/commands.md": _commands()}
    pages |= {
        f"reference/{name}.md": _reference(name) for name in PACKAGES if _place(name)
    }
    pages |= {_address(path): _as_markdown(path) for path in _notebooks()}
    for address, text in pages.items():
        files.append(File.generated(config, address, content=text))
    return files


def _place(name: str) -> Path | None:
    base = ROOT.joinpath(*name.split("."))
    for path in (base / "__init__.py", base.with_suffix(".py")):
        if path.is_file():
            return path
    return None


def _reference(name: str) -> str:
    """A page that describes each public name of a package, or says where it is."""
    path = _place(name)
    assert path is not None
    doc = ast.get_docstring(ast.parse(path.read_text())) or ""
    lines = [f"# {name}", "", doc, ""]
    exported = _exported(name)
    if not exported:
        lines += [f"::: {name}", "    options:", "      show_root_heading: false"]
        lines += ["      show_root_toc_entry: false"]
        return "\n".join(lines)
    elsewhere = [
        f"* `{name}.{alias}`: [{target}][]"
        for alias, target in exported.items()
        if _owner(target) != name
    ]
    if elsewhere:
        lines += ["Described with the part it belongs to:", "", *elsewhere, ""]
    for target in exported.values():
        if _owner(target) == name:
            lines += [f"::: {target}", ""]
    return "\n".join(lines)


@cache
def _exported(package: str) -> dict[str, str]:
    """Names that a package re-exports as `name as name`, and where each is defined."""
    found: dict[str, str] = {}
    path = _place(package)
    for node in ast.walk(ast.parse(path.read_text())) if path else ():
        if not isinstance(node, ast.ImportFrom) or node.level:
            continue
        for alias in node.names:
            target = f"{node.module}.{alias.name}"
            # Sub-packages have pages of their own.
            if alias.asname == alias.name and not _place(target):
                found[alias.name] = _defined(target)
    return found


def _defined(target: str) -> str:
    """Where a name is defined that a package may re-export."""
    module, _, name = target.rpartition(".")
    return _exported(module).get(name, target) if module in PACKAGES else target


@cache
def _owner(target: str) -> str:
    """The page that describes a name: the package it is defined in, if that has one."""
    offering = [
        name
        for name in PACKAGES
        if target in _exported(name).values() or target.rpartition(".")[0] == name
    ]
    inside = [name for name in offering if target.startswith(f"{name}.")]
    return max(inside or offering, key=len)


def _commands() -> str:
    from typer.main import get_command
    from typer.testing import CliRunner

    from probes.cli.app import app

    lines = ["# Command line", "", "Exit codes: 0 done; 1 bug; 2 bad arguments or"]
    lines += ["data; 3 refused; 4 some shards failed, the rest kept; 75 stopped by a"]
    lines += ["signal after a clean step; 130 Ctrl-C. After the last two the same"]
    lines += ["command goes on. `--json` prints one object on stdout.", ""]
    root = get_command(app)
    names = [[]] + [[name] for name in getattr(root, "commands", {})]
    names += [
        [name, below]
        for name, command in getattr(root, "commands", {}).items()
        for below in getattr(command, "commands", {})
    ]
    for words in names:
        text = CliRunner(env={"COLUMNS": "90"}).invoke(app, [*words, "--help"]).output
        title = " ".join(["interp", *words])
        lines += [f"## {title}", "", "```text", text.strip(), "```", ""]
    return "\n".join(lines)


def _notebooks() -> list[Path]:
    return sorted(NOTEBOOKS.glob("[0-9]*.py"))


def _address(path: Path) -> str:
    return f"notebooks/{path.stem}.md"


def _title(path: Path) -> str:
    found = re.search(r"^# # (.+)$", path.read_text(), re.M)
    return found[1] if found else path.stem


def _as_markdown(path: Path) -> str:
    """A percent script as a page: text as text, cells as code, without outputs."""
    parts = []
    for cell in re.split(r"^# %%", path.read_text(), flags=re.M)[1:]:
        head, _, body = cell.partition("\n")
        if "[markdown]" in head:
            text = "\n".join(re.sub(r"^# ?", "", line) for line in body.splitlines())
            parts += [text.strip(), ""]
        elif body.strip():
            parts += ["```python", body.strip(), "```", ""]
    # Behind the title, which must come first.
    title, _, rest = "\n".join(parts).partition("\n")
    place = f"A [notebook](../notebooks.md): `notebooks/{path.name}`"
    return "\n".join([title, "", place, "", rest])
