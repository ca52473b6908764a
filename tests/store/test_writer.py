import multiprocessing
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file
from store.samples import (
    files_that_count,
    filled,
    sample_rows,
    sample_spec,
    shard_file,
    values_of,
)

from interp import progress
from interp.errors import DataError, IncompatibleError, ShapeError, StoreError
from interp.store import StoreWriter, fill, fingerprint, open as open_store


def test_the_same_data_gives_the_same_bytes(tmp_path):
    spec = sample_spec()
    one, two = filled(tmp_path / "one", spec), filled(tmp_path / "two", spec)
    assert files_that_count(one) == files_that_count(two)


def test_the_home_that_a_shell_left_unresolved_is_meant(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    spec = sample_spec()
    filled(Path("~/store"), spec)
    assert open_store("~/store").folder == tmp_path / "store"


def test_any_safetensors_reader_reads_a_shard(tmp_path):
    spec = sample_spec(dtype="bfloat16")
    folder = filled(tmp_path / "store", spec)
    for index in range(spec.plan.n_shards):
        read = load_file(shard_file(folder, index))
        wanted = values_of(spec, spec.plan.shard(index).rows)
        assert set(read) == set(wanted)
        assert all(torch.equal(read[site], wanted[site]) for site in wanted)


def test_only_missing_shards_are_computed(tmp_path):
    spec, computed = sample_spec(), []
    wanted = files_that_count(filled(tmp_path / "whole", spec))

    def compute(rows):
        computed.append(rows.start // 6)
        if len(computed) == 3:
            raise RuntimeError("stopped")
        return values_of(spec, rows)

    with pytest.raises(RuntimeError, match="stopped"):
        fill(tmp_path / "store", spec, sample_rows(), compute=compute)
    # What was being written when the third failed is whole.
    assert sorted(shard_file(tmp_path / "store", i).name[:5] for i in (0, 1)) == [
        "00000",
        "00001",
    ]
    shard_file(tmp_path / "store", 0).unlink()
    fill(tmp_path / "store", spec, sample_rows(), compute=compute)
    assert computed == [0, 1, 2, 0, 2, 3]
    assert files_that_count(tmp_path / "store") == wanted
    fill(tmp_path / "store", spec, sample_rows(), compute=compute)
    assert len(computed) == 6


def test_lost_rows_are_rewritten(tmp_path):
    folder = filled(tmp_path / "store", sample_spec())
    wanted = files_that_count(folder)
    (folder / "rows.parquet").write_bytes(b"PAR1 damaged")
    filled(folder, sample_spec())
    assert files_that_count(folder) == wanted


def test_provenance_does_not_count_and_tells_who_filled_the_store(tmp_path):
    spec = sample_spec()
    for time in (1, 2):
        fill(
            tmp_path / "store",
            spec,
            sample_rows(),
            compute=lambda rows: values_of(spec, rows),
            provenance={"time": time},
        )
    assert '"time": 1' in (tmp_path / "store" / "provenance.json").read_text()
    plain = filled(tmp_path / "plain", spec)
    assert files_that_count(tmp_path / "store") == files_that_count(plain)


def test_another_capture_in_the_same_folder_is_refused(tmp_path):
    folder = filled(tmp_path / "store", sample_spec())
    before = files_that_count(folder)
    with pytest.raises(IncompatibleError, match="another revision: 'abc', not 'new'"):
        filled(folder, replace(sample_spec(), revision="new"))
    rows = [row | {"label": None} for row in sample_rows()]
    with pytest.raises(IncompatibleError, match="other rows"):
        fill(folder, sample_spec(), rows, compute=lambda _: {})
    assert files_that_count(folder) == before


def test_a_folder_with_other_things_is_not_filled(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(StoreError, match=r"not empty and not a store.*thesis.tex"):
        filled(tmp_path, sample_spec())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_in_place_of_the_folder_is_said(tmp_path):
    (tmp_path / "store").write_text("x")
    with pytest.raises(StoreError, match="is a file"):
        filled(tmp_path / "store", sample_spec())
    with pytest.raises(StoreError, match=r"in the way|part of the path"):
        filled(tmp_path / "store" / "inner", sample_spec())


def test_a_folder_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", str(tmp_path / "store"))

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    with pytest.raises(StoreError, match=r"permission denied.*Choose a folder"):
        filled(tmp_path / "store", sample_spec())


def test_values_that_do_not_fit_the_spec_are_refused(tmp_path):
    spec = sample_spec()
    good = values_of(spec, range(6))
    with StoreWriter(tmp_path / "store", spec, sample_rows()) as writer:
        with pytest.raises(ShapeError, match=r"has \(5, 6\).*holds \(6, 6\)"):
            writer.write(0, good | {"resid_post.0": good["resid_post.0"][:5]})
        with pytest.raises(ShapeError, match=r"torch.float16 at 'z.1'"):
            writer.write(0, good | {"z.1": good["z.1"].half()})
        with pytest.raises(ShapeError, match=r"other sites.*resid_post.9"):
            writer.write(0, good | {"resid_post.9": good["resid_post.0"]})
        assert writer.missing() == (0, 1, 2, 3)
        with pytest.raises(StoreError, match="still misses 4 of 4"):
            writer.finish()


def test_views_are_stored_without_their_base(tmp_path):
    spec = sample_spec(n=6)
    values = values_of(spec, range(6))
    strided = {
        site: torch.stack([tensor, tensor + 1], dim=1)[:, 0]
        for site, tensor in values.items()
    }
    fill(tmp_path / "store", spec, sample_rows(6), compute=lambda _: strided)
    assert files_that_count(tmp_path / "store") == files_that_count(
        filled(tmp_path / "plain", spec)
    )


def test_a_table_is_the_same_however_it_comes(tmp_path):
    rows = sample_rows()
    tables = [rows, pd.DataFrame(rows), pa.Table.from_pylist(rows)]
    assert len({fingerprint(table) for table in tables}) == 1
    assert fingerprint(rows[::-1]) != fingerprint(rows)
    spec = sample_spec()
    for number, table in enumerate(tables):
        fill(
            tmp_path / str(number),
            spec,
            table,
            compute=lambda rows: values_of(spec, rows),
        )
    written = [files_that_count(tmp_path / str(number)) for number in range(3)]
    assert written[0] == written[1] == written[2]


def test_rows_that_do_not_fit_are_refused(tmp_path):
    spec = sample_spec()
    with pytest.raises(DataError, match="3 rows for a store of 20 examples"):
        fill(tmp_path / "a", spec, sample_rows(3), compute=lambda _: {})
    with pytest.raises(DataError, match="column 'shard'"):
        fill(tmp_path / "a", spec, [{"shard": 1}] * 20, compute=lambda _: {})
    mixed = [{"label": 1}, {"label": "yes"}] * 10
    with pytest.raises(DataError, match="do not make a table"):
        fill(tmp_path / "a", spec, mixed, compute=lambda _: {})
    assert not (tmp_path / "a").exists()


def test_progress_counts_only_what_is_missing(tmp_path):
    shown = []

    class Seen:
        def __init__(self, description, total, unit):
            shown.append([description, total, unit, 0])

        def advance(self, amount=1, note=""):
            shown[-1][3] += amount

        def close(self):
            pass

    folder = filled(tmp_path / "store", sample_spec())
    shard_file(folder, 3).unlink()
    with progress.using(Seen):
        filled(folder, sample_spec())
    assert shown == [["capture", 2, "examples", 2]]


def _fill_slowly_varying(folder, spec, noise):
    def compute(rows):
        values = values_of(spec, rows)
        return {site: tensor + noise for site, tensor in values.items()}

    fill(folder, spec, sample_rows(200), compute=compute)


def test_two_processes_on_one_folder_leave_a_whole_store(tmp_path):
    # The second computes values that differ, as two kinds of device do.
    spec = sample_spec(n=200, rows_per_shard=4)
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(
            target=_fill_slowly_varying, args=(tmp_path / "store", spec, noise)
        )
        for noise in (0.0, 1e-6)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    store = open_store(tmp_path / "store", verify=True)
    wanted = torch.cat(
        [values_of(spec, spec.plan.shard(i).rows)["resid_post.1"] for i in range(50)]
    )
    assert torch.allclose(store["resid_post.1"][:], wanted, atol=2e-6)
    assert len(list((tmp_path / "store" / "shards").iterdir())) == 50
