"""Models from a hub, against a stand-in for it on this machine."""

import hashlib
import logging
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub
import pytest
import torch
from hub_stand_in import COMMIT, OTHER_COMMIT, Hub, point_at, serving
from tiny import saved_tiny_model, tiny_model

import interp
from interp.errors import (
    InterpError,
    ModelAccessError,
    ModelNotFoundError,
    OfflineError,
    UnsafeModelError,
)
from interp.models import hub as hub_module


# A network that is not there must be reported within a few seconds.
SECONDS_TO_FAIL = 8.0


@pytest.fixture(scope="module")
def tiny_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = saved_tiny_model(tmp_path_factory.mktemp("files"), "llama")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def hub(
    tiny_files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Hub]:
    with serving(tiny_files, tmp_path / "cache", monkeypatch) as hub:
        yield hub


@pytest.fixture
def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def _logits(model: interp.LanguageModel) -> torch.Tensor:
    with torch.inference_mode():
        return model.hf(torch.tensor([[0, 263, 275]])).logits


def test_a_hub_model_is_the_same_model_and_knows_its_commit(hub: Hub) -> None:
    model = interp.load("someone/tiny")
    assert (model.name, model.revision, model.commit) == ("someone/tiny", None, COMMIT)
    with torch.inference_mode():
        expected = tiny_model("llama")(torch.tensor([[0, 263, 275]])).logits
    assert torch.equal(_logits(model), expected)
    assert model.tokenizer is not None
    found = model.identity()
    weights = hub.files["model.safetensors"]
    assert found.weights_hash == hashlib.sha256(weights).hexdigest()
    assert found.revision == COMMIT


def test_a_revision_is_resolved_to_its_commit(hub: Hub) -> None:
    hub.revisions["step1000"] = OTHER_COMMIT
    model = interp.load("someone/tiny", revision="step1000")
    assert (model.revision, model.commit) == ("step1000", OTHER_COMMIT)


def test_only_the_files_that_loading_needs_are_fetched(hub: Hub) -> None:
    hub.files |= {
        "pytorch_model.bin": b"pickle",
        "tf_model.h5": b"x",
        "own.py": b"x",
        "README.md": b"x",
        "onnx/model.onnx": b"x",
    }
    interp.load("someone/tiny")
    fetched = {path.rpartition("/")[2] for path in hub.asked if "/resolve/" in path}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= fetched
    assert not {"pytorch_model.bin", "tf_model.h5", "own.py", "README.md"} & fetched


def _gated(hub: Hub) -> None:
    hub.gated = True


def _forbidden(hub: Hub) -> None:
    hub.status = 403


def _down(hub: Hub) -> None:
    hub.status = 503


def _pickled(hub: Hub) -> None:
    hub.files["pytorch_model.bin"] = hub.files.pop("model.safetensors")


def _no_weights(hub: Hub) -> None:
    del hub.files["model.safetensors"]


def _no_config(hub: Hub) -> None:
    del hub.files["config.json"]


SPOILT = [
    (_gated, ModelAccessError, r"someone/tiny is gated.*Ask for it at .*auth login"),
    (_forbidden, ModelAccessError, r"refuses access to someone/tiny \(HTTP 403\)"),
    (_down, OfflineError, r"cannot be reached for someone/tiny \(HTTP 503\)"),
    (_pickled, UnsafeModelError, r"someone/tiny has only pickled.*convert it"),
    (_no_weights, ModelNotFoundError, r"someone/tiny has no weights"),
    (_no_config, ModelNotFoundError, r"someone/tiny has no config\.json"),
]


@pytest.mark.parametrize(
    ("spoil", "kind", "message"), SPOILT, ids=[row[0].__name__ for row in SPOILT]
)
def test_a_closed_or_unusable_repository_is_one_clear_line(
    hub: Hub, spoil: Callable[[Hub], None], kind: type[InterpError], message: str
) -> None:
    spoil(hub)
    with pytest.raises(kind, match=message) as caught:
        interp.load("someone/tiny")
    assert "\n" not in str(caught.value)
    # All but a gate is seen in the list of files, before one is fetched.
    assert spoil is _gated or not any("/resolve/" in path for path in hub.asked)


