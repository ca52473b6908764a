"""`interp compare`: one JSON object on stdout, words on stderr, the same again."""

import contextlib
import io
import json
import shlex

import pytest

from interp import results
from probes.cli.run import run


@pytest.fixture(scope="module")
def command(facts_family, tmp_path_factory):
    out = tmp_path_factory.mktemp("compare") / "out"
    words = ["compare", facts_family.base, facts_family.post, "--out", out]
    words += ["--statements", facts_family.statements, "--limit", 24]
    words += ["--harmful", facts_family.harmful, "--harmless", facts_family.harmless]
    words += ["--max-new-tokens", 4, "--batch-size", 64, "--json"]
    return [str(word) for word in words]


@pytest.fixture(scope="module")
def first(command):
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        assert run(command) == 0
    return stdout.getvalue(), stderr.getvalue()


def test_stdout_is_one_json_object_with_the_headline_numbers(first):
    stdout, _ = first
    assert stdout.count("\n") == 1
    found = json.loads(stdout)
    assert found["ok"] is True
    truth, refusal = found["studies"]["truthfulness"], found["studies"]["refusal"]
    estimate, low, high = truth["auroc"]["base_direction_in_post"]
    assert low <= estimate <= high
    assert all(0 <= row["refused"][0] <= 1 for row in refusal["rates"])
    assert results.load(truth["run"]).headline() == truth["headline"]


def test_stderr_says_what_was_found_and_where_the_report_is(first):
    stdout, stderr = first
    found = json.loads(stdout)
    for study in found["studies"].values():
        assert study["headline"] in stderr
    assert f"Report: {found['report']}" in stderr


def test_the_command_of_the_report_loads_what_is_there(first, capsys):
    found = json.loads(first[0])
    result = results.load(found["studies"]["refusal"]["run"])
    words = shlex.split(result.provenance.command)
    assert words[0] == "interp"
    assert run([*words[1:], "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["resumed"] == ["truthfulness", "refusal", "knowledge", "confidence"]
    assert again["studies"] == found["studies"]


def test_statement_files_may_follow_one_option(facts_family, tmp_path, capsys):
    text = facts_family.statements.read_text().splitlines()
    for name, rows in (("a.csv", text[1:201:2]), ("b.csv", text[2:202:2])):
        (tmp_path / name).write_text("\n".join([text[0], *rows]))
    words = ["compare", facts_family.base, facts_family.post, "--out", tmp_path / "o"]
    words += ["--statements", tmp_path / "a.csv", tmp_path / "b.csv", "--json"]
    # One label only in each file: both are read, and the first is named.
    assert run([str(word) for word in words]) == 2
    assert "a.csv" in json.loads(capsys.readouterr().out)["error"]["message"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "nothing to compare"),
        (["--statements", "none.csv"], "none.csv"),
        (["--statements", "x.csv", "--limit", "2"], "--limit"),
        (["--harmful", "h.json"], "--harmless"),
        (["--studies", "truht", "--statements", "x.csv"], "truthfulness"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_loaded(
    options, message, tmp_path, capsys
):
    code = run(["compare", "no-base", "no-post", "--out", str(tmp_path), *options])
    assert code == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
