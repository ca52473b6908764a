"""Code that comes with a model runs only when it is asked for."""

import json
import sys
from pathlib import Path

import pytest
import transformers
import transformers.dynamic_module_utils
from tiny import (
    write_config,
)

import interp
from interp.errors import (
    UnsafeModelError,
)


MODULE = """
from pathlib import Path
from transformers import LlamaConfig, LlamaForCausalLM
Path({marker!r}).write_text("it ran")
class OwnConfig(LlamaConfig):
    model_type = "own-llama"
class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig
"""
NAMES = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}


def _with_code(folder: Path, model_type: str) -> Path:
    marker = folder.parent / "it_ran"
    (folder / "own.py").write_text(MODULE.format(marker=str(marker)))
    write_config(folder, model_type=model_type, auto_map=NAMES)
    return marker


def test_remote_code_does_not_run_unless_asked(folder: Path) -> None:
    marker = _with_code(folder, "own-llama")
    with pytest.raises(UnsafeModelError, match="trust_remote_code=True"):
        interp.load(folder)
    assert not marker.exists()


def test_a_known_architecture_is_read_without_the_code_it_brings(folder: Path) -> None:
    marker = _with_code(folder, "llama")
    model = interp.load(folder)
    assert type(model.hf) is transformers.LlamaForCausalLM
    assert not marker.exists()


def test_code_of_a_tokenizer_does_not_run_unless_asked(folder: Path) -> None:
    marker = _with_code(folder, "llama")
    (folder / "tokenizer.json").unlink()
    names = {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(names))
    with pytest.raises(UnsafeModelError, match=r"tokenizer_config\.json.*trust_remote"):
        interp.load(folder)
    assert not marker.exists()


def test_remote_code_runs_when_asked(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = _with_code(folder, "own-llama")
    cache = str(folder.parent / "modules")
    monkeypatch.setattr(transformers.dynamic_module_utils, "HF_MODULES_CACHE", cache)
    monkeypatch.setattr(sys, "path", [*sys.path])
    model = interp.load(folder, trust_remote_code=True)
    assert type(model.hf).__name__ == "OwnModel"
    assert marker.read_text() == "it ran"
