import errno
import json
import os
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest

from interp import atomic
from interp.errors import DiskFullError, UnwritableError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_pieces_are_joined_in_order(tmp_path):
    pieces = (bytes([number]) * number for number in range(4))
    atomic.write_bytes(tmp_path / "new" / "a.bin", pieces)
    assert (tmp_path / "new" / "a.bin").read_bytes() == b"\1\2\2\3\3\3"
    assert names(tmp_path / "new") == ["a.bin"]


def test_views_of_other_types_are_written_as_their_bytes(tmp_path):
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    empty = np.empty((0, 3), dtype=np.float32)
    atomic.write_bytes(tmp_path / "a", [values.data, empty.data, values.data])
    assert (tmp_path / "a").read_bytes() == values.tobytes() * 2


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_else(tmp_path):
    def pieces():
        yield b"new"
        raise KeyError("computed badly")

    atomic.write_text(tmp_path / "a", "old")
    with pytest.raises(KeyError, match="computed badly"):
        atomic.write_bytes(tmp_path / "a", pieces())
    assert (tmp_path / "a").read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_a_file_too_large_for_the_disk_is_a_disk_full_error(tmp_path):
    atomic.write_text(tmp_path / "a", "old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(DiskFullError, match=r"The disk is full.*run the same"):
            atomic.write_bytes(tmp_path / "a", [b"x" * 8_000] * 2)
        with (
            pytest.raises(DiskFullError, match="The disk is full"),
            atomic.replacing(tmp_path / "a") as beside,
        ):
            beside.write_bytes(b"x" * 20_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "a").read_text() == "old"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_no_space_and_no_quota_are_disk_full_errors(tmp_path, code):
    def fill(folder: Path) -> None:
        (folder / "first").write_text("x")
        raise OSError(code, os.strerror(code))

    with (
        pytest.raises(DiskFullError) as caught,
        atomic.replacing_folder(tmp_path / "a") as beside,
    ):
        fill(beside)
    assert caught.value.exit_code == 3
    assert names(tmp_path) == []


def test_what_is_in_the_way_is_said(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    with pytest.raises(UnwritableError, match="a file of this name is in the way"):
        atomic.write_text(tmp_path / "file" / "a", "x")
    with pytest.raises(UnwritableError, match="a folder of this name is in the way"):
        atomic.write_text(tmp_path / "folder", "x")
    assert names(tmp_path) == ["file", "folder"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_unwritable(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(UnwritableError, match="permission denied"):
            atomic.write_text(tmp_path / "a", "x")
    finally:
        tmp_path.chmod(0o700)


def test_an_error_about_another_file_passes(tmp_path):
    with (
        pytest.raises(FileNotFoundError),
        atomic.replacing(tmp_path / "a"),
    ):
        (tmp_path / "source").read_text()
    assert names(tmp_path) == []


def test_json_is_the_same_for_the_same_value(tmp_path):
    one = {"b": np.float32(0.5), "a": (1, np.int64(2)), "p": Path("x/y"), "ü": None}
    two = {"ü": None, "p": "x/y", "a": [1, 2], "b": 0.5}
    atomic.write_json(tmp_path / "one", one)
    atomic.write_json(tmp_path / "two", two)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert json.loads((tmp_path / "one").read_text()) == two
    assert atomic.json_hash(one) == atomic.json_hash(two)
    assert atomic.json_hash(one) != atomic.json_hash({**one, "b": 0.25})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("nan")])
def test_numbers_that_json_lacks_are_refused(tmp_path, value):
    with pytest.raises(ValueError, match="JSON compliant"):
        atomic.write_json(tmp_path / "a", {"x": value})
    assert names(tmp_path) == []


def test_arrays_are_refused_in_json():
    with pytest.raises(TypeError, match="ndarray has no spelling"):
        atomic.json_text({"x": np.zeros(2)})


def test_a_folder_takes_the_place_of_the_former_one(tmp_path):
    for content in ("first", "second"):
        with atomic.replacing_folder(tmp_path / "result") as beside:
            (beside / content).write_text(content)
        assert names(tmp_path / "result") == [content]
    assert names(tmp_path) == ["result"]


def test_a_file_is_never_replaced_by_a_folder(tmp_path):
    file = tmp_path / "data.csv"
    file.write_text("a,b")
    said = pytest.raises(UnwritableError, match="a file of this name is in the way")
    with said, atomic.replacing_folder(file) as beside:
        (beside / "new").write_text("x")
    assert file.read_text() == "a,b"
    assert names(tmp_path) == ["data.csv"]


def test_a_failed_folder_keeps_the_former_one(tmp_path):
    with atomic.replacing_folder(tmp_path / "result") as beside:
        (beside / "good").write_text("x")
    with (
        pytest.raises(FileNotFoundError, match="nothing"),
        atomic.replacing_folder(tmp_path / "result") as beside,
    ):
        shutil.copy(tmp_path / "nothing", beside / "half")
    assert names(tmp_path / "result") == ["good"]
    assert names(tmp_path) == ["result"]


def test_a_folder_set_aside_by_a_dead_process_comes_back(tmp_path):
    with atomic.replacing_folder(tmp_path / "result") as beside:
        (beside / "good").write_text("x")
    (tmp_path / "result").rename(tmp_path / ".result.0123.old")
    atomic.restore_folder(tmp_path / "result")
    assert names(tmp_path / "result") == ["good"]


def test_strays_of_the_dead_go_and_files_of_the_living_stay(tmp_path):
    (tmp_path / ".dead.0123.part").write_bytes(b"half")
    (tmp_path / "finished").write_text("x")
    with atomic.replacing(tmp_path / "living") as beside:
        atomic.remove_strays(tmp_path)
        assert names(tmp_path) == [beside.name, "finished"]
        beside.write_text("whole")
    assert names(tmp_path) == ["finished", "living"]
    assert (tmp_path / "living").read_text() == "whole"


def test_the_final_name_may_tell_the_content(tmp_path):
    seen: list[bytes] = []

    def pieces():
        for piece in (b"ab", b"cde"):
            seen.append(piece)
            yield piece

    atomic.write_bytes(
        tmp_path / "any",
        pieces(),
        final_name=lambda: f"{sum(map(len, seen))}.bin",
    )
    assert names(tmp_path) == ["5.bin"]
