"""Whatever is wrong with a folder that should hold a model is one clear line."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import tiny_model, write_config
from transformers import AutoModelForCausalLM

import interp
from interp.errors import (
    InterpError,
    ModelAccessError,
    ModelNotFoundError,
    UnsafeModelError,
    UnsupportedModelError,
)


def _typo(folder: Path) -> Path:
    return folder.with_name("lama")


def _no_parent(folder: Path) -> Path:
    return folder / "a" / "b"


def _is_a_file(folder: Path) -> Path:
    return folder / "model.safetensors"


def _no_config(folder: Path) -> Path:
    (folder / "config.json").unlink()
    return folder


def _series(folder: Path) -> Path:
    return folder.parent


def _adapter(folder: Path) -> Path:
    (folder / "config.json").rename(folder / "adapter_config.json")
    return folder


def _no_weights(folder: Path) -> Path:
    (folder / "model.safetensors").unlink()
    (folder / "optimizer.pt").write_bytes(b"x")
    return folder


def _pickled(folder: Path) -> Path:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    return folder


def _pickled_shards(folder: Path) -> Path:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin.index.json").write_text("{}")
    return folder


def _truncated(folder: Path) -> Path:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    return folder


def _garbage(folder: Path) -> Path:
    (folder / "model.safetensors").write_bytes(b"\x80\x02}q\x00." * 50)
    return folder


def _empty_weights(folder: Path) -> Path:
    (folder / "model.safetensors").write_bytes(b"")
    return folder


def _shard_gone(folder: Path) -> Path:
    target = folder.with_name("sharded")
    tiny_model("llama").save_pretrained(target, max_shard_size="50KB")
    sorted(target.glob("*.safetensors"))[-1].unlink()
    return target


def _tensor_gone(folder: Path) -> Path:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _config(**changes: object) -> Callable[[Path], Path]:
    def changed(folder: Path) -> Path:
        write_config(folder, **changes)
        return folder

    changed.__name__ = "config_" + "_".join(f"{k}_{v}" for k, v in changes.items())
    return changed


def _broken_config(folder: Path) -> Path:
    (folder / "config.json").write_text('{"model_type": "llama",')
    return folder


def _list_config(folder: Path) -> Path:
    (folder / "config.json").write_text("[]")
    return folder


def _remote_code(folder: Path) -> Path:
    names = {"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"}
    write_config(folder, model_type="mine", auto_map=names)
    return folder


def _broken_tokenizer(folder: Path) -> Path:
    (folder / "tokenizer.json").write_text("{}")
    return folder


FOLDERS: list[tuple[Callable[[Path], Path], type[InterpError], str]] = [
    (_typo, ModelNotFoundError, r"no folder '.*lama'.* Did you mean 'llama'\?"),
    (_no_parent, ModelNotFoundError, r"no folder .*parent .* does not exist"),
    (_is_a_file, ModelNotFoundError, r"is a file.*Give its folder"),
    (_no_config, ModelNotFoundError, r"no config\.json.*save_pretrained"),
    (_series, ModelNotFoundError, r"no config\.json.*models inside: llama"),
    (_adapter, ModelNotFoundError, r"no config\.json.*adapter.*merge"),
    (_no_weights, ModelNotFoundError, r"no weights.*model\.safetensors"),
    (_pickled, UnsafeModelError, r"only pickled.*pytorch_model\.bin.*convert it"),
    (_pickled_shards, UnsafeModelError, r"only pickled.*index\.json.*convert it"),
    (_truncated, UnsupportedModelError, r"damaged or cut short.*again"),
    (_garbage, UnsupportedModelError, r"damaged or cut short.*again"),
    (_empty_weights, UnsupportedModelError, r"damaged or cut short.*0 bytes"),
    (_shard_gone, ModelNotFoundError, r"lacks 1 of its \d+ weight files: model-"),
    (_tensor_gone, UnsupportedModelError, r"layers\.1\.mlp\.up_proj\.weight \(absent"),
    (
        _config(intermediate_size=40),
        UnsupportedModelError,
        r"mlp.*\[.*48.*in the file, \[.*40",
    ),
    (_config(num_hidden_layers=5), UnsupportedModelError, r"layers\.3.*absent"),
    (_broken_config, UnsupportedModelError, r"config\.json' cannot be read as JSON"),
    (_list_config, UnsupportedModelError, r"config\.json' holds list"),
    (
        _config(hidden_size="many"),
        UnsupportedModelError,
        r"config\.json of .* cannot be used",
    ),
    (_config(model_type=None), UnsupportedModelError, r"no model_type"),
    (_config(model_type="lama"), UnsupportedModelError, r"unknown here.*mean 'llama'"),
    (
        _config(model_type="bert"),
        UnsupportedModelError,
        r"'bert' model that reads text in both directions",
    ),
    (
        _config(model_type="t5"),
        UnsupportedModelError,
        r"'t5' model, which is not a causal language model",
    ),
    (
        _config(model_type="bart"),
        UnsupportedModelError,
        r"'bart' model that reads text in both",
    ),
    (
        _config(model_type="vit"),
        UnsupportedModelError,
        r"'vit' model, which is not a causal",
    ),
    (_remote_code, UnsafeModelError, r"own\.C.*trust_remote_code=True"),
    (
        _config(attn_implementation="someone/kernel"),
        UnsafeModelError,
        r"kernel 'someone/kernel'",
    ),
    (_broken_tokenizer, UnsupportedModelError, r"tokenizer of .* cannot be loaded"),
]


@pytest.mark.parametrize(
    ("spoil", "kind", "message"), FOLDERS, ids=[row[0].__name__ for row in FOLDERS]
)
def test_a_spoilt_folder_is_one_clear_line(
    spoil: Callable[[Path], Path],
    kind: type[InterpError],
    message: str,
    folder: Path,
) -> None:
    source = spoil(folder)
    with pytest.raises(kind, match=message) as caught:
        interp.load(source)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    assert str(source) in str(caught.value) or source.name in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_folder_has_no_revisions(folder: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="Only hub repositories"):
        interp.load(folder, revision="step1000")
    with pytest.raises(ModelNotFoundError, match=r"Load '.*llama'"):
        interp.load(folder.parent, revision="llama")


def test_a_folder_that_may_not_be_read_is_said(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbid(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", forbid)
    with pytest.raises(ModelAccessError, match="may not be read by you"):
        interp.load(saved)


@pytest.mark.parametrize("name", ["/a/b\0c", "./" + "x" * 5000])
def test_a_name_that_no_folder_can_have_is_not_found(name: str) -> None:
    with pytest.raises(ModelNotFoundError, match="There is no folder"):
        interp.load(name)


def test_any_exception_of_transformers_becomes_one_line(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise ImportError("needs `bitsandbytes`\nand much more text")

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", fail)
    with pytest.raises(UnsupportedModelError, match="ImportError: needs `bitsandb"):
        interp.load(saved)


def test_memory_that_runs_out_is_said(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", fail)
    with pytest.raises(interp.errors.OutOfMemoryError, match="does not fit"):
        interp.load(saved)
