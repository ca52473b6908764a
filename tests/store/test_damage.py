import json
import os
import struct
import zipfile
from pathlib import Path

import pytest
from store.samples import filled, sample_spec, shard_file

from interp.errors import StoreError
from interp.store import open as open_store
from interp.store.layout import shard_header


@pytest.fixture
def folder(tmp_path):
    return filled(tmp_path / "store", sample_spec())


def overwrite(path: Path, at: int, new: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(new)


@pytest.mark.parametrize("place", [0.0, 0.3, 0.999])
def test_one_changed_byte_of_the_values_is_found(folder, place):
    path = shard_file(folder, 1)
    header = len(shard_header(sample_spec(), sample_spec().plan.shard(1)))
    at = header + int(place * (path.stat().st_size - header))
    overwrite(path, at, bytes([path.read_bytes()[at] ^ 1]))
    open_store(folder)
    with pytest.raises(StoreError, match=r"shards/00001-.*damaged: its checksum"):
        open_store(folder, verify=True)
    with pytest.raises(StoreError, match=r"00001"):
        open_store(folder).verify()


def test_a_changed_header_is_found_at_once(folder):
    path = shard_file(folder, 2)
    at = path.read_bytes().index(b"z.1")
    overwrite(path, at, b"z.2")
    with pytest.raises(StoreError, match=r"00002-.*other sites than the store"):
        open_store(folder)


@pytest.mark.parametrize("size", [0, 5, 100, -1])
def test_a_truncated_shard_is_named(folder, size):
    path = shard_file(folder, 3)
    os.truncate(path, size if size >= 0 else path.stat().st_size + size)
    with pytest.raises(StoreError, match=r"00003-.*is truncated"):
        open_store(folder)
    # Going on with the capture must not take it for whole either.
    with pytest.raises(StoreError, match=r"00003-.*Delete that file and capture again"):
        filled(folder, sample_spec())
    path.unlink()
    filled(folder, sample_spec())
    open_store(folder, verify=True)


def test_bytes_after_the_end_are_found(folder):
    with shard_file(folder, 0).open("ab") as file:
        file.write(b"more")
    with pytest.raises(StoreError, match=r"00000-.*too long"):
        open_store(folder)


def test_a_deleted_shard_is_named(folder):
    shard_file(folder, 2).unlink()
    with pytest.raises(StoreError, match=r"shard 2 is missing \(3 of 4 are there\)"):
        open_store(folder)


def test_a_shard_of_another_store_is_foreign(folder, tmp_path):
    other = filled(tmp_path / "other", sample_spec(dtype="float16"))
    shard_file(folder, 1).unlink()
    stranger = shard_file(other, 1)
    stranger.rename(folder / "shards" / stranger.name)
    with pytest.raises(StoreError, match=r"00001-.*foreign.*another capture"):
        open_store(folder)


def test_two_swapped_shards_are_misplaced(folder):
    one, two = shard_file(folder, 1), shard_file(folder, 2)
    (one_name, two_name) = (one.name, two.name)
    one.rename(one.with_name("00002" + one_name[5:]))
    two.rename(two.with_name("00001" + two_name[5:]))
    with pytest.raises(
        StoreError, match=r"00001-.*misplaced: its content is shard '2'"
    ):
        open_store(folder)


def test_a_shard_too_many_is_foreign(folder):
    path = shard_file(folder, 3)
    path.with_name("00004" + path.name[5:]).write_bytes(path.read_bytes())
    with pytest.raises(StoreError, match=r"00004-.*there are only 4 shards"):
        open_store(folder)


def test_a_strange_name_among_the_shards_is_refused(folder):
    (folder / "shards" / "model.safetensors").write_bytes(b"")
    with pytest.raises(StoreError, match=r"shards/model.safetensors"):
        open_store(folder)


def _zip(path: Path) -> None:
    # What `torch.save` writes is a zip file around a pickle.
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", b"\x80\x02cos\nsystem\n.")


def _json(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00cos\nsystem\n.",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 2**40) + b"{}" * 500,
        _json(b"not json"),
        _json(b"[" * 100_000),
        _json(b'"text"'),
        _json(b'{"weight": {}}'),
        _json(b'{"__metadata__": {"kind": "interp.store", "schema": "9"}}'),
    ],
    ids=range(8),
)
def test_another_file_in_place_of_a_shard_is_refused(folder, content):
    shard_file(folder, 1).write_bytes(content)
    with pytest.raises(StoreError, match=r"00001-.*(not a safe|foreign|schema '9')"):
        open_store(folder)


def test_a_pickle_in_place_of_a_shard_is_refused(folder):
    _zip(shard_file(folder, 1))
    with pytest.raises(StoreError, match=r"00001-.*is not a safetensors file"):
        open_store(folder)


def test_a_store_holds_no_pickle(folder):
    for path in folder.rglob("*"):
        if path.is_file():
            assert path.suffix in (".json", ".parquet", ".safetensors")
            assert not zipfile.is_zipfile(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda _: b"{", "is not JSON"),
        (lambda _: b"[" * 100_000, "is not JSON"),
        (lambda _: b"[]", "not the manifest of a store"),
        (lambda manifest: manifest | {"kind": "other"}, "not the manifest"),
        (lambda manifest: manifest | {"schema": 7}, "schema 7.*reads schema 1"),
        (lambda manifest: manifest | {"rows": None}, "does not describe its rows"),
        (lambda manifest: manifest | {"spec": {}}, "field 'plan' is missing"),
        (
            lambda manifest: with_sites(manifest, {"../../../secret": [6]}),
            "does not describe a store",
        ),
        (lambda manifest: with_sites(manifest, {"q.0": [6]}), "another capture"),
        (lambda manifest: with_rows(manifest, 10**15), "00000-.*another capture"),
    ],
)
def test_a_damaged_or_foreign_manifest_is_refused(folder, change, said):
    path = folder / "manifest.json"
    new = change(json.loads(path.read_text()))
    path.write_bytes(new if isinstance(new, bytes) else json.dumps(new).encode())
    with pytest.raises(StoreError, match=said):
        open_store(folder)
    with pytest.raises((StoreError, ValueError)):
        filled(folder, sample_spec())


def with_sites(manifest, sites):
    return manifest | {"spec": manifest["spec"] | {"sites": sites}}


def with_rows(manifest, n):
    plan = manifest["spec"]["plan"] | {"n_examples": n}
    return manifest | {"spec": manifest["spec"] | {"plan": plan}}


def test_a_manifest_of_many_shards_but_none_there_is_refused_quickly(folder):
    path = folder / "manifest.json"
    path.write_text(json.dumps(with_rows(json.loads(path.read_text()), 10**15)))
    for shard in (folder / "shards").iterdir():
        shard.unlink()
    with pytest.raises(StoreError, match=r"shard 0 is missing"):
        open_store(folder)


def test_damaged_or_lost_rows_are_named(folder):
    path = folder / "rows.parquet"
    content = path.read_bytes()
    path.write_bytes(content[:-100] + b"x" * 100)
    with pytest.raises(StoreError, match=r"rows.parquet.*damaged.*rewritten"):
        open_store(folder, verify=True)
    with pytest.raises(StoreError, match=r"rows of the store .* cannot be read"):
        _ = open_store(folder).rows
    path.unlink()
    with pytest.raises(StoreError, match=r"lost its table 'rows.parquet'"):
        open_store(folder)


def test_a_shard_exchanged_after_opening_is_refused(folder):
    store = open_store(folder)
    os.truncate(shard_file(folder, 0), 700)
    with pytest.raises(StoreError, match=r"00000-.*truncated"):
        store["z.1"][0]
