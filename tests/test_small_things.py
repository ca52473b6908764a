"""What every start pays for: which packages are imported, and how long `--help` takes.

Sets of packages rather than times, since those say what to change and do not depend on
the machine; `benchmarks/small.py` has the times.
"""

import gc
import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from sample_results import truthfulness
from tiny import tiny_model

from interp.lazy import lazy_names


resource = pytest.importorskip("resource", reason="child times need POSIX")

MODELS = ("torch", "transformers", "transformer_lens", "nnsight", "datasets")
NUMBERS = ("numpy", "pandas", "scipy", "sklearn", "pyarrow")
SHOWN = ("plotly", "streamlit", "pydantic", "ray")
# Four times what it takes on one busy core.
HELP_CPU_SECONDS = 0.5
COMMAND = "from probes.cli.run import run; assert run({}) == 0"


def heavy_after(code: str, heavy: tuple[str, ...], *arguments: str) -> str:
    """Which of these packages a fresh process holds after running some code."""
    code += f"\nimport sys\nprint('heavy', sorted(set({heavy!r}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].removeprefix("heavy ")


def test_importing_either_package_imports_nothing_heavy():
    heavy = (*MODELS, *NUMBERS, *SHOWN, "typer", "rich")
    assert heavy_after("import interp, probes", heavy) == "[]"


def test_help_imports_nothing_heavy_and_takes_half_a_second():
    code = COMMAND.format(["--help"])
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert heavy_after(code, (*MODELS, *NUMBERS, *SHOWN)) == "[]"
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert spent < HELP_CPU_SECONDS


def test_showing_a_result_imports_neither_models_nor_figures(tmp_path: Path):
    folder = truthfulness().save(tmp_path / "result")
    heavy = (*MODELS, "scipy", "sklearn", "plotly", "streamlit", "ray")
    assert heavy_after(COMMAND.format(["show", str(folder)]), heavy) == "[]"


def test_a_first_result_imports_only_what_it_needs(tmp_path: Path):
    """The second start with a model: TransformerLens has said where its sites are."""
    import interp

    tiny_model("llama").save_pretrained(tmp_path)
    # Remembers the map, as the first start with this model does.
    assert interp.load(tmp_path).architecture.blocks
    code = (
        "import sys, numpy as np, interp, probes\n"
        "model = interp.load(sys.argv[1])\n"
        "prompts = [[5 + i, 6, 7] for i in range(20)]\n"
        "acts = interp.capture(model, prompts, sites='resid_post.*')\n"
        "controls = probes.Controls(permutations=5, resamples=10)\n"
        "probes.sweep(acts, np.arange(20) % 2 == 0, controls=controls)"
    )
    # transformers imports a part of scipy itself, for losses; its statistics, slower to
    # import than all the rest of it, only we would.
    heavy = (
        *MODELS[2:],
        "scipy.stats",
        "sklearn",
        *SHOWN[:2],
        "ray",
    )
    assert heavy_after(code, heavy, str(tmp_path)) == "[]"


@pytest.mark.parametrize("enabled", [True, False])
def test_a_name_is_imported_without_the_collector_which_is_as_it_was_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, enabled: bool
):
    (tmp_path / "first_use.py").write_text("import gc\nSEEN = gc.isenabled()\n")
    (tmp_path / "broken_use.py").write_text("raise ImportError('broken')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "first_use", raising=False)
    importlib.invalidate_caches()
    monkeypatch.setitem(sys.modules, "lazy_owner", ModuleType("lazy_owner"))
    names = {"SEEN": "first_use", "BROKEN": "broken_use"}
    getattribute, _ = lazy_names("lazy_owner", names)
    (gc.enable if enabled else gc.disable)()
    try:
        assert getattribute("SEEN") is False
        with pytest.raises(ImportError, match="broken"):
            getattribute("BROKEN")
        assert gc.isenabled() is enabled
    finally:
        gc.enable()
