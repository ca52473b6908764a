"""Models on NDIF: what is asked, what is sent, and one line for what goes wrong."""

import importlib.util
import io
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hub_stand_in import serving
from tiny import saved_tiny_model, tiny_model, tiny_tokenizer

import interp
from interp.errors import (
    ConfigError,
    MissingSiteError,
    ModelAccessError,
    OfflineError,
    OutOfMemoryError,
    RemoteError,
)
from interp.models.traced import TracedModel


pytest.importorskip("nnsight")

from ndif_stand_in import Ndif, serving_ndif
from nnsight.modeling.transformers import TransformersModel


PROMPTS = ["The city of Paris is in the", "the", "x y z and not the city"]
SITES = ["resid_post.*", "z.1", "logits"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = saved_tiny_model(tmp_path_factory.mktemp("model"))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def hub(
    files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[object]:
    monkeypatch.setenv("NDIF_API_KEY", "a-key-of-mine")
    with serving(files, tmp_path / "cache", monkeypatch) as hub:
        yield hub


@pytest.fixture
def ndif(hub: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ndif]:
    envoy = TransformersModel(
        tiny_model("llama"), tokenizer=tiny_tokenizer(), task="text-generation"
    )
    with serving_ndif(envoy, monkeypatch) as ndif:
        yield ndif


def remote() -> TracedModel:
    model = interp.load("someone/tiny", backend="nnsight", remote=True)
    assert isinstance(model, TracedModel)
    return model


def native() -> interp.LanguageModel:
    return interp.load(tiny_model("llama"), tokenizer=tiny_tokenizer())


def assert_same(found: interp.Activations, wanted: interp.Activations) -> None:
    for site in wanted.sites:
        torch.testing.assert_close(found[site], wanted[site], rtol=0, atol=1e-5)


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_without_a_key_one_line_says_so_and_nothing_is_asked(
    hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NDIF_API_KEY")
    with pytest.raises(ModelAccessError, match="NDIF_API_KEY is not set") as caught:
        remote()
    assert "\n" not in str(caught.value)
    assert hub.asked == []


def test_only_config_and_tokenizer_are_fetched(hub) -> None:
    model = remote()
    assert {p.device.type for p in model.hf.parameters()} == {"meta"}
    assert not [path for path in hub.asked if path.endswith(".safetensors")]
    assert (model.n_layers, model.d_model) == (3, 32)


def test_a_host_that_is_not_there_is_one_line_and_quick(
    hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NDIF_HOST", f"http://127.0.0.1:{closed_port()}")
    model = remote()
    start = time.monotonic()
    with pytest.raises(OfflineError, match="NDIF cannot be reached at http") as caught:
        interp.capture(model, PROMPTS)
    assert time.monotonic() - start < 10
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("backend", ["native", "nnsight"])
def test_what_ndif_cannot_run_is_refused(
    backend: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NDIF_API_KEY", "a-key-of-mine")
    with pytest.raises(ConfigError, match="remote=True"):
        interp.load(str(tmp_path), remote=True, backend=backend)
    with pytest.raises(ConfigError, match="remote=True"):
        interp.load(tiny_model("llama"), remote=True, backend=backend)


def test_a_wrong_host_is_named(hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NDIF_HOST", "ndif.example")
    with pytest.raises(ConfigError, match=r"NDIF_HOST is 'ndif\.example'"):
        remote()


def test_a_remote_capture_equals_one_here(ndif: Ndif) -> None:
    for positions in ("last", "all", "mean"):
        found = interp.capture(remote(), PROMPTS, sites=SITES, positions=positions)
        wanted = interp.capture(native(), PROMPTS, sites=SITES, positions=positions)
        assert_same(found, wanted)


def test_remote_edits_equal_edits_here(ndif: Ndif) -> None:
    direction = torch.randn(32, generator=torch.Generator().manual_seed(0))
    far, near = remote(), native()
    for edits in (
        lambda model: interp.steer(model, direction, 2.0, site="resid_post.1"),
        lambda model: interp.ablate(model, direction),
        lambda model: interp.patch(model, {"resid_post.1": ("last", direction)}),
    ):
        with edits(far):
            found = interp.capture(far, PROMPTS, sites=SITES, positions="all")
        with edits(near):
            wanted = interp.capture(near, PROMPTS, sites=SITES, positions="all")
        assert_same(found, wanted)
    assert far.edits == []


def test_remote_generation_is_steered_as_here(ndif: Ndif) -> None:
    direction = torch.randn(32, generator=torch.Generator().manual_seed(0))
    far, near = remote(), native()
    with interp.steer(far, direction, 3.0, site="resid_post.1"):
        found = far.generate(PROMPTS, max_new_tokens=6)
    with interp.steer(near, direction, 3.0, site="resid_post.1"):
        wanted = near.generate(PROMPTS, max_new_tokens=6)
    assert found == wanted != near.generate(PROMPTS, max_new_tokens=6)


def test_a_request_carries_the_key_and_no_path_of_this_machine(
    ndif: Ndif, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Compressed, a path would not be seen.
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "zstandard" else found(name, *rest),
    )
    model = remote()
    with interp.steer(model, torch.ones(32), site="resid_post.0"):
        interp.capture(model, PROMPTS)
    assert set(ndif.keys) == {"a-key-of-mine"}
    (job,) = ndif.jobs
    assert b"someone/tiny" in job
    assert b"a-key-of-mine" not in job
    places = (Path(interp.__file__).parent, Path.home(), tmp_path, Path.cwd())
    assert not [place for place in places if str(place).encode() in job]
    assert not re.findall(rb"[\w.]/[\w./-]+\.py\b", job)


def test_what_fails_there_is_one_line_here(ndif: Ndif) -> None:
    ndif.failure = "The model is not deployed"
    with pytest.raises(RemoteError, match="The model is not deployed") as caught:
        interp.capture(remote(), PROMPTS)
    assert "\n" not in str(caught.value)
    ndif.failure = "401: this API key is unknown"
    with pytest.raises(ModelAccessError, match="refuses the key in NDIF_API_KEY"):
        interp.capture(remote(), PROMPTS)


def test_batches_get_smaller_where_memory_runs_out_there(ndif: Ndif) -> None:
    ndif.failure = "CUDA out of memory"
    with pytest.raises(OutOfMemoryError, match="does not fit into memory"):
        interp.capture(remote(), PROMPTS)
    assert len(ndif.jobs) > 1


class _Payload:
    """What a pickle would call when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


def test_code_in_an_answer_does_not_run(ndif: Ndif, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"kept": _Payload(tmp_path / "ran")}, buffer)
    ndif.hostile = buffer.getvalue()
    with pytest.raises(RemoteError):
        interp.capture(remote(), PROMPTS)
    assert not (tmp_path / "ran").exists()


def test_what_needs_this_machine_is_refused(ndif: Ndif) -> None:
    model = remote()
    with (
        pytest.raises(ConfigError, match="by a function"),
        interp.clamp(model, {"resid_post.1": (3, lambda part: part + 1)}),
    ):
        pass
    with pytest.raises(ConfigError, match="temperature"):
        model.generate(PROMPTS, temperature=1.0)
    with pytest.raises(MissingSiteError, match=r"'pattern\.0'"):
        interp.capture(model, PROMPTS, sites="pattern.0")
    with pytest.raises(ConfigError, match="runs on NDIF"):
        model.hf(torch.tensor([[5, 6]]))
    assert ndif.jobs == []
