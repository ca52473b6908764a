"""Everything a user can get wrong: one clear line, the right exit code, nothing lost.

Each case is a command line. The line on stderr says what happened in the user's words
and what to do; there is never a traceback.
"""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny import saved_tiny_model

from interp.errors import InterpError
from probes.cli.run import run


GOOD = "statement,label\n" + "".join(
    f"The city of Town{i} is in Land{i % 5}.,{i % 2}\n" for i in range(40)
)
INSTRUCTIONS = json.dumps(
    [{"instruction": f"Write about topic {i}."} for i in range(40)]
)


class Place:
    """A folder with good files and good models, to be spoilt by a case."""

    def __init__(self, folder: Path, base: Path, post: Path) -> None:
        self.folder = folder
        self.base = base
        self.post = post
        self.statements = self.write("good.csv", GOOD)
        self.harmful = self.write("harmful.json", INSTRUCTIONS)
        self.harmless = self.write(
            "harmless.json", INSTRUCTIONS.replace("Write", "Sing")
        )

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        data = content.encode() if isinstance(content, str) else content
        path.write_bytes(data)
        return path

    def compare(self, *options: object, statements: object = None) -> list[str]:
        """A compare command, whose statement file may be a spoilt one."""
        file = statements if statements is not None else self.statements
        command = ["compare", self.base, self.post, "--statements", file]
        command += ["--out", self.folder / "out", *options]
        return [str(word) for word in command]

    def refusal(self, harmful: object, *options: object) -> list[str]:
        command = ["compare", self.base, self.post, "--harmful", harmful]
        command += ["--harmless", self.harmless, "--out", self.folder / "out", *options]
        return [str(word) for word in command]

    def capture(self, *options: object, data: object = None, model: object = None):
        words = ["capture", model or self.base, data or self.statements]
        words += [] if "--out" in options else ["--out", self.folder / "store"]
        return [str(word) for word in (*words, *options)]


@pytest.fixture(scope="session")
def tiny_pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    base = saved_tiny_model(folder / "base", "llama")
    post = saved_tiny_model(folder / "post", "gpt2")
    return Path(base), Path(post)


@pytest.fixture
def place(tmp_path, tiny_pair):
    return Place(tmp_path, *tiny_pair)


def lines(*rows: str, header: str = "statement,label") -> str:
    return "\n".join((header, *rows)) + "\n"


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
        r"c\.csv.*comma",
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
        r"(f\.csv|statements|groups|entities)",
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


def spoilt(place: Place, spoil: Callable[[Path], None]) -> Path:
    """A copy of the base model in which one thing is wrong."""
    folder = place.folder / "spoilt"
    folder.mkdir()
    for file in place.base.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    spoil(folder)
    return folder


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")


def truncated(folder: Path) -> None:
    os.truncate(folder / "model.safetensors", 1000)


def remote(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "mystery"
    config["auto_map"] = {
        "AutoConfig": "mystery.MysteryConfig",
        "AutoModelForCausalLM": "mystery.Mystery",
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "mystery.py").write_text("raise SystemExit('remote code ran')\n")


def unreadable(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def occupied(place: Place) -> Path:
    folder = place.folder / "mine"
    folder.mkdir()
    (folder / "diary.txt").write_text("do not lose me")
    return folder


def filled(place: Place, second: list[str]) -> list[str]:
    """The second command, after a first one has filled the same store."""
    assert run(place.capture("--limit", 7, "--sites", "resid_post.0")) == 0
    return second


def damaged(place: Place) -> list[str]:
    command = place.capture("--limit", 7, "--sites", "resid_post.0")
    assert run(command) == 0
    (shard,) = (place.folder / "store" / "shards").iterdir()
    os.truncate(shard, shard.stat().st_size // 2)
    return command


def corrupt_result(place: Place, content: str = '{"kind": ') -> str:
    folder = place.folder / "run" / "result"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(content)
    return str(folder)


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


def test_with_json_the_error_is_an_object_on_stdout(place, capsys):
    assert run([*place.capture("--sites", "resid_pst.*"), "--json"]) == 2
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is False
    assert answer["error"]["kind"] == "UnknownSiteError"
    assert "resid_pst" in answer["error"]["message"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder_is_named(place, capsys):
    place.folder.chmod(0o500)
    try:
        assert run(place.capture("--out", place.folder / "new")) == 2
    finally:
        place.folder.chmod(0o700)
    assert "new" in capsys.readouterr().err


def test_a_full_disk_is_refused_before_anything_is_computed(place, capsys, monkeypatch):
    import shutil

    usage = shutil.disk_usage(place.folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    assert run(place.capture()) == 3
    assert "disk has" in capsys.readouterr().err
    assert not list((place.folder / "store").rglob("*.safetensors"))


def test_a_bug_says_that_it_is_one(place, capsys, monkeypatch):
    import interp.data

    def broken(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(interp.data, "prompts", broken)
    assert run(place.capture()) == 1
    assert "This is a bug in interp: ZeroDivisionError: oops" in capsys.readouterr().err


def test_ctrl_c_says_how_to_go_on(place, capsys, monkeypatch):
    import interp.store.capturing

    def interrupted(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(interp.store.capturing, "capture", interrupted)
    assert run(place.capture()) == 130
    assert "Run the same command again" in capsys.readouterr().err


def test_every_error_class_is_also_a_builtin():
    def tree(kind: type) -> list[type]:
        return [kind, *(k for sub in kind.__subclasses__() for k in tree(sub))]

    bare = [
        kind.__name__
        for kind in tree(InterpError)[1:]
        if not any(
            issubclass(base, Exception) and base.__module__ == "builtins"
            for base in kind.__mro__
            if base not in (Exception, BaseException, object)
        )
    ]
    assert bare == ["StoppedError"]
