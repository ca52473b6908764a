"""The rules of the house: import direction, module size, no pickle, documented."""

import ast
import importlib.util
import inspect
import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path


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


def wrong(rule: Callable[[Path], object], paths: Iterable[Path]) -> dict[str, object]:
    """What a rule finds wrong, by module; one test for all modules of a rule."""
    found = {dotted(path): rule(path) for path in paths}
    return {module: fault for module, fault in found.items() if fault}


def against_the_direction(path: Path) -> set[str]:
    module, names = dotted(path), imported(path)
    owner = ".".join(module.split(".")[:2])
    ours = {".".join(n.split(".")[:2]) for n in names if n.startswith("interp.")}
    faults: set[str] = set()
    if module.startswith("interp."):
        # interp knows no probes.
        faults |= {name for name in names if name.split(".")[0] == "probes"}
    if owner in ALLOWED:
        faults |= ours - {owner} - {f"interp.{part}" for part in ALLOWED[owner]}
    elif owner.removeprefix("interp.") in BASE:
        faults |= ours - {f"interp.{part}" for part in BASE}
    if not module.startswith("probes.cli"):
        faults |= {name for name in names if name.startswith("probes.cli")}
    return faults


def able_to_run_a_pickle(path: Path) -> set[str]:
    pickles = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
    loads = {"torch.load"} if "torch.load" in path.read_text() else set()
    return (imported(path) & pickles) | loads


def lines_too_many(path: Path) -> int:
    return max(0, len(path.read_text().splitlines()) - MAX_LINES)


def test_imports_follow_the_direction_of_data():
    assert wrong(against_the_direction, (*MODULES, *APP)) == {}


def test_a_module_fits_on_a_few_screens():
    assert wrong(lines_too_many, (*MODULES, *APP)) == {}


def test_no_module_can_run_a_pickle():
    assert wrong(able_to_run_a_pickle, (*MODULES, *APP)) == {}


def test_the_rules_find_what_breaks_them(tmp_path: Path, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    bad = tmp_path / "interp" / "results" / "bad.py"
    bad.parent.mkdir(parents=True)
    code = "import pickle\nimport interp.models\nfrom probes.cli import run\n"
    bad.write_text(code + "\n" * MAX_LINES)
    found = {"interp.models", "probes.cli", "probes.cli.run"}
    assert wrong(against_the_direction, [bad]) == {"interp.results.bad": found}
    assert wrong(able_to_run_a_pickle, [bad]) == {"interp.results.bad": {"pickle"}}
    assert wrong(lines_too_many, [bad]) == {"interp.results.bad": 3}


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
