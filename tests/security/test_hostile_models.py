"""Checkpoints that try to run code, or to name files elsewhere."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from tiny import saved_tiny_model

import interp
from interp.errors import ModelNotFoundError, UnsafeModelError, UnsupportedModelError
from interp.models.checkpoint import inspect_folder, wanted_files
from interp.neurons.tensors import _files


INDEX = "model.safetensors.index.json"


class Runs:
    """A pickle of this makes a file when it is opened."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


@pytest.fixture
def model(tmp_path) -> Path:
    return saved_tiny_model(tmp_path, "llama", num_hidden_layers=1)


def test_pickles_beside_the_weights_are_not_opened(model, tmp_path):
    mark = tmp_path / "ran"
    for name in ("pytorch_model.bin", "adapter_model.bin", "training_args.bin"):
        torch.save({"x": Runs(mark)}, model / name)
    shutil.copy(model / "pytorch_model.bin", model / "tokenizer.pkl")
    loaded = interp.load(model)
    interp.capture(loaded, ["the city"])
    assert not mark.exists()
    torch.load(model / "pytorch_model.bin", weights_only=False)  # noqa: TID251
    assert mark.exists()


def test_pickled_weights_alone_are_refused_unopened(model, tmp_path):
    mark = tmp_path / "ran"
    torch.save({"x": Runs(mark)}, model / "pytorch_model.bin")
    (model / "model.safetensors").unlink()
    with pytest.raises(UnsafeModelError, match=r"pytorch_model\.bin"):
        interp.load(model)
    assert not mark.exists()


@pytest.mark.parametrize(
    "name",
    [
        *("../out.safetensors", "/etc/hostname", "a/../../out.safetensors", ".."),
        *("..\\out.safetensors", "", "a\0b", 3, None, ["x"], {"y": 1}),
    ],
)
def test_an_index_names_only_files_beside_itself(name, model):
    weights = model / "model.safetensors"
    shutil.copy(weights, model.parent / "out.safetensors")
    with safe_open(weights, framework="numpy") as opened:
        keys = list(opened.keys())
    weights.unlink()
    (model / INDEX).write_text(json.dumps({"weight_map": dict.fromkeys(keys, name)}))
    for read in (lambda: inspect_folder(model, "it"), lambda: _files(model)):
        with pytest.raises((UnsupportedModelError, ModelNotFoundError)) as caught:
            read()
        assert "\n" not in str(caught.value)
    with pytest.raises((UnsupportedModelError, ModelNotFoundError)):
        interp.load(model)


def test_no_pickle_and_no_code_is_wanted_from_a_hub():
    names = [
        *("config.json", "model.safetensors", "pytorch_model.bin", "tokenizer.pkl"),
        *("modeling_own.py", "model.pt", "pytorch_model.bin.index.json", "x.ckpt"),
        *("../../../outside.json", "sub/other.json", "chat_templates/../../x.jinja"),
    ]
    assert wanted_files(names, where="it") == ["config.json", "model.safetensors"]
