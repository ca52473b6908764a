"""A model's identity changes with what it is, and with nothing else."""

import hashlib
import shutil
from pathlib import Path

import pytest
import torch
from tiny import saved_tiny_model, tiny_model, tiny_tokenizer

import interp
from interp.models import identity


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return saved_tiny_model(tmp_path, "llama")


def test_the_weights_hash_is_the_files_sha256(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    found = interp.load(folder).identity()
    assert found.weights_hash == hashlib.sha256(content).hexdigest()
    assert found.name == str(folder)
    assert (found.dtype, found.attention, found.device) == ("float32", "sdpa", "cpu")


def test_a_copy_has_the_same_identity_but_for_its_name(
    folder: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    first, second = (interp.load(path).identity() for path in (folder, copy))
    for field in ("weights_hash", "config_hash", "tokenizer_hash", "template_hash"):
        assert getattr(first, field) == getattr(second, field) != ""


def test_the_hub_cache_gives_the_hash_that_a_copy_has(
    folder: Path, tmp_path: Path
) -> None:
    weights = folder / "model.safetensors"
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    weights.rename(blobs / digest)
    weights.symlink_to(blobs / digest)
    assert interp.load(folder).identity().weights_hash == digest


def test_other_weights_have_another_hash(tmp_path: Path) -> None:
    first = interp.load(saved_tiny_model(tmp_path / "a", "llama")).identity()
    second = interp.load(saved_tiny_model(tmp_path / "b", "llama", seed=1)).identity()
    assert first.weights_hash != second.weights_hash
    assert first.tokenizer_hash == second.tokenizer_hash
    assert first.config_hash == second.config_hash


def test_sharding_is_hashed_file_by_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        tiny_model("llama").save_pretrained(tmp_path / name, max_shard_size="50KB")
    first, second = (interp.load(tmp_path / name).identity() for name in ("a", "b"))
    assert first.weights_hash == second.weights_hash != ""


def test_a_file_is_hashed_once_until_it_changes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []
    digest = hashlib.file_digest

    def count(stream, name):
        hashed.append(stream.name)
        return digest(stream, name)

    monkeypatch.setattr(identity.hashlib, "file_digest", count)
    model = interp.load(folder)
    first = model.identity().weights_hash
    assert model.identity().weights_hash == first
    assert len(hashed) == 1
    tiny_model("llama", seed=5).save_pretrained(folder)
    assert model.identity().weights_hash != first
    assert len(hashed) == 2


def test_a_model_in_memory_is_hashed_by_its_tensors() -> None:
    first, same, other = (tiny_model("llama", seed=seed) for seed in (0, 0, 1))
    hashes = [interp.load(hf).identity().weights_hash for hf in (first, same, other)]
    assert hashes[0] == hashes[1] != hashes[2]
    with torch.no_grad():
        next(same.parameters())[0, 0] += 1
    assert interp.load(same).identity().weights_hash != hashes[0]


def test_using_a_tokenizer_does_not_change_its_hash() -> None:
    model = interp.load(tiny_model("llama"), tokenizer=tiny_tokenizer())
    before = model.identity().tokenizer_hash
    model.tokenizer(["a", "the city"], padding=True, truncation=True, max_length=2)
    assert model.identity().tokenizer_hash == before


def test_another_token_or_template_has_another_hash() -> None:
    plain, extended = tiny_tokenizer(), tiny_tokenizer()
    extended.add_tokens(["new"])
    extended.chat_template = "{{ messages }}"
    first, second = (
        interp.load(tiny_model("llama"), tokenizer=tokenizer).identity()
        for tokenizer in (plain, extended)
    )
    assert first.tokenizer_hash != second.tokenizer_hash
    assert first.template_hash != second.template_hash
    bare = interp.load(tiny_model("llama")).identity()
    assert (bare.tokenizer_hash, bare.template_hash) == ("", "")


def test_another_config_has_another_hash() -> None:
    first = interp.load(tiny_model("llama")).identity()
    second = interp.load(tiny_model("llama", rope_theta=5.0)).identity()
    assert first.weights_hash == second.weights_hash
    assert first.config_hash != second.config_hash


def test_hashes_can_be_left_out(folder: Path) -> None:
    model = interp.load(folder)
    brief = model.identity(hashes=False)
    assert brief.weights_hash == brief.config_hash == brief.tokenizer_hash == ""
    assert (brief.name, brief.attention) == (str(folder), "sdpa")
