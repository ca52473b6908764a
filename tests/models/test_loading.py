"""Loading: the model is Hugging Face's own, at the dtype and place asked for."""

import logging
import threading
from pathlib import Path

import pytest
import torch
import transformers
import transformers.dynamic_module_utils
from huggingface_hub import utils as hub_utils
from safetensors.torch import load_file, save_file
from tiny import ARCHITECTURES, saved_tiny_model, tiny_model, tiny_tokenizer
from transformers import AutoModelForCausalLM

import interp
from interp.errors import (
    ConfigError,
    PromptError,
    UnsupportedModelError,
)


IDS = torch.tensor([[0, 263, 275, 271, 286, 268, 278]])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_logits_are_bit_equal_to_hugging_face(
    architecture: str, tmp_path: Path
) -> None:
    folder = saved_tiny_model(tmp_path, architecture)
    model = interp.load(folder, device="cpu")
    plain = AutoModelForCausalLM.from_pretrained(folder)
    with torch.inference_mode():
        assert torch.equal(model.hf(IDS).logits, plain(IDS).logits)
    assert type(model.hf) is type(plain)
    assert not model.hf.training
    assert not any(module._forward_hooks for module in model.hf.modules())


EXPECTED = {
    "gpt2": (3, 4, 4, 32, 8, 128, 320, 128),
    "gpt_neox": (3, 4, 4, 32, 8, 48, 320, 128),
    "llama": (3, 4, 2, 32, 8, 48, 320, 128),
    "qwen3": (3, 4, 2, 32, 12, 48, 320, 128),
    "gemma2": (4, 4, 2, 32, 12, 48, 320, 128),
    "opt": (3, 4, 4, 32, 8, 48, 320, 128),
    "phi": (3, 4, 4, 32, 8, 48, 320, 128),
    "mixtral": (3, 4, 2, 32, 8, 48, 320, 128),
    "qwen3_moe": (3, 4, 2, 32, 12, 24, 320, 128),
    "falcon": (3, 4, 1, 32, 8, 48, 320, 2048),
    "falcon_new": (3, 4, 2, 32, 8, 48, 320, 2048),
    "bloom": (3, 4, 4, 32, 8, 128, 320, None),
}


@pytest.mark.parametrize("architecture", EXPECTED)
def test_sizes_are_read_whatever_the_config_calls_them(architecture: str) -> None:
    model = interp.load(tiny_model(architecture))
    assert EXPECTED[architecture] == (
        model.n_layers,
        model.n_heads,
        model.n_kv_heads,
        model.d_model,
        model.d_head,
        model.d_mlp,
        model.d_vocab,
        model.context_length,
    )


def test_the_text_part_of_a_nested_config_is_read() -> None:
    from transformers import Gemma3Config, Gemma3TextConfig

    from interp.models.dimensions import dimensions_of

    text = Gemma3TextConfig(hidden_size=64, num_hidden_layers=2, head_dim=12)
    sizes = dimensions_of(Gemma3Config(text_config=text))
    assert (sizes.d_model, sizes.n_layers, sizes.d_head) == (64, 2, 12)


def test_a_projected_embedding_does_not_change_the_width_of_the_stream() -> None:
    model = interp.load(tiny_model("opt", word_embed_proj_dim=16))
    assert model.d_model == 32


def test_dtype_auto_is_the_checkpoints(tmp_path: Path) -> None:
    target = tmp_path / "half"
    tiny_model("llama").bfloat16().save_pretrained(target)
    assert interp.load(target).dtype == torch.bfloat16
    assert interp.load(target, dtype="float32").dtype == torch.float32
    assert interp.load(target, dtype=torch.float16).dtype == torch.float16


def test_attention_is_the_one_asked_for(saved: Path) -> None:
    assert interp.load(saved, attn="eager").hf.config._attn_implementation == "eager"


def test_sharded_weights_load(tmp_path: Path) -> None:
    tiny_model("llama").save_pretrained(tmp_path / "m", max_shard_size="50KB")
    assert len(list((tmp_path / "m").glob("*.safetensors"))) > 1
    model = interp.load(tmp_path / "m")
    with torch.inference_mode():
        assert torch.equal(model.hf(IDS).logits, tiny_model("llama")(IDS).logits)


def test_a_loaded_model_is_taken_as_it_is() -> None:
    hf = tiny_model("llama").train()
    tokenizer = tiny_tokenizer()
    model = interp.load(hf, tokenizer=tokenizer)
    assert model.hf is hf
    assert model.tokenizer is tokenizer
    assert not hf.training


