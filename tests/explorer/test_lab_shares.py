"""Links to the Lab: what was shared comes back, and nothing else is read."""

import hashlib
import json
from dataclasses import asdict, fields

import pytest

from interp.errors import ResultError
from interp_explorer.lab.settings import LabSettings
from interp_explorer.lab.shares import MAX_BYTES, share, shared


pytestmark = pytest.mark.xdist_group("explorer")
SETTINGS = LabSettings(
    model="post",
    prompt='ü "quoted"\n<b>',
    readers=("a", "b"),
    token=3,
    layers="a range",
    between=(1, 2),
    strength=-1.5,
    temperature=0.7,
)


def planted(root, content: bytes) -> str:
    """A file with the right hash, as somebody could write by hand."""
    name = hashlib.sha256(content).hexdigest()[:32]
    (root / "shares").mkdir(exist_ok=True)
    (root / "shares" / f"{name}.json").write_bytes(content)
    return name


def test_what_was_shared_comes_back_under_the_same_name(tmp_path):
    name = share(SETTINGS, tmp_path)
    assert shared(name, tmp_path) == SETTINGS
    assert share(SETTINGS, tmp_path) == name
    assert [path.name for path in (tmp_path / "shares").iterdir()] == [f"{name}.json"]


def test_every_setting_is_in_the_link(tmp_path):
    name = share(SETTINGS, tmp_path)
    held = json.loads((tmp_path / "shares" / f"{name}.json").read_text())
    assert set(held) == {field.name for field in fields(LabSettings)}


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "a" * 31, "A" * 32, "a" * 33])
def test_a_name_that_is_no_hash_is_refused_before_a_file_is_touched(name, tmp_path):
    with pytest.raises(ResultError, match="hexadecimal"):
        shared(name, tmp_path)


def test_an_absent_or_changed_file_is_refused(tmp_path):
    name = share(SETTINGS, tmp_path)
    path = tmp_path / "shares" / f"{name}.json"
    with pytest.raises(ResultError, match="not here"):
        shared("a" * 32, tmp_path)
    path.write_bytes(path.read_bytes().replace(b"-1.5", b"-1.6"))
    with pytest.raises(ResultError, match="hash"):
        shared(name, tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"strength": 9.0},
        {"strength": "1"},
        {"strength": None},
        {"token": True},
        {"token": -1},
        {"mode": "Shell"},
        {"readers": ["x"] * 7},
        {"readers": "x"},
        {"between": [1]},
        {"prompt": "x" * 40_001},
        {"length": 257},
        {"path": "/etc/passwd"},
    ],
)
def test_values_out_of_their_range_and_unknown_fields_are_refused(change, tmp_path):
    held = json.loads(json.dumps(asdict(SETTINGS))) | change
    name = planted(tmp_path, json.dumps(held).encode())
    with pytest.raises(ResultError, match="cannot be used"):
        shared(name, tmp_path)


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"strength":NaN}', b"[" * 50_000])
def test_what_is_no_table_of_settings_is_refused(content, tmp_path):
    with pytest.raises(ResultError, match="cannot be used"):
        shared(planted(tmp_path, content), tmp_path)


def test_a_large_file_is_not_read_to_its_end(tmp_path):
    name = planted(tmp_path, b" " * (MAX_BYTES + 1))
    with pytest.raises(ResultError, match="not what was shared"):
        shared(name, tmp_path)


def test_links_out_of_the_folder_are_not_followed(tmp_path):
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    name = share(SETTINGS, outside)
    (inside / "shares").symlink_to(outside / "shares")
    with pytest.raises(ResultError, match="leads out"):
        shared(name, inside)
    with pytest.raises(ResultError, match="leads out"):
        share(LabSettings(prompt="other"), inside)
    assert len(list((outside / "shares").iterdir())) == 1
