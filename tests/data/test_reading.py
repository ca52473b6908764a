"""Every way a file can be wrong is one clear line."""

# ruff: noqa: E501  (the table of cases has one case a line)

import time
import tracemalloc
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from interp import data
from interp.data.text import MAX_LINE_BYTES
from interp.errors import DataError, EmptyClassError, InterpError


GOOD = "statement,label\nRome is in Italy.,1\nRome is in Peru.,0\n"


def _write(tmp_path: Path, name: str, content: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# fmt: off
CASES: dict[str, tuple[str, str | bytes, str]] = {
    "no label": ("a.csv", "statement,lable\nx is y.,1\n", r"no column 'label'.*'lable'.*Did you mean 'lable'"),
    "no statement": ("a.csv", "text,label\nx is y.,1\n", r"no column 'statement'.*statement="),
    "semicolons": ("a.csv", "statement;label\nx;1\n", r"seems to be separated by ';'"),
    "empty file": ("a.csv", "", r"'.*a\.csv' is empty.*At least one row"),
    "blank file": ("a.csv", " \n\n", r"is empty"),
    "header only": ("a.csv", "statement,label\n", r"has no rows"),
    "nan label": ("a.csv", GOOD + "x is y.,NaN\n", r"a\.csv, line 4: the label is .*NaN"),
    "odd label": ("a.csv", GOOD + "x is y.,maybe\n", r"line 4: the label is 'maybe'.*1 or 0"),
    "label 2": ("a.csv", GOOD + "x is y.,2\n", r"line 4: the label is '2'"),
    "empty statement": ("a.csv", GOOD + ' "" ,1\n"",1\n', r"line 5: the statement is empty"),
    "one class": ("a.csv", "statement,label\na is b.,1\nc is d.,1\n", r"all statements are true.*'label'"),
    "other class": ("a.jsonl", '{"statement": "a", "label": false}', r"all statements are false"),
    "ragged": ("a.csv", GOOD + "a, b and c,1\n", r"line 4: 3 fields.*2 fields.*quotes"),
    "short row": ("a.csv", GOOD + "a is b.\n", r"line 4: 1 field\..*2 fields"),
    "open quote": ("a.csv", 'statement,label\n"a is b.,1\nc is d.,0\n', r"line 2: the row cannot be read.*quotes of that row"),
    "quote inside": ("a.csv", GOOD + '"a" is, b.,1\n', r"line 4: 3 fields"),
    "two columns of a name": ("a.csv", "statement,label,label\na,1,0\n", r"column 'label' twice"),
    "zero byte": ("a.csv", GOOD.encode() + b"\x00\x01", r"not a text file: byte 55 is zero"),
    "latin 1": ("a.csv", GOOD.encode() + "Zürich is,1\n".encode("latin-1"), r"not UTF-8: byte 56 \(line 4\) is 0xfc.*Save it as UTF-8"),
    "utf-16": ("a.csv", GOOD.encode("utf-16"), r"UTF-16.*Save it as UTF-8"),
    "utf-16 without mark": ("a.csv", GOOD.encode("utf-16-le"), r"UTF-16"),
    "zip": ("a.csv", b"PK\x03\x04\x14\x00\x06\x00" + bytes(range(256)), r"not a text file|not UTF-8"),
    "unknown type": ("a.xlsx", "x", r"unknown file type '\.xlsx'.*\.csv"),
    "no type": ("a", "x", r"unknown file type ''"),
    "bad json": ("a.json", '[{"statement": "a"\n "label": 1}]', r"a\.json, line 2, column 2: not JSON"),
    "json object": ("a.json", '{"statement": "a", "label": 1}', r"one object.*list of objects.*\.jsonl"),
    "json number": ("a.json", "3", r"holds a number"),
    "json of numbers": ("a.json", "[1, 2]", r"row 1: a number"),
    "empty list": ("a.json", "[]", r"has no rows"),
    "deep json": ("a.json", "[" * 100_000, r"nested too deep|not JSON"),
    "bad line": ("a.jsonl", '{"statement": "a", "label": 1}\n{"statement": ', r"line 2, column 15: not JSON"),
    "list label": ("a.jsonl", '{"statement": "a", "label": [1]}', r"line 1: the label is \[1\]"),
    "nan in json": ("a.jsonl", '{"statement": "a", "label": NaN}', r"line 1: the label is .*nan"),
    "missing in json": ("a.jsonl", '{"statement": "a", "label": 1}\n{"label": 1}', r"line 2: the statement is empty"),
    "number statement": ("a.jsonl", '{"statement": 7, "label": 1}', r"line 1: the statement is 7, not a text"),
    "long statement": ("a.json", '[{"statement": "' + "x" * 200_000 + '", "label": 1}]', r"row 1: the statement has 200,000 characters"),
    "no parquet": ("a.parquet", "PAR1 not really", r"not a readable Parquet file"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_file_is_one_line_that_names_the_place(case: str, tmp_path: Path):
    name, content, message = CASES[case]
    with pytest.raises(DataError, match=message) as caught:
        data.statements(_write(tmp_path, name, content))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert caught.value.exit_code == 2


def test_one_class_has_its_own_error(tmp_path: Path):
    with pytest.raises(EmptyClassError):
        data.statements(_write(tmp_path, "a.csv", "statement,label\na is b.,1\n"))


def test_paths_that_are_no_files_are_named(tmp_path: Path):
    _write(tmp_path, "cities.csv", GOOD)
    with pytest.raises(DataError, match=r"no file '.*citys\.csv'.*Files there: cities"):
        data.statements(tmp_path / "citys.csv")
    with pytest.raises(DataError, match="does not exist either"):
        data.statements(str(tmp_path / "none" / "cities.csv"))
    with pytest.raises(DataError, match=r"is a folder.*cities\.csv"):
        data.statements(tmp_path)
    with pytest.raises(DataError, match="device or a pipe"):
        data.statements("/dev/zero")


def test_a_file_without_permission_is_named(tmp_path: Path, monkeypatch):
    path = _write(tmp_path, "a.csv", GOOD)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"Cannot read '.*a\.csv': Permission denied"):
        data.statements(path)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".txt"])
