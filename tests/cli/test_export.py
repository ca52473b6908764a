"""`interp export`: every format comes back, and every mistake is one line."""

import html
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from sample_results import truthfulness

from interp.directions import Direction, save
from interp.interchange import read_control_vector, read_vector
from probes.cli.run import run
from probes.studies.directions import FOLDER, keep


def found_at(layer: int, *, name: str = "owner/post") -> Direction:
    vector = np.random.default_rng(layer).normal(size=16)
    direction = Direction.from_vector(vector, site=f"resid_post.{layer}")
    return replace(direction, model=name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A run with a result and the directions of two layers."""
    path = tmp_path_factory.mktemp("run")
    truthfulness().save(path / "result")
    kept = {"truth-base": found_at(0), "truth-post": found_at(3)}
    keep(path / FOLDER, kept)
    return path


def said(capsys) -> str:
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


@pytest.mark.parametrize("place", ["", "result"])
def test_tables_come_back(place, folder, tmp_path):
    rows = truthfulness().to_dataframe()
    for to in ("csv", "parquet"):
        file = tmp_path / f"rows.{to}"
        assert run(["export", str(folder / place), "--to", to, str(file)]) == 0
    assert_frame_equal(pd.read_parquet(tmp_path / "rows.parquet"), rows)
    back = pd.read_csv(tmp_path / "rows.csv")
    assert [*back.columns] == [*rows.columns]
    np.testing.assert_allclose(back["auroc"], rows["auroc"], rtol=1e-6)


def test_a_page_needs_no_network(folder, tmp_path, capsys):
    file = tmp_path / "r.html"
    assert run(["export", str(folder), "--to", "html", str(file), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["bytes"] == file.stat().st_size
    page = file.read_text()
    assert html.escape(truthfulness().headline()) in page
    assert 'src="http' not in page


def test_the_python_opens_the_result(folder, tmp_path, monkeypatch, capsys):
    file = tmp_path / "r.py"
    assert run(["export", str(folder), "--to", "python", str(file)]) == 0
    shown = []
    monkeypatch.setattr(
        "plotly.graph_objects.Figure.show", lambda figure: shown.append(figure)
    )
    exec(file.read_text(), {})
    assert len(shown) > 3


def test_directions_come_back_from_other_programs(folder, tmp_path):
    pytest.importorskip("gguf")
    post = ["--direction", "truth-post"]
    file = tmp_path / "v.gguf"
    assert run(["export", str(folder), "--to", "gguf", str(file), *post]) == 0
    (back,) = read_control_vector(file)
    np.testing.assert_allclose(back.vector, found_at(3).vector, rtol=1e-6)
    file = tmp_path / "v.json"
    more = ["--model-id", "m", "--label", "truth"]
    arguments = ["export", str(folder / "result"), "--to", "neuronpedia", str(file)]
    assert run([*arguments, *post, *more]) == 0
    vector = read_vector(file)
    np.testing.assert_allclose(vector.vector, found_at(3).vector, rtol=1e-5)
    assert (vector.model, vector.rule, vector.layer) == ("m", "truth", 3)


def test_the_file_of_a_direction_is_enough(folder, tmp_path):
    file = tmp_path / "v.json"
    place = folder / FOLDER / "truth-post.safetensors"
    assert run(["export", str(place), "--to", "neuronpedia", str(file)]) == 0
    assert read_vector(file).layer == 3


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--to", "gguf"], "--direction truth-base"),
        (["--to", "gguf", "--direction", "truth-pots"], "Did you mean 'truth-post'"),
        (["--to", "gguf", "--direction", "truth-base"], "direction.0"),
        (
            [
                *("--to", "neuronpedia"),
                *("--direction", "truth-base", "--direction", "truth-post"),
            ],
            "holds one vector",
        ),
        (["--to", "csv", "--label", "x"], "do nothing with --to csv"),
        (["--to", "png"], "not one of"),
    ],
)
def test_what_cannot_be_written_is_one_line(
    arguments, expected, folder, tmp_path, capsys
):
    file = tmp_path / "out"
    assert run(["export", str(folder), str(file), *arguments]) == 2
    assert expected in said(capsys)
    assert not file.exists()


def test_directions_of_two_models_are_no_control_vector(tmp_path, capsys):
    kept = {"a": found_at(1), "b": found_at(2, name="owner/other")}
    keep(tmp_path / FOLDER, kept)
    both = ["--direction", "a", "--direction", "b"]
    file = tmp_path / "v.gguf"
    assert run(["export", str(tmp_path), "--to", "gguf", str(file), *both]) == 3
    assert "one model" in said(capsys)


@pytest.mark.parametrize(
    ("to", "expected"),
    [("csv", "There is no folder"), ("neuronpedia", "There is no folder")],
)
def test_an_absent_result_is_one_line(to, expected, tmp_path, capsys):
    file = tmp_path / "out"
    assert run(["export", str(tmp_path / "none"), "--to", to, str(file)]) == 2
    assert expected in said(capsys)


def test_a_run_without_directions_says_which_have_them(tmp_path, capsys):
    truthfulness().save(tmp_path / "result")
    file = tmp_path / "out"
    assert run(["export", str(tmp_path), "--to", "gguf", str(file)]) == 2
    assert "truthfulness and refusal studies" in said(capsys)


def test_other_files_are_no_directions(tmp_path, capsys):
    place = tmp_path / "weights.safetensors"
    place.write_bytes(b"no")
    file = tmp_path / "out"
    assert run(["export", str(place), "--to", "neuronpedia", str(file)]) == 2
    assert "weights.safetensors" in said(capsys)


def test_a_file_that_is_there_is_replaced_only_if_asked(folder, tmp_path, capsys):
    file = tmp_path / "rows.csv"
    file.write_text("mine")
    arguments = ["export", str(folder), "--to", "csv", str(file)]
    assert run(arguments) == 2
    assert "--force" in said(capsys)
    assert file.read_text() == "mine"
    assert run(["export", str(folder), "--to", "csv", str(tmp_path)]) == 2
    assert "is a folder" in said(capsys)
    assert run([*arguments, "--force"]) == 0
    assert file.read_text() != "mine"


def test_exporting_imports_no_torch(folder, tmp_path):
    code = (
        "import sys\n"
        "from probes.cli.run import run\n"
        "assert run(sys.argv[1:]) == 0\n"
        "print('torch' in sys.modules)"
    )
    for to, more in (("html", []), ("neuronpedia", ["--direction", "truth-post"])):
        file = tmp_path / f"out.{to}"
        done = subprocess.run(
            [
                *(sys.executable, "-c", code),
                *("export", str(folder), "--to", to, str(file), *more),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.strip() == "False", done.stderr


def test_a_direction_of_a_file_keeps_its_facts(tmp_path):
    place = save(found_at(3), tmp_path / "d.safetensors")
    file = tmp_path / "v.json"
    assert run(["export", str(place), "--to", "neuronpedia", str(file)]) == 0
    payload = json.loads(file.read_text())
    assert payload["modelId"] == "post"
    assert payload["vectorDefaultSteerStrength"] == pytest.approx(found_at(3).scale)