def test_a_missing_repository_is_said(hub: Hub) -> None:
    with pytest.raises(ModelNotFoundError, match=r"no model 'someone/tyni'.*spelling"):
        interp.load("someone/tyni")


def test_a_folder_that_was_meant_is_suggested(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models" / "llama").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelNotFoundError, match=r"Did you mean 'models/llama'\?"):
        interp.load("models/lama")


def test_a_missing_revision_is_said(hub: Hub) -> None:
    with pytest.raises(ModelNotFoundError, match=r"tiny has no revision 'step7'"):
        interp.load("someone/tiny", revision="step7")


@pytest.mark.parametrize("name", ["", "a b", "some one/x", "-x", "é/x"])
def test_what_is_no_hub_id_is_said(hub: Hub, name: str) -> None:
    with pytest.raises(ModelNotFoundError, match="neither a folder nor a hub id"):
        interp.load(name)
    assert hub.asked == []


def test_no_network_fails_within_seconds_and_says_what_to_run(
    closed_port: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point_at(closed_port, tmp_path, monkeypatch)
    start = time.monotonic()
    with pytest.raises(
        OfflineError,
        match=r"cannot be reached for a/b.*`hf download a/b --revision step5`",
    ):
        interp.load("a/b", revision="step5")
    assert time.monotonic() - start < SECONDS_TO_FAIL


def test_a_hub_that_does_not_answer_fails_within_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "SECONDS_TO_ANSWER", 0.3)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        point_at(url, tmp_path, monkeypatch)
        start = time.monotonic()
        with pytest.raises(OfflineError, match="cannot be reached for a/b"):
            interp.load("a/b")
        assert time.monotonic() - start < SECONDS_TO_FAIL
    huggingface_hub.close_session()


def test_offline_mode_asks_nobody_and_is_named(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point_at(hub.url, tmp_path, monkeypatch, offline=True)
    with pytest.raises(OfflineError, match=r"HF_HUB_OFFLINE is set.*no copy.*hf downl"):
        interp.load("someone/tiny")
    assert hub.asked == []


def test_the_cache_serves_without_a_network_and_says_so(
    hub: Hub,
    closed_port: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    online = interp.load("someone/tiny")
    point_at(closed_port, tmp_path / "cache", monkeypatch)
    with caplog.at_level(logging.WARNING, logger="interp.models"):
        cached = interp.load("someone/tiny")
    assert "cached commit 0123456789ab is used" in caplog.text
    assert cached.commit == COMMIT
    assert torch.equal(_logits(cached), _logits(online))
    point_at(closed_port, tmp_path / "cache", monkeypatch, offline=True)
    assert interp.load("someone/tiny").commit == COMMIT


def test_a_cached_commit_is_loaded_without_asking(hub: Hub) -> None:
    interp.load("someone/tiny", revision=COMMIT)
    hub.asked.clear()
    assert interp.load("someone/tiny", revision=COMMIT).commit == COMMIT
    assert hub.asked == []


def test_a_moved_branch_is_followed(hub: Hub) -> None:
    assert interp.load("someone/tiny").commit == COMMIT
    hub.revisions["main"] = OTHER_COMMIT
    assert interp.load("someone/tiny").commit == OTHER_COMMIT


def test_an_interrupted_download_is_finished_by_the_next_load(hub: Hub) -> None:
    weights = hub.files.pop("model.safetensors")
    hub.files["model.safetensors"] = weights
    hub.gated = True
    with pytest.raises(ModelAccessError):
        interp.load("someone/tiny", revision=COMMIT)
    hub.gated = False
    assert interp.load("someone/tiny", revision=COMMIT).commit == COMMIT
