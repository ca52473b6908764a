import os
import resource
import shutil
import subprocess
import sys
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest
from store.samples import (
    files_that_count,
    filled,
    n_tokens,
    sample_rows,
    sample_spec,
    values_of,
)

from interp.errors import DiskFullError
from interp.store import StoreSpec, fill, plan_shards
from interp.store.spec import Shape


ROOT = Path(__file__).parents[2]
# Fills a store of 40 shards of 64 KiB on a disk of 1 MiB.
ON_A_SMALL_DISK = """
import sys, shutil, collections, pathlib
sys.path[:0] = sys.argv[2:]
import torch
from interp import store
from interp.errors import DiskFullError
usage = collections.namedtuple("usage", "free")
# As if another program had taken the space after the check.
shutil.disk_usage = lambda _: usage(1 << 40)
sites = {"resid_post.0": (8192,)}
rows = [{"prompt": str(row)} for row in range(80)]
plan = store.plan_shards(sites, dtype="float32", n_examples=80, rows_per_shard=2)
texts = dict.fromkeys(("model", "revision", "tokenizer", "positions", "data"), "x")
spec = store.StoreSpec(**texts, sites=sites, dtype="float32", plan=plan)
computed = []
def compute(rows):
    computed.append(rows)
    return {"resid_post.0": torch.full((2, 8192), float(rows.start))}
try:
    store.fill(sys.argv[1] + "/store", spec, rows, compute=compute)
except DiskFullError as error:
    print(error)
whole = sorted((pathlib.Path(sys.argv[1]) / "store/shards").iterdir())
print(len(whole), all(path.stat().st_size == whole[0].stat().st_size for path in whole))
print(sum(path.name.startswith(".") for path in whole), len(computed))
"""


def test_too_little_space_is_refused_before_anything_is_computed(tmp_path, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(3_000_000))
    sites = {"resid_post.0": (1000,)}
    plan = plan_shards(sites, dtype="float32", n_examples=1000)
    spec = StoreSpec(
        model="x",
        revision="x",
        tokenizer="x",
        positions="last",
        data="x",
        sites=sites,
        dtype="float32",
        plan=plan,
    )
    computed = []

    def compute(rows):
        computed.append(rows)
        return {}

    with pytest.raises(DiskFullError, match=r"needs 4.0 MB more.*has 3.0 MB") as caught:
        fill(tmp_path / "store", spec, sample_rows(1000), compute=compute)
    assert caught.value.exit_code == 3
    assert computed == []
    # So that the same folder can be used with a smaller dtype.
    assert not (tmp_path / "store" / "manifest.json").exists()


def test_a_disk_that_runs_full_keeps_the_whole_shards(tmp_path):
    # Shards of 2 to 18 kB on a disk that takes files of up to 10 kB.
    sites: dict[str, Shape] = {"resid_post.0": ("pos", 500)}
    lengths = [n_tokens(row) for row in range(20)]
    plan = plan_shards(
        sites, dtype="float32", n_examples=20, n_tokens=lengths, rows_per_shard=1
    )
    spec = replace(sample_spec(), sites=sites, plan=plan)
    wanted = files_that_count(filled(tmp_path / "undisturbed", spec))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(DiskFullError, match=r"disk is full.*run the same command"):
            filled(tmp_path / "store", spec)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    left = files_that_count(tmp_path / "store")
    assert 2 < len(left) < len(wanted)
    assert left == {name: wanted[name] for name in left}
    filled(tmp_path / "store", spec)
    assert files_that_count(tmp_path / "store") == wanted


def test_the_computing_stops_soon_after_the_disk_is_full(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    computed = []
    spec = sample_spec(n=60, rows_per_shard=1)

    def compute(rows):
        computed.append(rows)
        if len(computed) == 3:
            monkeypatch.setattr("interp.atomic.write_all", full)
        return values_of(spec, rows)

    with pytest.raises(DiskFullError):
        fill(tmp_path / "store", spec, sample_rows(60), compute=compute)
    assert len(computed) <= 8
    assert not list((tmp_path / "store" / "shards").glob(".*"))


def _can_mount() -> bool:
    if shutil.which("unshare") is None or sys.platform != "linux":
        return False
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_a_real_full_disk_ends_clearly_and_keeps_what_was_whole(tmp_path):
    if not _can_mount():
        pytest.skip("needs unshare and the right to mount a tmpfs in a namespace")
    inner = 'mount -t tmpfs -o size=1m tmpfs "$0" && exec "$@"'
    disk = tmp_path / "disk"
    disk.mkdir()
    script = [sys.executable, "-c", ON_A_SMALL_DISK, str(disk), str(ROOT)]
    run = subprocess.run(
        ["unshare", "-rm", "sh", "-c", inner, str(disk), *script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "INTERP_PROGRESS": "off"},
    )
    assert run.returncode == 0, run.stderr
    message, shards, rest = run.stdout.splitlines()
    assert message.startswith("The disk is full")
    n_whole, same_size = shards.split()
    assert 8 <= int(n_whole) <= 15
    assert same_size == "True"
    strays, computed = rest.split()
    assert strays == "0"
    assert int(computed) < 24