def test_wrappers_of_one_model_share_its_lock() -> None:
    hf = tiny_model("llama")
    first, second = interp.load(hf), interp.load(hf)
    assert first.lock is second.lock
    assert first.lock is not interp.load(tiny_model("llama")).lock
    reached = threading.Event()

    def enter() -> None:
        with second.lock:
            reached.set()

    with first.lock, first.lock:  # re-entrant
        other = threading.Thread(target=enter)
        other.start()
        assert not reached.wait(0.05)
    other.join(5)
    assert reached.is_set()


def test_log_level_and_bars_of_transformers_are_restored(
    saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = transformers.utils.logging
    before = log.get_verbosity(), log.is_progress_bar_enabled()
    hub_before = hub_utils.are_progress_bars_disabled()
    interp.load(saved)
    assert (log.get_verbosity(), log.is_progress_bar_enabled()) == before
    assert hub_utils.are_progress_bars_disabled() == hub_before
    assert capsys.readouterr().err == ""


def test_a_model_without_tokenizer_reads_token_ids_only(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with caplog.at_level(logging.WARNING, logger="interp.models"):
        model = interp.load(folder)
    assert model.tokenizer is None
    assert "no tokenizer" in caplog.text
    assert model.tokenize([[1, 2]]).ids == ((1, 2),)
    with pytest.raises(PromptError, match=r"no tokenizer.*Give token ids"):
        model.tokenize(["the city"])


def test_tensors_without_a_place_are_named(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.9.mlp.up_proj.weight"] = torch.zeros(2)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with caplog.at_level(logging.WARNING, logger="interp.models"):
        interp.load(folder)
    assert "layers.9.mlp.up_proj" in caplog.text


OPTIONS: list[tuple[dict[str, str], str]] = [
    ({"dtype": "float61"}, r"no dtype 'float61'.*auto, float32.*Did you mean"),
    ({"dtype": "int8"}, r"no dtype 'int8'.*auto, float32"),
    ({"device": "gpu"}, r"no device 'gpu' here.*auto, cpu"),
    ({"device": "cuda:77"}, r"no device 'cuda:77'"),
    ({"device": "meta"}, r"no device 'meta'"),
    ({"attn": "spda"}, r"no attention implementation 'spda'.*'sdpa'"),
    ({"attn": "someone/kernel"}, r"no attention implementation 'someone/kernel'"),
]


@pytest.mark.parametrize(("option", "message"), OPTIONS)
def test_an_unknown_option_names_the_known_ones(
    option: dict[str, str], message: str, saved: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        interp.load(saved, **option)  # pyright: ignore[reportArgumentType]


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
@pytest.mark.parametrize("device", ["cuda", "cuda:1", "balanced"])
def test_cuda_without_cuda_is_said(device: str, saved: Path) -> None:
    with pytest.raises(ConfigError, match="finds no CUDA device"):
        interp.load(saved, device=device)


@pytest.mark.parametrize(
    ("device", "placed"),
    [
        ("auto", "cuda"),
        ("cpu", None),
        ("cuda", "cuda"),
        ("cuda:1", "cuda:1"),
        ("balanced", "balanced"),
    ],
)
def test_the_device_asked_for_is_the_one_transformers_is_told(
    device: str, placed: str | None, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []

    def listen(*args: object, **options: object) -> None:
        told.append(options["device_map"])
        raise ValueError("enough")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", listen)
    with pytest.raises(UnsupportedModelError, match="enough"):
        interp.load(saved, device=device)
    assert told == [placed]
    with pytest.raises(ConfigError, match=r"no device 'cuda:2'.*cuda:0, cuda:1"):
        interp.load(saved, device="cuda:2")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_model_on_cuda_writes_what_it_writes_on_the_cpu(saved: Path) -> None:
    ids = [[0, 263, 275], [0, 70]]
    here, there = interp.load(saved, device="cpu"), interp.load(saved, device="cuda")
    assert there.device.type == "cuda"
    assert there.generate(ids, max_new_tokens=5) == here.generate(ids, max_new_tokens=5)
    drawn = there.generate(ids, max_new_tokens=5, temperature=1.0)
    alone = there.generate(ids, max_new_tokens=5, temperature=1.0, batch_size=1)
    assert drawn == alone
    assert there.identity().weights_hash == here.identity().weights_hash
