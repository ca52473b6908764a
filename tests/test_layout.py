"""The rules of the house: import direction, module size, no pickle, documented."""

import ast
import importlib.util
import inspect
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest


ROOT = Path(__file__).parent.parent
MODULES = sorted((*ROOT.glob("interp/**/*.py"), *ROOT.glob("probes/**/*.py")))
APP = sorted(ROOT.glob("apps/**/*.py"))
MAX_LINES = 400

# What each part may import besides itself; drawn in docs/architecture.md.
BASE = {
    "errors",
    "sites",
    "positions",
    "progress",
    "stopping",
    "atomic",
    "home",
    "statistics",
    "config",
    "provenance",
    "sharding",
    "lazy",
}
ALLOWED = {
    "interp.models": BASE,
    "interp.activations": BASE | {"models"},
    "interp.directions": BASE | {"models", "activations"},
    "interp.interchange": BASE | {"models", "activations", "directions"},
    "interp.edits": BASE | {"models", "activations", "directions"},
    "interp.neurons": BASE | {"models", "activations", "edits", "results"},
    "interp.heads": BASE
    | {"models", "activations", "edits", "data", "neurons", "results"},
    "interp.lens": BASE | {"models", "activations", "neurons", "results"},
    "interp.streaming": BASE | {"models", "directions", "edits", "results"},
    "interp.store": BASE | {"models", "activations"},
    "interp.data": BASE,
    "interp.results": BASE,
    "interp.figures": BASE | {"results"},
    "interp.patching": BASE | {"models", "activations", "edits", "data", "results"},
    "interp.formation": BASE | {"models", "edits", "heads", "results"},
    "interp.organism": BASE | {"models", "data", "activations", "directions", "edits"},
}
TORCH_FREE = (
    *("interp.results", "interp.figures", "interp.data", *sorted(BASE)),
    *("interp.directions.stored", "interp.interchange"),
)


@cache
def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module} | {f"{node.module}.{a.name}" for a in node.names}
    return names


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_imports_follow_the_direction_of_data(path):
    module = dotted(path)
    owner = ".".join(module.split(".")[:2])
    ours = {
        ".".join(n.split(".")[:2]) for n in imported(path) if n.startswith("interp.")
    }
    if module.startswith("interp."):
        foreign = {name for name in imported(path) if name.split(".")[0] == "probes"}
        assert not foreign, f"{module} imports {foreign}: interp knows no probes"
    if owner in ALLOWED:
        allowed = {owner} | {f"interp.{part}" for part in ALLOWED[owner]}
        assert ours <= allowed, f"{module} imports {sorted(ours - allowed)}"
    elif owner.removeprefix("interp.") in BASE:
        allowed = {f"interp.{part}" for part in BASE}
        assert ours <= allowed, f"{module} imports {sorted(ours - allowed)}"


@pytest.mark.parametrize("path", [*MODULES, *APP], ids=dotted)
def test_only_the_command_line_imports_the_command_line(path):
    if dotted(path).startswith("probes.cli"):
        return
    assert not {name for name in imported(path) if name.startswith("probes.cli")}


@pytest.mark.parametrize("path", [*MODULES, *APP], ids=dotted)
def test_a_module_fits_on_a_few_screens(path):
    assert len(path.read_text().splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", [*MODULES, *APP], ids=dotted)
def test_no_module_can_run_a_pickle(path):
    names = imported(path)
    assert not names & {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
    assert "torch.load" not in path.read_text()


def test_only_one_file_touches_the_internals_of_transformer_lens():
    users = {
        dotted(path)
        for path in MODULES
        if any(name.startswith("transformer_lens") for name in imported(path))
    }
    assert users <= {"interp.models.adapters"}


def test_torch_free_packages_stay_torch_free():
    wanted = [n if n.startswith("interp.") else f"interp.{n}" for n in TORCH_FREE]
    exist = [n for n in wanted if importlib.util.find_spec(n) is not None]
    code = (
        f"import importlib, sys; [importlib.import_module(n) for n in {exist!r}];"
        "heavy = {'torch', 'transformers', 'transformer_lens', 'nnsight', 'datasets'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def public_names():
    import interp

    return sorted({*dir(interp)} - {"annotations"})


def test_every_public_name_is_documented_and_typed():
    import interp

    undocumented = []
    for name in public_names():
        if name.startswith("_"):
            continue
        thing = getattr(interp, name)
        if not inspect.getdoc(thing):
            undocumented.append(name)
        if inspect.isfunction(thing):
            signature = inspect.signature(thing)
            assert signature.return_annotation is not inspect.Signature.empty, name
            for parameter in signature.parameters.values():
                assert parameter.annotation is not inspect.Parameter.empty, name
    assert undocumented == []
