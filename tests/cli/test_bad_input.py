"""Everything a user can get wrong: one clear line, the right exit code, nothing lost.

Each case is a command line. The line on stderr says what happened in the user's words
and what to do; there is never a traceback.
"""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from bad_commands import (
    GOOD,
    Place,
    corrupt_result,
    damaged,
    filled,
    lines,
    occupied,
    pickled,
    remote,
    spoilt,
    truncated,
    unreadable,
)

from probes.cli.run import run


Build = Callable[[Place], list[str]]
CASES: dict[str, tuple[Build, int, str]] = {
    # --- statement files
    "missing file": (
        lambda p: p.compare(statements=p.folder / "nowhere.csv"),
        2,
        r"nowhere\.csv",
    ),
    "a folder for a file": (lambda p: p.compare(statements=p.folder), 2, "folder"),
    "empty file": (lambda p: p.compare(statements=p.write("e.csv", "")), 2, r"e\.csv"),
    "header only": (
        lambda p: p.compare(statements=p.write("h.csv", lines())),
        2,
        r"h\.csv.*no rows",
    ),
    "missing column": (
        lambda p: p.compare(
            statements=p.write("m.csv", GOOD.replace("label", "labell"))
        ),
        2,
        r"m\.csv has no column 'label'.*Did you mean 'labell'",
    ),
    "an odd name of a column": (
        lambda p: p.compare(
            statements=p.write("m.csv", GOOD.replace("statement", "claim"))
        ),
        2,
        r"m\.csv has no column 'statement'.*name it with --statement-column",
    ),
    "a named column that is not there": (
        lambda p: p.compare("--label-column", "truth"),
        2,
        r"good\.csv has no column 'truth'.*'label'.*--label-column",
    ),
    "one class only": (
        lambda p: p.compare(
            statements=p.write("o.csv", lines("Rome is in Italy.,1", "Oslo is big.,1"))
        ),
        2,
        r"o\.csv.*(true|false|label)",
    ),
    "NaN label": (
        lambda p: p.compare(
            statements=p.write("n.csv", GOOD + "Rome is in Italy.,NaN\n")
        ),
        2,
        r"n\.csv.*(row|line) 4[12].*(NaN|nan)",
    ),
    "empty label": (
        lambda p: p.compare(statements=p.write("n.csv", GOOD + "Rome is in Italy.,\n")),
        2,
        r"n\.csv.*(row|line) 4[12]",
    ),
    "label out of range": (
        lambda p: p.compare(
            statements=p.write("r.csv", GOOD + "Rome is in Italy.,2\n")
        ),
        2,
        r"r\.csv.*'2'",
    ),
    "empty statement": (
        lambda p: p.compare(statements=p.write("s.csv", GOOD + ",1\n")),
        2,
        r"s\.csv.*(row|line) 4[12]",
    ),
    "10 MB line": (
        lambda p: p.compare(
            statements=p.write("l.csv", GOOD + "x" * 10_000_000 + ",1\n")
        ),
        2,
        r"Line 42 of .*l\.csv",
    ),
    "binary file": (
        lambda p: p.compare(statements=p.write("b.csv", bytes(range(256)) * 20)),
        2,
        r"b\.csv",
    ),
    "not UTF-8": (
        lambda p: p.compare(
            statements=p.write("u.csv", GOOD.encode() + "Mün,1\n".encode("latin-1"))
        ),
        2,
        r"u\.csv.*UTF-8",
    ),
    "UTF-16": (
        lambda p: p.compare(statements=p.write("w.csv", GOOD.encode("utf-16"))),
        2,
        r"w\.csv.*UTF-16",
    ),
    "ragged row": (
        lambda p: p.compare(statements=p.write("g.csv", GOOD + "a,1,extra,more\n")),
        2,
        r"g\.csv.*line 42",
    ),
    "semicolons": (
        lambda p: p.compare(statements=p.write("c.csv", GOOD.replace(",", ";"))),
        2,
        r"c\.csv.*separated by ';'.*commas.*pandas",
    ),
    "unbalanced quote": (
        lambda p: p.compare(
            statements=p.write("q.csv", GOOD + '"Rome is in Italy.,1\n')
        ),
        2,
        r"q\.csv",
    ),
    "unknown file type": (
        lambda p: p.compare(statements=p.write("x.xlsx", "PK")),
        2,
        r"x\.xlsx.*unknown file type",
    ),
    "broken JSON lines": (
        lambda p: p.compare(
            statements=p.write("j.jsonl", '{"statement": "a", "label": 1}\n{"statem\n')
        ),
        2,
        r"j\.jsonl.*line 2",
    ),
    "JSON of another shape": (
        lambda p: p.compare(statements=p.write("j.json", '{"statement": 3}')),
        2,
        r"j\.json",
    ),
    "too few statements": (
        lambda p: p.compare(
            statements=p.write(
                "f.csv", lines("Rome is in Italy.,1", "Oslo is in Peru.,0")
            )
        ),
        2,
        r"There are 1 true statements in .*f\.csv.*--studies truthfulness",
    ),
    "a data set id, offline": (
        lambda p: p.compare(statements="nobody/nothing"),
        2,
        "nobody/nothing",
    ),
    # --- instruction files
    "instructions without the column": (
        lambda p: p.refusal(p.write("i.json", '[{"instr": "a"}]')),
        2,
        r"i\.json has no column 'instruction'",
    ),
    "an instruction that is a number": (
        lambda p: p.refusal(p.write("i.json", '[{"instruction": 3}]')),
        2,
        r"i\.json.*3",
    ),
    "too few instructions": (
        lambda p: p.refusal(p.write("i.json", '[{"instruction": "Only one."}]')),
        2,
        "1",
    ),
    "harmful without harmless": (
        lambda p: [
            *("compare", str(p.base), str(p.post), "--harmful", str(p.harmful)),
            *("--out", str(p.folder / "out")),
        ],
        2,
        "--harmless",
    ),
    "no data at all": (
        lambda p: ["compare", str(p.base), str(p.post), "--out", str(p.folder / "out")],
        2,
        "--statements",
    ),
    "unknown study": (
        lambda p: p.compare("--studies", "truthfullness"),
        2,
        "truthfullness.*truthfulness",
    ),
    # --- models
    "a folder that is not there": (
        lambda p: p.capture(model=p.folder / "modle"),
        2,
        "modle",
    ),
    "a hub model, offline": (
        lambda p: p.capture(model="nobody/no-such-model"),
        2,
        "nobody/no-such-model.*hf download",
    ),
    "a folder without a model": (lambda p: p.capture(model=p.folder), 2, "config.json"),
    "pickled weights": (
        lambda p: p.capture(model=spoilt(p, pickled)),
        2,
        r"pytorch_model\.bin.*safetensors",
    ),
    "truncated weights": (
        lambda p: p.capture(model=spoilt(p, truncated)),
        2,
        r"model\.safetensors",
    ),
    "remote code": (
        lambda p: p.capture(model=spoilt(p, remote)),
        2,
        "load with trust_rem",
    ),
    "config that is no JSON": (
        lambda p: p.capture(model=spoilt(p, unreadable)),
        2,
        r"config\.json",
    ),
    "unknown device": (lambda p: p.capture("--device", "gpu"), 2, "'gpu'"),
    "no CUDA here": (lambda p: p.capture("--device", "cuda:9"), 2, "cuda"),
    "unknown dtype": (lambda p: p.capture("--dtype", "float61"), 2, "float61"),
    # --- sites, positions, prompts
    "unknown site": (
        lambda p: p.capture("--sites", "resid_pst.*"),
        2,
        "resid_pst.*Did you mean 'resid_post'",
    ),
    "layer out of range": (
        lambda p: p.capture("--sites", "resid_post.7"),
        2,
        "no layer 7.*3 layers, 0 to 2",
    ),
    "a site the model lacks": (
        lambda p: p.capture("--sites", "router.*"),
        2,
        "no site 'router.*no mixture",
    ),
    "a pattern cannot be stored": (
        lambda p: p.capture("--sites", "pattern.0"),
        2,
        r"pattern\.0.*cannot be stored",
    ),
    "unknown position": (
        lambda p: p.capture("--positions", "lst"),
        2,
        "'lst'.*Did you mean 'last'",
    ),
    "a position no prompt has": (
        lambda p: p.capture("--positions", "99"),
        2,
        "99.*tokens",
    ),
    "prompt longer than the context": (
        lambda p: p.capture(data=p.write("t.txt", "word " * 300 + "\n")),
        2,
        "128",
    ),
    "unknown prompt column": (
        lambda p: p.capture("--column", "sentence"),
        2,
        "no column 'sentence'",
    ),
    "no prompt column": (
        lambda p: p.capture(data=p.write("k.csv", "a,b\n1,2\n")),
        2,
        "none of the columns prompt",
    ),
    "unknown store dtype": (
        lambda p: p.capture("--store-dtype", "int8"),
        2,
        "int8",
    ),
    # --- folders
    "out is a file": (
        lambda p: p.capture("--out", p.statements),
        2,
        r"good\.csv",
    ),
    "out holds something else": (
        lambda p: p.capture("--out", occupied(p)),
        2,
        "not a store|other files|not empty",
    ),
    "a different model's store": (
        lambda p: filled(p, p.capture(model=p.post)),
        3,
        "another|differ",
    ),
    "a store of other prompts": (
        lambda p: filled(p, p.capture("--limit", 5)),
        3,
        "another|differ",
    ),
    "a damaged store": (lambda p: damaged(p), 2, r"00000.*(truncated|damaged)"),
    "showing nothing": (lambda p: ["show", str(p.folder / "none")], 2, "none"),
    "showing a folder without results": (
        lambda p: ["show", str(p.folder)],
        2,
        "result",
    ),
    "a corrupt result": (lambda p: ["show", corrupt_result(p)], 2, r"result\.json"),
    "a result of an unknown kind": (
        lambda p: ["show", corrupt_result(p, '{"kind": "Sandwich", "schema": 1}')],
        2,
        "Sandwich|result.json",
    ),
    # --- the command itself
    "unknown command": (lambda p: ["comapre"], 2, "comapre"),
    "unknown option": (lambda p: p.compare("--statments", "x"), 2, "--statments"),
    "missing argument": (lambda p: ["compare"], 2, "(?i)missing argument"),
    "a word for a number": (lambda p: p.capture("--limit", "ten"), 2, "ten"),
    "a negative limit": (lambda p: p.capture("--limit", "-3"), 2, "-3"),
    "facts without columns": (
        lambda p: [
            *("train", "organism", "--facts", str(p.write("z.csv", "a,b\n1,2\n"))),
            *("--out", str(p.folder / "family")),
        ],
        2,
        r"z\.csv",
    ),
    "unknown family": (
        lambda p: ["train", "organism", "--family", "fact", "--out", str(p.folder)],
        2,
        "fact",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_ends_with_one_clear_line(name, place, capsys):
    build, expected_code, message = CASES[name]
    command = build(place)
    before = snapshot(place.folder)
    capsys.readouterr()
    code = run(command)
    said = capsys.readouterr()
    errors = [line for line in said.err.splitlines() if "interp: error:" in line]
    assert code == expected_code, said.err
    assert len(errors) == 1, said.err
    assert re.search(message, errors[0]), errors[0]
    assert "Traceback" not in said.err
    assert said.out == ""
    # Nothing that was there is gone or changed.
    after = snapshot(place.folder)
    assert {path: after.get(path) for path in before} == before


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_there_are_enough_cases():
    assert len(CASES) >= 40
