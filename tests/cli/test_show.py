"""`interp show` on results, runs and folders, without torch."""

import json
import subprocess
import sys

import pytest
from sample_results import refusal, truthfulness
from tiny import saved_tiny_model

from interp.provenance import record
from interp.results import open_run
from probes.cli.run import run
from probes.studies.truthfulness.spec import TruthfulnessSpec


@pytest.fixture
def folder(tmp_path):
    spec = TruthfulnessSpec(base="a", post="b", statements=("s.csv",))
    for seed, result in enumerate((truthfulness(), None)):
        opened = open_run(
            tmp_path,
            study="truthfulness",
            models=["a", "b"],
            spec=spec,
            provenance=record("truthfulness"),
            content=[str(seed)],
        )
        if result is not None:
            opened.finish(result)
    return tmp_path


@pytest.mark.parametrize("make", [truthfulness, refusal])
def test_a_result_is_shown_with_its_headline_and_a_table(make, tmp_path, capsys):
    result = make()
    assert run(["show", str(result.save(tmp_path / "r"))]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert result.headline() in said.err
    assert "│" in said.err


@pytest.mark.parametrize("make", [truthfulness, refusal])
def test_a_result_as_json(make, tmp_path, capsys):
    result = make()
    result.save(tmp_path / "r")
    assert run(["show", str(tmp_path / "r" / "result.json"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is True
    assert found["kind"] == result.KIND
    assert found["headline"] == result.headline()


def test_a_folder_of_runs_is_listed(folder, capsys):
    assert run(["show", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {row["state"] for row in found["runs"]} == {"finished", "unfinished"}
    assert run(["show", str(folder)]) == 0
    said = capsys.readouterr().err
    assert truthfulness().headline() in said
    assert "no result yet" in said


def test_nothing_to_show_is_one_clear_line(tmp_path, capsys):
    for path in (tmp_path, tmp_path / "none"):
        assert run(["show", str(path)]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert str(path) in said


def test_a_damaged_result_is_named(tmp_path, capsys):
    folder = truthfulness().save(tmp_path / "r")
    (folder / "arrays.safetensors").write_bytes(b"nothing")
    assert run(["show", str(folder)]) == 2
    assert "arrays.safetensors" in capsys.readouterr().err


def test_showing_imports_neither_torch_nor_a_model_library(folder):
    code = (
        "import sys\n"
        "from probes.cli.run import run\n"
        f"assert run(['show', {str(folder)!r}]) == 0\n"
        "heavy = {'torch', 'transformers', 'transformer_lens', 'datasets'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_store_is_told_from_a_result(tmp_path, capsys):
    model = str(saved_tiny_model(tmp_path))
    (tmp_path / "prompts.txt").write_text("one two\nthree four\n")
    store = str(tmp_path / "store")
    data = str(tmp_path / "prompts.txt")
    assert run(["capture", model, data, "--out", store]) == 0
    assert run(["show", store]) == 2
    assert "is a store of activations" in capsys.readouterr().err
