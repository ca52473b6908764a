"""`interp explore` before it serves: one line for everything that cannot work."""

import importlib.util
import socket

import pytest
from sample_results import truthfulness

from probes.cli import explore as module
from probes.cli.run import run


pytestmark = pytest.mark.xdist_group("explorer")


@pytest.fixture
def served(monkeypatch):
    calls = []
    monkeypatch.setattr(module, "_serve", lambda *given: calls.append(given) or 0)
    return calls


def said(capsys) -> list[str]:
    return capsys.readouterr().err.strip().splitlines()


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: path / "none", "There is no folder"),
        (lambda path: path, "There are no results in"),
    ],
)
def test_a_folder_without_results_is_one_line(make, expected, tmp_path, capsys, served):
    assert run(["explore", str(make(tmp_path))]) == 2
    (line,) = said(capsys)
    assert expected in line
    assert not served


def test_without_streamlit_it_names_the_extra(tmp_path, capsys, monkeypatch, served):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name: None if name == "streamlit" else real(name),
    )
    assert run(["explore", str(tmp_path)]) == 2
    assert "interp[explorer]" in said(capsys)[0]
    assert not served


def test_a_taken_port_is_one_line_and_another_is_found(tmp_path, capsys, served):
    truthfulness().save(tmp_path / "r")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert run(["explore", str(tmp_path), "--port", str(port)]) == 2
        assert str(port) in said(capsys)[0]
    assert run(["explore", str(tmp_path)]) == 0
    app, arguments, chosen = served[0]
    assert app.name == "app.py"
    assert arguments == [str(tmp_path.resolve()), "--device=auto"]
    assert f"http://127.0.0.1:{chosen}" in said(capsys)[0]


def test_a_model_is_handed_on_and_a_wrong_one_is_one_line(tmp_path, capsys, served):
    truthfulness().save(tmp_path / "r")
    assert (
        run(["explore", str(tmp_path), "--model", "owner/m", "--revision", "v1"]) == 0
    )
    assert served[0][1][1:] == ["--model=owner/m", "--device=auto", "--revision=v1"]
    assert "/lab" in said(capsys)[1]
    assert run(["explore", str(tmp_path), "--model", str(tmp_path / "none")]) == 2
    assert "none" in said(capsys)[0]
    assert run(["explore", str(tmp_path), "--model", str(tmp_path)]) == 2
    assert "config.json" in said(capsys)[0]
    assert run(["explore", str(tmp_path), "--revision", "v1"]) == 2
    assert "--model" in said(capsys)[0]
    assert len(served) == 1


def test_help_says_what_it_does(capsys):
    assert run(["explore", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--model" in shown
    assert "Lab" in shown
