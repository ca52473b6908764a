"""`interp study`: one study from a file of settings."""

import json
import tomllib

import pandas as pd
import pytest

from interp.config import read_spec
from probes.cli.run import run
from probes.studies.truthfulness.spec import TruthfulnessSpec


@pytest.fixture
def config(facts_family, tmp_path):
    path = tmp_path / "truth.toml"
    path.write_text(
        f'base = "{facts_family.base}"\npost = "{facts_family.post}"\n'
        f'statements = ["{facts_family.statements}"]\n'
        "limit = 80\npermutations = 20\nresamples = 100\n"
        "asked_validation = 8\nasked_test = 8\ncontrols = 1\n"
    )
    return path


def test_a_study_runs_from_a_file_and_its_own_settings_repeat_it(
    config, tmp_path, capsys
):
    out = tmp_path / "results"
    words = ["study", "truthfulness", str(config), "--out", str(out), "--json"]
    assert run([*words, "--set", "seed=2"]) == 0
    first = json.loads(capsys.readouterr().out)
    folder = first["studies"]["truthfulness"]["run"]
    again = ["study", "truthfulness", f"{folder}/spec.toml", "--out", str(out)]
    assert read_spec(f"{folder}/spec.toml", TruthfulnessSpec).seed == 2
    assert run([*again, "--json"]) == 0
    second = json.loads(capsys.readouterr().out)
    assert second["resumed"] == ["truthfulness"]
    assert second["studies"]["truthfulness"] == first["studies"]["truthfulness"]


def test_a_dry_run_reads_everything_and_writes_nothing(
    config, facts_family, tmp_path, capsys
):
    out = tmp_path / "results"
    words = ["study", "truthfulness", str(config), "--out", str(out), "--dry-run"]
    table = pd.read_csv(facts_family.statements)
    table.rename(columns={"statement": "claim"}).to_csv(tmp_path / "c.csv", index=False)
    words += ["--set", f'statements=["{tmp_path}/c.csv"]']
    words += ["--statement-column", "claim"]
    assert run([*words, "--set", "strength=2.5", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["settings"]["statement_column"] == "claim"
    assert shown["settings"]["strength"] == 2.5
    assert shown["rows"] == 80
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["truth", "{config}"], "no study 'truth'"),
        (["induction", "{config}"], "interp track SERIES"),
        (["truthfulness", "missing.toml"], "no settings file 'missing.toml'"),
        (["truthfulness", "{config}", "--set", "sead=1"], "sead"),
        (["refusal", "{config}"], "statements"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(words, message, config, capsys):
    given = [word.replace("{config}", str(config)) for word in words]
    assert run(["study", *given]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.strip().splitlines()) == 1


def test_the_example_of_the_help_is_toml(capsys):
    assert run(["study", "--help"]) == 0
    said = capsys.readouterr().out
    example = said.split("for example")[1].split("Arguments:")[0]
    assert set(tomllib.loads(example)) == {"base", "post", "statements"}
