"""Orthogonalised models as folders: loadable, exact, and never half written."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import tiny_model, tiny_tokenizer
from transformers import AutoModelForCausalLM, GenerationConfig

import interp
from interp.edits import ablate, orthogonalise, save_model, save_orthogonalised
from interp.errors import DiskFullError, IncompatibleError, UnwritableError
from interp.models.language_model import LanguageModel


IDS = torch.tensor([[5, 6, 7, 8, 9, 10]])
VECTOR = torch.randn(32, generator=torch.Generator().manual_seed(11))


def model_with_tokenizer(architecture: str, **changes: Any) -> LanguageModel:
    hf: Any = tiny_model(architecture, **changes)
    return LanguageModel(
        hf=hf, tokenizer=tiny_tokenizer(), name="tiny", commit="c0ffee"
    )


@pytest.mark.parametrize(
    ("architecture", "changes"),
    [
        ("gpt2", {}),
        ("llama", {"tie_word_embeddings": True}),
        ("gemma2", {}),
        ("mixtral", {}),
        ("qwen3_moe", {}),
    ],
    ids=str,
)
def test_a_saved_folder_loads_everywhere_and_equals_the_hooks(
    tmp_path, architecture, changes
):
    model = model_with_tokenizer(architecture, **changes)
    folder = tmp_path / "deep" / "edited"
    edited = save_orthogonalised(model, VECTOR, folder)
    with ablate(model, VECTOR):
        right = model.hf(IDS).logits
    loaded = interp.load(folder)
    assert torch.equal(loaded.hf(IDS).logits, edited.hf(IDS).logits)
    torch.testing.assert_close(loaded.hf(IDS).logits, right, rtol=1e-5, atol=1e-5)
    plain: Any = AutoModelForCausalLM.from_pretrained(folder)
    assert torch.equal(plain(IDS).logits, loaded.hf(IDS).logits)
    assert plain.config.tie_word_embeddings is False
    texts = ["The city of Paris is"]
    assert loaded.tokenize(texts, chat=True) == model.tokenize(texts, chat=True)
    assert loaded.generate(texts, max_new_tokens=5) == edited.generate(
        texts, max_new_tokens=5
    )


def test_the_folder_tells_where_it_comes_from_and_holds_no_path(tmp_path):
    folder = tmp_path / "edited"
    save_orthogonalised(model_with_tokenizer("llama"), VECTOR, folder)
    record = json.loads((folder / "orthogonalised.json").read_text())
    assert record["model"] == "tiny"
    assert record["commit"] == "c0ffee"
    assert 0 < record["largest_logit_difference"] < 1e-5
    assert str(tmp_path) not in (folder / "config.json").read_text()


def test_half_precision_is_saved_as_such(tmp_path):
    hf: Any = tiny_model("qwen2")
    model = LanguageModel(hf=hf.to(torch.bfloat16))
    save_orthogonalised(model, VECTOR, tmp_path / "half")
    assert interp.load(tmp_path / "half").dtype == torch.bfloat16


def test_generation_settings_are_kept_even_if_contradictory(tmp_path):
    model = model_with_tokenizer("llama")
    # As many chat models have them: a temperature that greedy decoding does not use.
    settings = GenerationConfig(do_sample=False, eos_token_id=[1, 5])
    settings.temperature = 0.6
    model.hf.generation_config = settings
    save_model(orthogonalise(model, VECTOR), tmp_path / "edited")
    saved = json.loads((tmp_path / "edited" / "generation_config.json").read_text())
    assert saved["temperature"] == 0.6
    assert saved["eos_token_id"] == [1, 5]
    assert interp.load(tmp_path / "edited").hf.generation_config.eos_token_id == [1, 5]
    assert model.hf.generation_config is settings


@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_is_there_is_never_overwritten(tmp_path, what):
    target = tmp_path / "mine"
    kept = target if what == "file" else target / "notes.txt"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("precious")
    with pytest.raises(UnwritableError, match=r"mine' exists and is not empty"):
        save_orthogonalised(model_with_tokenizer("llama"), VECTOR, target)
    assert kept.read_text() == "precious"


def test_an_empty_folder_may_be_filled(tmp_path):
    save_model(LanguageModel(hf=tiny_model("llama")), tmp_path)
    assert (tmp_path / "model.safetensors").is_file()


def test_nothing_is_left_of_a_write_that_failed(tmp_path, monkeypatch):
    model = model_with_tokenizer("llama")

    def full(folder: Path) -> None:
        (Path(folder) / "model.safetensors").write_bytes(b"half")
        raise RuntimeError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(model.hf, "save_pretrained", full)
    with pytest.raises(DiskFullError, match="edited' was not written"):
        save_model(model, tmp_path / "edited")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_cannot_be_edited_leaves_no_folder(tmp_path):
    with pytest.raises(IncompatibleError, match="cannot be widened"):
        save_orthogonalised(model_with_tokenizer("bloom"), VECTOR, tmp_path / "edited")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_permission_is_an_error_in_one_line(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(UnwritableError, match="part of the path is a file"):
        save_model(LanguageModel(hf=tiny_model("llama")), blocked / "edited")
