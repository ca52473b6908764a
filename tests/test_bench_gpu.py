"""The benchmark for one CUDA device: what can be tried of it without one."""

import importlib
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import probes  # noqa: F401 - a script beside the benchmark has its name


FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def gpu():
    """The script as a module; memory is not searched for garbage, which takes long."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "path", [*sys.path, str(FOLDER)])
        module = importlib.import_module("gpu")
        patched.setattr(module, "_let_go", lambda: None)
        yield module
    for name in [name for name in sys.modules if name.split("_")[0] == "gpu"]:
        del sys.modules[name]


def row(gpu, part, **fields):
    return gpu.Row(part=part, what="it", beside="that", rate=2.0, **fields)


def test_the_large_model_is_made_on_its_device_alone(gpu):
    # On the CPU its weights would take 16 GB, which this machine may not have.
    model = gpu.model_of("llama-8b", torch.bfloat16, "meta")
    parameters = list(model.hf.parameters())
    assert {p.device.type for p in parameters} == {"meta"}
    assert {p.dtype for p in parameters} == {torch.bfloat16}
    assert 8.0e9 < sum(p.numel() for p in parameters) < 8.1e9


def test_what_does_not_fit_is_tried_at_half_the_size(gpu):
    tried = []

    def part(setting):
        tried.append(setting.scaled(16))
        if setting.share > 1 / 4:
            raise torch.OutOfMemoryError("too much")
        return [row(gpu, "capture", note="peak")]

    setting = gpu.Setting(model=None, n_prompts=16, rounds=1, seconds=60)
    (found,) = gpu.measured(gpu.Part(run=part, share=1), setting)
    assert tried == [16, 8, 4]
    assert found.note == "peak; 0.25 of the size, for memory"


def test_what_never_fits_ends_with_what_it_said(gpu):
    def part(setting):
        raise torch.OutOfMemoryError("too much")

    setting = gpu.Setting(model=None, n_prompts=16, rounds=1, seconds=60)
    with pytest.raises(torch.OutOfMemoryError, match="too much"):
        gpu.measured(gpu.Part(run=part, share=1), setting)


def test_a_part_that_takes_too_long_is_given_up(gpu):
    def part(setting):
        while True:
            time.sleep(0.01)

    setting = gpu.Setting(model=None, n_prompts=16, rounds=1, seconds=0.05)
    with pytest.raises(gpu.GivenUp, match="took more than 0 s"):
        gpu.measured(gpu.Part(run=part, share=1), setting)


def test_a_peer_that_takes_too_long_is_no_peer_that_fails(gpu, monkeypatch):
    """What a peer raises is passed over; that its time is over must not be."""
    peers = importlib.import_module("gpu_peers")
    monkeypatch.setattr(peers, "find_spec", lambda name: object())
    monkeypatch.setattr(peers, "batches_of", lambda setting, prompts: [])
    monkeypatch.setattr(peers, "transformer_lens", lambda *_: time.sleep(60))

    class Model:
        device = torch.device("cpu")
        d_vocab = 512

    setting = gpu.Setting(model=Model(), n_prompts=1, rounds=1, seconds=0.05)
    with pytest.raises(gpu.GivenUp):
        gpu.measured(gpu.Part(run=peers.peers_part, share=1), setting)


def test_rounds_end_with_the_time(gpu):
    clock = importlib.import_module("gpu_setting")

    class Model:
        device = torch.device("cpu")

    setting = gpu.Setting(model=Model(), n_prompts=1, rounds=500, seconds=0.2)
    methods = {"slow": lambda: time.sleep(0.02), "fast": lambda: time.sleep(0.002)}
    found = clock.rates(methods, setting)
    assert 1 <= found.rounds < 20
    assert found.by_name["fast"] > 1
    assert clock.rates(methods, replace(setting, seconds=0)).rounds == 1
    assert clock.seconds(methods["slow"], setting.device) >= 0.02


def test_a_part_that_fails_loses_nothing(gpu, monkeypatch, tmp_path, capsys):
    def fails(setting):
        written = json.loads((tmp_path / "gpu.json").read_text())
        assert [r["part"] for r in written["rows"]] == ["capture"]
        raise RuntimeError("no such kernel")

    kept = {
        "capture": lambda s: [row(gpu, "capture", goal=0.95)],
        "sites": fails,
        "heads": lambda s: [row(gpu, "heads", goal=3.0)],
    }
    monkeypatch.setattr(
        gpu, "PARTS", {k: gpu.Part(run=v, share=1) for k, v in kept.items()}
    )
    arguments = ["gpu.py", "--device", "cpu", "--shape", "tiny", "--out", str(tmp_path)]
    parts = ["--parts", "capture,sites,heads"]
    monkeypatch.setattr(sys, "argv", [*arguments, *parts])
    assert gpu.main() == 1
    written = json.loads((tmp_path / "gpu.json").read_text())
    assert [r["part"] for r in written["rows"]] == ["capture", "heads"]
    assert written["failed"] == {"sites": "RuntimeError: no such kernel"}
    table = (tmp_path / "gpu.md").read_text()
    assert "| capture | it | that | 2 | 0.95 met |" in table
    assert "| heads | it | that | 2 | 3 MISSED |" in table
    assert table.splitlines()[0].startswith("device ")
    assert "| heads | it" in capsys.readouterr().out
