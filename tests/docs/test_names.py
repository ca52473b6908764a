"""What the documentation names exists: functions with their arguments, and commands."""

import ast
import importlib
import inspect
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import ModuleType

from typer.main import get_command

from probes.cli.app import app


ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "notebooks").glob("[0-9]*.py"),
    ]
)
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NAME = re.compile(r"`((?:interp|probes)(?:\.[A-Za-z_]\w*)+)(?=[`(\[])")
ROOT_COMMAND = get_command(app)
COMMAND = re.compile(r"`((?:\.venv/bin/)?interp [a-z][^`]*)`")


def test_names_in_the_prose_exist():
    assert len(PAGES) > 30
    assert not wrong_on_pages(
        lambda page: (n for n in NAME.findall(page.read_text()) if thing(n) is None)
    )


def test_calls_in_the_code_have_arguments_that_exist():
    assert not wrong_on_pages(
        lambda page: (wrong for code in python_of(page) for wrong in wrong_calls(code))
    )


def test_commands_have_options_that_exist():
    assert not wrong_on_pages(
        lambda page: (wrong for at in commands_of(page) for wrong in wrong_options(at))
    )


def test_what_does_not_exist_is_noticed():
    assert thing("interp.captur") is None
    assert wrong_calls("import interp\ninterp.capture(model, prompts, site='q.0')")
    assert wrong_calls("import probes\nprobes.swep(acts)")
    assert not wrong_calls("import interp\ninterp.capture(model, prompts, sites='q')")
    assert wrong_options("interp compare A B --statments FILE")
    assert wrong_options("interp campare A B")
    assert not wrong_options("interp plan --json study truthfulness x.toml --out DIR")


def wrong_on_pages(wrong: Callable[[Path], Iterable[str]]) -> dict[str, list[str]]:
    """What is wrong on each page that has anything wrong."""
    found = {str(page.relative_to(ROOT)): list(wrong(page)) for page in PAGES}
    return {page: names for page, names in found.items() if names}


@cache
def thing(name: str) -> object:
    """What a dotted name stands for; None if there is no such thing."""
    within, _, last = name.rpartition(".")
    if not within:
        return importlib.import_module(name)
    parent = thing(within)
    fields = getattr(parent, "__dataclass_fields__", {})
    if last in fields:
        return fields[last]
    found = getattr(parent, last, None)
    if found is None and isinstance(parent, ModuleType):
        with suppress(ModuleNotFoundError):
            found = importlib.import_module(name)
    return found


def python_of(page: Path) -> Iterator[str]:
    """The Python of a page: its blocks, or a notebook."""
    text = page.read_text()
    if page.suffix == ".py":
        yield text
    for kind, code in BLOCK.findall(text):
        if kind == "python":
            yield code


def wrong_calls(code: str) -> list[str]:
    """Names that do not exist, and arguments that a function does not take."""
    tree = ast.parse(code)
    known = {"interp": "interp", "probes": "probes"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            known |= {
                alias.asname or alias.name: f"{node.module}.{alias.name}"
                for alias in node.names
                if node.module.split(".")[0] in ("interp", "probes")
            }
    wrong = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (name := dotted(node.func, known)):
            found = thing(name)
            if found is None or not callable(found):
                wrong.append(name)
            else:
                wrong += [f"{name}({key}=)" for key in untaken(found, node)]
    return wrong


def dotted(node: ast.expr, known: dict[str, str]) -> str:
    """The name that is called, if it is one of ours."""
    words = []
    while isinstance(node, ast.Attribute):
        words.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in known:
        return ""
    return ".".join([known[node.id], *reversed(words)])


def untaken(function: object, call: ast.Call) -> list[str]:
    """The named arguments of a call that a function does not have."""
    if not call.keywords:
        return []
    assert callable(function)
    taken = inspect.signature(function).parameters
    return [word.arg for word in call.keywords if word.arg and word.arg not in taken]


def commands_of(page: Path) -> Iterator[str]:
    """The lines of a page that call the command, in blocks and in the prose."""
    text = page.read_text()
    for kind, block in BLOCK.findall(text):
        if kind != "python":
            for line in block.replace("\\\n", " ").splitlines():
                if re.match(r"(\.venv/bin/)?interp [a-z]", line):
                    # A description stands behind two blanks or a hash.
                    yield re.split(r"  +|\s#", line)[0]
    prose = re.sub(r"\n(# )?", " ", BLOCK.sub("", text))
    yield from COMMAND.findall(prose)


def wrong_options(line: str) -> list[str]:
    """Sub-commands and options of a line that the command does not have."""
    words = shlex.split(line.replace("...", "").replace("|", " "))[1:]
    command, options = ROOT_COMMAND, {"--help"}
    for word in words:
        below = getattr(command, "commands", {})
        if word in below:
            options |= {name for given in below[word].params for name in given.opts}
            # What `plan` plans is a command of its own.
            command = ROOT_COMMAND if word == "plan" else below[word]
        elif below and re.fullmatch("[a-z]+", word):
            return [word]
    asked = [word.strip("[],").split("=")[0] for word in words if "--" in word]
    return [word for word in asked if word.startswith("--") and word not in options]
