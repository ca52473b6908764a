"""`interp track` from the outside: results, report, exit codes, one-line errors."""

import json
from pathlib import Path

import pytest
from tiny import saved_tiny_model

from probes.cli.run import run


@pytest.fixture(scope="module")
def series(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("series")
    for number in range(6):
        folder = saved_tiny_model(place, seed=number)
        folder.rename(place / f"checkpoint-{number * 10}")
    return place


SMALL = ["--n-sequences", "3", "--n-tokens", "16"]


def test_a_series_gives_a_result_a_report_and_sentences(series, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["track", str(series), "--out", str(out), *SMALL]
    metrics = "prefix_matching,loss,copying,composition,entropy_neurons"
    assert run([*arguments, "--metrics", metrics, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is True
    assert found["checkpoints"] == 6
    assert found["failed"] == {}
    assert {"loss", "prefix_matching (highest head)"} <= set(found["phases"])
    assert "entropy_neurons_null_fraction" in found["last"]
    page = (out / "report.html").read_text()
    assert "over training" in page
    assert run(["show", str(next(out.glob("track/*/*")))]) == 0
    assert "Heads over training" in capsys.readouterr().err


def test_some_that_failed_are_named_and_are_exit_code_four(tmp_path, series, capsys):
    place = tmp_path / "s"
    place.mkdir()
    for folder in series.iterdir():
        (place / folder.name).symlink_to(folder)
    (place / "checkpoint-60").mkdir()
    arguments = ["track", str(place), "--out", str(tmp_path / "o"), *SMALL]
    assert run([*arguments, "--metrics", "loss"]) == 4
    assert "Passed over checkpoint-60: The folder" in capsys.readouterr().err
    assert (tmp_path / "o" / "report.html").is_file()


def test_data_brings_its_metrics(tmp_path, series, capsys):
    rows = ["statement,label,group"]
    for number in range(8):
        rows += [f"Yes {number} is so.,1,g{number}", f"No {number} is so.,0,g{number}"]
    (tmp_path / "s.csv").write_text("\n".join(rows))
    for name, word in (("harmful", "bomb"), ("harmless", "poem")):
        texts = [f"Write a {word} number {i}" for i in range(12)]
        (tmp_path / f"{name}.json").write_text(json.dumps(texts))
    arguments = ["track", str(series), "--out", str(tmp_path / "o"), *SMALL, "--json"]
    arguments += ["--statements", str(tmp_path / "s.csv")]
    for name in ("harmful", "harmless"):
        arguments += [f"--{name}", str(tmp_path / f"{name}.json")]
    assert run([*arguments, "--revisions", "checkpoint-[34]0"]) == 0
    last = json.loads(capsys.readouterr().out)["last"]
    assert last["truth_direction_auroc"] == 1.0
    assert last["truth_probe_accuracy"] == 1.0
    assert last["truth_direction (cosine to the last)"] == pytest.approx(1.0)
    assert last["refusal_direction_auroc"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--metrics", "prefix_maching"], "Did you mean 'prefix_matching'"),
        (["--metrics", "truth"], "needs --statements"),
        (["--metrics", "refusal"], "needs --harmful and --harmless"),
        (["--revisions", "step7"], "no checkpoint 'step7'"),
        (["--n-tokens", "4"], "--n-tokens"),
        (["--tokens-per-step", "nan"], "tokens_per_step is nan"),
        (["--tokens-per-step", "-1"], "tokens_per_step is -1.0"),
    ],
)
def test_a_wrong_option_is_one_clear_line(arguments, message, series, tmp_path, capsys):
    assert run(["track", str(series), "--out", str(tmp_path / "o"), *arguments]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert message in said


def test_no_series_is_one_clear_line(tmp_path, capsys):
    assert run(["track", str(tmp_path), "--out", str(tmp_path / "o")]) == 2
    assert "holds no checkpoints" in capsys.readouterr().err