def test_a_line_without_end_is_refused_fast_and_in_little_memory(
    suffix: str, tmp_path: Path
):
    path = _write(tmp_path, f"a{suffix}", b"statement,label\n" + b"x" * 60_000_000)
    tracemalloc.start()
    start = time.perf_counter()
    with pytest.raises(DataError, match=rf"Line 2 of .* longer than {MAX_LINE_BYTES:,}"):
        data.instructions(path, column="statement")
    assert time.perf_counter() - start < 5
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_a_huge_json_file_is_refused_before_it_is_read(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("interp.data.text.MAX_JSON_BYTES", 1000)
    path = _write(tmp_path, "a.json", "[" + " " * 2000 + "]")
    with pytest.raises(DataError, match="too much for a JSON file"):
        data.statements(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", GOOD),
        ("crlf.csv", GOOD.replace("\n", "\r\n")),
        ("old-mac.csv", GOOD.replace("\n", "\r")),
        ("bom.csv", b"\xef\xbb\xbf" + GOOD.encode()),
        ("blank-lines.csv", GOOD.replace("\n", "\n\n")),
        ("spaces.csv", GOOD.replace("Rome", "  Rome").replace("label", " label ")),
        ("words.csv", GOOD.replace(",1", ",TRUE").replace(",0", ",False")),
        ("floats.csv", GOOD.replace(",1", ",1.0").replace(",0", ",0.0")),
        ("a.tsv", GOOD.replace(",", "\t")),
        ("A.CSV", GOOD),
        (
            "a.jsonl",
            '{"statement": "Rome is in Italy.", "label": true}\n\n'
            '{"label": 0, "statement": "Rome is in Peru."}\n',
        ),
        (
            "a.json",
            '[{"statement": "Rome is in Italy.", "label": 1},'
            ' {"statement": "Rome is in Peru.", "label": "false"}]',
        ),
    ],
)
def test_all_spellings_of_one_table_have_one_fingerprint(name, content, tmp_path: Path):
    expected = data.statements(_write(tmp_path, "expected.csv", GOOD))
    found = data.statements(_write(tmp_path, name, content))
    assert found.prompts == ("Rome is in Italy.", "Rome is in Peru.")
    assert found.labels.tolist() == [True, False]
    assert found.fingerprint == expected.fingerprint


def test_parquet_is_read_with_its_types(tmp_path: Path):
    path = tmp_path / "key=value.parquet"
    table = {
        "statement": ["Rome is in Italy.", "Rome is in Peru."],
        "label": [True, False],
        "weight": [0.5, 1.5],
    }
    pyarrow.parquet.write_table(pyarrow.table(table), path)
    found = data.statements(path)
    assert found.labels.tolist() == [True, False]
    assert found.columns["weight"].tolist() == [0.5, 1.5]


def test_a_quotation_at_the_start_keeps_its_quotes(tmp_path: Path):
    text = GOOD + '"Dune" is a novel.,1\n"Dune, the book, is a poem.",0\nx is y.,0\n'
    found = data.statements(_write(tmp_path, "a.csv", text))
    assert found.prompts[2:] == (
        '"Dune" is a novel.',
        "Dune, the book, is a poem.",
        "x is y.",
    )


def test_other_columns_are_kept_with_numbers_as_numbers(tmp_path: Path):
    text = "id,statement,label,n,city\n1,a is b.,1,3,Rome\n2,c is d.,0,4,Oslo\n"
    found = data.statements(_write(tmp_path, "a.csv", text))
    assert list(found.columns) == ["id", "n", "city"]
    assert found.columns["n"].tolist() == [3, 4]
    assert found.groups == ("Rome", "Oslo")


def test_columns_can_be_named(tmp_path: Path):
    text = "claim,truth,who,sign\na is b.,1,x,1\nc is not d.,0,y,-1\n"
    path = _write(tmp_path, "a.csv", text)
    found = data.statements(
        path, statement="claim", label="truth", group="who", polarity="sign"
    )
    assert found.groups == ("x", "y")
    assert found.polarity is not None
    assert found.polarity.tolist() == [1, -1]
    with pytest.raises(DataError, match=r"no column 'what'.*group="):
        data.statements(path, statement="claim", label="truth", group="what")


def test_every_error_of_this_package_is_one_the_user_can_act_on():
    assert issubclass(DataError, InterpError)
    assert issubclass(EmptyClassError, DataError)
