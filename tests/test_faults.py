"""Faults at real work end with the same bytes; the long form is `benchmarks/faults.py`.

What the long form found is here as a claim of its own.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from tiny import tiny_model
from transformers import LlamaForCausalLM

from interp import atomic, stopping
from interp.errors import DiskFullError, StoreError
from interp.stopping import StoppedError
from interp.store import StoreSpec, manifest, plan_shards
from interp.store.layout import MANIFEST, find_shards
from interp.store.writer import fill


ROOT = Path(__file__).parents[1]
FAULTS_MADE = 12
SITES = {"resid_post.0": (4,)}
ROWS = [{"prompt": f"statement {row}"} for row in range(8)]
SPEC = StoreSpec(
    model="tiny",
    revision="abc",
    tokenizer="def",
    sites=SITES,
    positions="last",
    dtype="float32",
    data=manifest.fingerprint(ROWS),
    plan=plan_shards(SITES, dtype="float32", n_examples=len(ROWS), rows_per_shard=2),
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and signals")
def test_faults_in_a_row_end_with_the_bytes_of_an_undisturbed_run():
    words = ["--faults", str(FAULTS_MADE), "--seed", "3", "--json"]
    words += ["--only", "capture,formation,organism"]
    run = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "faults.py", *words],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    seen = json.loads(run.stdout)
    assert seen["failures"] == []
    assert seen["faults"] >= FAULTS_MADE
    # Of several kinds, and they fell into the work.
    assert len(seen["hits"]) >= 5
    assert sum(map(len, seen["places"].values())) >= 4
    assert seen["strays"] == 0


def test_a_full_disk_is_told_from_what_a_library_in_rust_says(tmp_path):
    said = "Error while serializing: I/O error: File too large (os error 27)"
    with (
        pytest.raises(DiskFullError, match="The disk is full"),
        atomic.replacing_folder(tmp_path / "a"),
    ):
        raise SafetensorError(said)
    with (
        pytest.raises(SafetensorError, match="os error 2"),
        atomic.replacing_folder(tmp_path / "a"),
    ):
        raise SafetensorError("No such file (os error 2)")
    assert not list(tmp_path.iterdir())


def test_a_signal_stops_a_capture_between_two_shards_and_keeps_what_was_computed(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(stopping, "_requested", threading.Event())
    computed: list[int] = []

    def compute(rows: range) -> dict[str, torch.Tensor]:
        computed.append(rows.start)
        if len(computed) == 2:
            stopping.request_stop()
        return {"resid_post.0": torch.full((len(rows), 4), float(rows.start))}

    with pytest.raises(StoppedError, match="2 of 4 shards are whole"):
        fill(tmp_path, SPEC, ROWS, compute=compute)
    assert sorted(find_shards(tmp_path)) == [0, 1]
    monkeypatch.setattr(stopping, "_requested", threading.Event())
    fill(tmp_path, SPEC, ROWS, compute=compute)
    assert computed == [0, 2, 4, 6]


def test_a_signal_stops_the_training_of_a_family(monkeypatch):
    from interp.organism.optimise import optimise
    from interp.progress import SilentProgress

    monkeypatch.setattr(stopping, "_requested", threading.Event())
    model = tiny_model("llama")
    assert isinstance(model, LlamaForCausalLM)
    stopping.request_stop()
    with pytest.raises(StoppedError, match="nothing of it is kept"):
        optimise(
            model,
            iter(()),
            torch.optim.SGD(model.parameters()),
            rates=iter([0.1]),
            clip=1.0,
            bar=SilentProgress(),
        )


def test_a_store_that_another_process_begins_at_this_moment_is_joined(
    tmp_path, monkeypatch
):
    content = manifest.fingerprint(ROWS)
    look = manifest._other_files

    def begun_meanwhile(folder: Path) -> list[str]:
        manifest.write_manifest(folder, SPEC, manifest.as_table(ROWS), content=content)
        return look(folder)

    monkeypatch.setattr(manifest, "_other_files", begun_meanwhile)
    joined = manifest.prepare_folder(tmp_path, SPEC, n_rows=len(ROWS), content=content)
    assert joined
    monkeypatch.undo()
    (tmp_path / MANIFEST).unlink()
    (tmp_path / "else").write_text("x")
    with pytest.raises(StoreError, match="it holds 'else'"):
        manifest.prepare_folder(tmp_path, SPEC, n_rows=len(ROWS), content=content)


def test_folders_of_the_dead_go_and_those_of_the_living_stay(tmp_path):
    (tmp_path / ".dead.0123.part").mkdir()
    (tmp_path / ".dead.0123.part" / "half").write_text("x")
    with atomic.replacing_folder(tmp_path / "living") as beside:
        atomic.remove_strays(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == [beside.name]
        (beside / "whole").write_text("x")
    assert [path.name for path in tmp_path.iterdir()] == ["living"]


def test_a_former_folder_that_is_half_removed_is_never_brought_back(
    tmp_path, monkeypatch
):
    for content in ("first", "second"):
        with monkeypatch.context() as patch:
            # As if the process died while it removed the former one.
            patch.setattr(shutil, "rmtree", lambda path, ignore_errors=False: None)
            with atomic.replacing_folder(tmp_path / "result") as beside:
                (beside / content).write_text(content)
    (tmp_path / "result").rename(tmp_path / "elsewhere")
    atomic.restore_folder(tmp_path / "result")
    assert not (tmp_path / "result").exists()


def test_durations_do_not_come_from_the_clock_on_the_wall():
    uses = {
        path.relative_to(ROOT).as_posix()
        for package in ("interp", "probes", "apps")
        for path in (ROOT / package).rglob("*.py")
        if re.search(r"\btime\.time(_ns)?\(", path.read_text(encoding="utf-8"))
    }
    # The age of files, which the system tells by that clock.
    assert uses == {"interp/atomic.py"}
