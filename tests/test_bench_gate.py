"""The gate of `make bench`: what it lets pass, what it fails, what it stores."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest


FOLDER = Path(__file__).parents[1] / "benchmarks"


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"bench_{name}", FOLDER / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by its name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def gate():
    return _module("gate.py")


@pytest.fixture(scope="module")
def runner(gate):
    sys.modules["gate"] = gate
    yield _module("__main__.py")
    del sys.modules["gate"]


@pytest.mark.parametrize(
    ("better", "value", "passes"),
    [
        ("lower", 1.19, True),
        ("lower", 1.21, False),
        ("lower", 0.1, True),
        ("higher", 1 / 1.19, True),
        ("higher", 1 / 1.21, False),
        ("higher", 10.0, True),
        ("higher", 0.0, False),
        ("lower", 0.0, False),
        ("lower", -1.0, False),
        ("lower", float("nan"), False),
        ("higher", float("inf"), False),
    ],
)
def test_a_fifth_worse_fails_and_so_does_what_is_no_number(gate, better, value, passes):
    ratio = gate.Ratio(name="a: b", value=value, better=better)
    (row,) = gate.compare([ratio], {"a: b": 1.0})
    assert row.passes is passes
    assert row.verdict == ("ok" if passes else "WORSE")


def test_a_new_ratio_passes_and_a_lost_one_is_named(gate):
    ratio = gate.Ratio(name="a: new", value=5.0, better="lower")
    stored = {"a: old": 1.0, "other: old": 1.0, "ab: old": 1.0}
    (row,) = gate.compare([ratio], stored)
    assert row.passes
    assert row.verdict == "new"
    assert gate.missing([ratio], stored, ["a"]) == ("a: old",)


def test_the_best_of_runs_is_kept_by_what_is_better(gate):
    def run(low: float, high: float):
        return (
            gate.Ratio(name="x: low", value=low, better="lower"),
            gate.Ratio(name="x: high", value=high, better="higher"),
        )

    values = {r.name: r.value for r in gate.best(run(2.0, 3.0), run(1.0, 4.0))}
    assert values == {"x: low": 1.0, "x: high": 4.0}
    values = {r.name: r.value for r in gate.best(run(2.0, 3.0), run(0.0, 1.0))}
    assert values == {"x: low": 2.0, "x: high": 3.0}
    assert [r.value for r in gate.middle([run(1, 1), run(5, 2), run(2, 9)])] == [2, 2]


def test_storing_replaces_what_ran_and_keeps_the_rest(gate, tmp_path):
    path = tmp_path / "stored.json"
    one = gate.Ratio(name="one: x", value=1.23456, better="lower")
    two = gate.Ratio(name="two: x", value=2.0, better="higher")
    gate.store(path, [one, two], {"load": 9})
    renamed = gate.Ratio(name="one: y", value=3.0, better="lower")
    gate.store(path, [renamed], {"load": 1})
    assert gate.read_stored(path) == {"one: y": 3.0, "two: x": 2.0}
    about = json.loads(path.read_text())["about"]
    assert about == {"one": {"load": 1}, "two": {"load": 9}}
    before = path.read_bytes()
    broken = gate.Ratio(name="one: y", value=float("nan"), better="lower")
    with pytest.raises(ValueError, match="one: y is not positive"):
        gate.store(path, [broken], {})
    assert path.read_bytes() == before


def test_a_report_without_ratios_is_an_error(gate):
    with pytest.raises(ValueError, match="no ratios"):
        gate.ratios_of({"ratios": []}, "x")
    with pytest.raises(ValueError, match="better 'more'"):
        gate.ratios_of({"ratios": [{"name": "a", "value": 1, "better": "more"}]}, "x")


def _script(folder: Path, values: list[float]) -> None:
    """A benchmark that reports the next of these values each time it runs."""
    (folder / "next").write_text("0")
    (folder / "fake.py").write_text(
        "import json, pathlib\n"
        "at = pathlib.Path(__file__).with_name('next')\n"
        "n = int(at.read_text()); at.write_text(str(n + 1))\n"
        f"one = dict(name='x', value={values}[n], better='lower')\n"
        "print(json.dumps({'ratios': [one]}))\n"
    )


@pytest.fixture
def bench(runner, tmp_path, monkeypatch):
    """The command on one stand-in of a script: exit code, and the table."""
    fake = runner.Benchmark(name="fake", arguments=())
    monkeypatch.setattr(runner, "HERE", tmp_path)
    monkeypatch.setattr(runner, "BENCHMARKS", (fake,))

    def command(*arguments: str) -> tuple[int, str]:
        files = [f"--stored={tmp_path / 's.json'}", f"--table={tmp_path / 't.md'}"]
        monkeypatch.setattr(
            sys, "argv", ["benchmarks", "--only=fake", *files, *arguments]
        )
        return runner.main(), (tmp_path / "t.md").read_text()

    return command


def test_what_seems_worse_is_run_again_and_the_best_counts(bench, tmp_path):
    _script(tmp_path, [1.0, 1.3, 1.1])
    assert bench("--update")[0] == 0
    code, table = bench()
    assert code == 0
    assert "| fake: x | 1.1 | lower | 1 | 1.10 | ok |" in table
    assert "best of 2 runs" in table


def test_what_stays_worse_fails_after_three_runs(bench, tmp_path):
    _script(tmp_path, [1.0, 1.5, 1.3, 1.4])
    bench("--update")
    code, table = bench()
    assert code == 1
    assert "| fake: x | 1.3 | lower | 1 | 1.30 | WORSE |" in table
    assert (tmp_path / "next").read_text() == "4"
    assert json.loads((tmp_path / "s.json").read_text())["ratios"][0]["value"] == 1.0


def test_a_script_that_ends_with_an_error_fails(bench, tmp_path):
    (tmp_path / "fake.py").write_text("raise SystemExit('no such luck')")
    code, table = bench()
    assert code == 1
    assert "no such luck" in table
    code, _ = bench("--update")
    assert code == 1
    assert not (tmp_path / "s.json").exists()


def test_an_interrupted_update_keeps_what_ended_and_what_was_stored(
    gate, runner, tmp_path, monkeypatch
):
    stored, table = tmp_path / "s.json", tmp_path / "t.md"
    names = ("one", "two", "three")
    before = [gate.Ratio(name=f"{n}: x", value=1.0, better="lower") for n in names]
    gate.store(stored, before, {})

    def run(benchmark, limit):
        if benchmark.name == "two":
            raise KeyboardInterrupt
        return (gate.Ratio(name=f"{benchmark.name}: x", value=2.0, better="lower"),)

    benchmarks = tuple(runner.Benchmark(name=name, arguments=()) for name in names)
    monkeypatch.setattr(runner, "BENCHMARKS", benchmarks)
    monkeypatch.setattr(runner, "run", run)
    words = ["benchmarks", f"--only={','.join(names)}", "--update", "--runs=2"]
    monkeypatch.setattr(sys, "argv", [*words, f"--stored={stored}", f"--table={table}"])
    with pytest.raises(KeyboardInterrupt):
        runner.main()
    assert gate.read_stored(stored) == {"one: x": 2.0, "two: x": 1.0, "three: x": 1.0}
    lines = table.read_text().splitlines()[2:]
    assert lines[0] == "| one: x | 2 | lower | 2 | 1.00 | ok |"
    assert [line[:10] for line in lines[1:]] == ["| three: x", "| two: x |"]
    assert all(line.endswith("| not run |") for line in lines[1:])
    assert {path.name for path in tmp_path.iterdir()} == {"s.json", "t.md"}


def test_every_stored_ratio_belongs_to_a_script_that_is_there(gate, runner):
    names = {benchmark.name for benchmark in (*runner.BENCHMARKS, runner.GPU)}
    stored = {
        name.partition(": ")[0] for name in gate.read_stored(FOLDER / "stored.json")
    }
    assert stored
    assert stored <= names
    assert all((FOLDER / f"{name}.py").is_file() for name in names)


def test_an_unknown_name_is_refused():
    done = subprocess.run(
        [sys.executable, str(FOLDER), "--only", "captures"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "no benchmark 'captures'" in done.stderr
