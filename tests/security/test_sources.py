"""No source of the toolkit holds a call that can run what a file or a server says."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path
    for folder in ("interp", "probes", "apps", "benchmarks", "examples", "docs/hooks")
    for path in (ROOT / folder).rglob("*.py")
)
MODULES = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "telnetlib"}
CALLS = {
    "torch.load": "opens a pickle",
    "torch.hub.load": "runs code of a repository",
    "np.load": "may open a pickle",
    "numpy.load": "may open a pickle",
    "pd.read_pickle": "opens a pickle",
    "pandas.read_pickle": "opens a pickle",
    "yaml.load": "may make any object",
    "yaml.unsafe_load": "makes any object",
    "eval": "runs a text",
    "exec": "runs a text",
    "compile": "makes code of a text",
    "os.system": "runs a text in a shell",
    "os.popen": "runs a text in a shell",
    "tempfile.mktemp": "gives a name that another may take",
    "tarfile.open": "may write outside of its folder",
    "shutil.unpack_archive": "may write outside of its folder",
}
# What NDIF is to run is written so and sent; nothing of the kind is read.
ALLOWED = {"interp/models/traced_remote.py: import cloudpickle"}
NETWORK = {"urlopen", "get", "post", "put", "request"}
CLIENTS = ("requests", "httpx", "urllib.request", "urlopen")


def called(node: ast.Call) -> str:
    return ast.unparse(node.func)


def keywords(node: ast.Call) -> dict[str | None, ast.expr]:
    return {one.arg: one.value for one in node.keywords}


def is_true(value: ast.expr | None) -> bool:
    # Anything but a plain False or nothing: a name might be true.
    plain = isinstance(value, ast.Constant) and not value.value
    return value is not None and not plain


def found(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] in MODULES:
                    yield f"import {alias.name}"
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from [f"from {node.module}"] * (node.module.split(".")[0] in MODULES)
        if not isinstance(node, ast.Call):
            continue
        name, given = called(node), keywords(node)
        if name in CALLS:
            yield f"{name}: {CALLS[name]}"
        if is_true(given.get("shell")):
            yield f"{name}(shell=...)"
        if is_true(given.get("allow_pickle")):
            yield f"{name}(allow_pickle=...)"
        trusts = given.get("trust_remote_code")
        if isinstance(trusts, ast.Constant) and trusts.value:
            yield f"{name}(trust_remote_code=True)"
        client = name.startswith(CLIENTS) and name.split(".")[-1] in NETWORK
        if client and "timeout" not in given:
            yield f"{name} without a timeout"


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(x)",
        "np.load(x, allow_pickle=True)",
        "yaml.load(x)",
        "eval(x)",
        "subprocess.run(x, shell=True)",
        "subprocess.run(x, shell=maybe)",
        "tempfile.mktemp()",
        "requests.get(x)",
        "urlopen(x)",
        "f(trust_remote_code=True)",
    ],
)
def test_the_scan_sees_what_it_looks_for(text):
    assert list(found(text))


def test_what_is_harmless_is_not_found():
    harmless = (
        "re.compile(x); subprocess.run([x], shell=False); values.get(x);"
        "model.eval(); urlopen(x, timeout=5); f(trust_remote_code=asked)"
    )
    assert not list(found(harmless))


def test_no_source_runs_what_a_file_says():
    assert len(SOURCES) > 300
    problems = {
        f"{path.relative_to(ROOT)}: {problem}"
        for path in SOURCES
        for problem in found(path.read_text(encoding="utf-8"))
    }
    assert problems <= ALLOWED
