"""Loading: the model is Hugging Face's own, and whatever is wrong is one clear line."""

import json
import logging
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
import transformers.dynamic_module_utils
from huggingface_hub import utils as hub_utils
from safetensors.torch import load_file, save_file
from tiny import (
    ARCHITECTURES,
    saved_tiny_model,
    tiny_model,
    tiny_tokenizer,
)
from transformers import AutoModelForCausalLM

import interp
from interp.errors import (
    ConfigError,
    InterpError,
    ModelAccessError,
    ModelNotFoundError,
    PromptError,
    UnsafeModelError,
    UnsupportedModelError,
)


IDS = torch.tensor([[0, 263, 275, 271, 286, 268, 278]])


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_tiny_model(tmp_path_factory.mktemp("saved"), "llama")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return saved_tiny_model(tmp_path, "llama")


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


# --- What can be wrong with a folder -------------------------------------------------


def _write_config(folder: Path, **fields: object) -> None:
    file = folder / "config.json"
    config = json.loads(file.read_text())
    config.update(fields)
    file.write_text(json.dumps(config))


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


def _wrong_shape(folder: Path) -> Path:
    _write_config(folder, intermediate_size=40)
    return folder


def _more_layers(folder: Path) -> Path:
    _write_config(folder, num_hidden_layers=5)
    return folder


def _broken_config(folder: Path) -> Path:
    (folder / "config.json").write_text('{"model_type": "llama",')
    return folder


def _list_config(folder: Path) -> Path:
    (folder / "config.json").write_text("[]")
    return folder


def _impossible_config(folder: Path) -> Path:
    _write_config(folder, hidden_size="many")
    return folder


def _no_model_type(folder: Path) -> Path:
    _write_config(folder, model_type=None)
    return folder


def _unknown_model_type(folder: Path) -> Path:
    _write_config(folder, model_type="lama")
    return folder


def _bert(folder: Path) -> Path:
    _write_config(folder, model_type="bert")
    return folder


def _t5(folder: Path) -> Path:
    _write_config(folder, model_type="t5")
    return folder


def _bart(folder: Path) -> Path:
    _write_config(folder, model_type="bart")
    return folder


def _vision(folder: Path) -> Path:
    _write_config(folder, model_type="vit")
    return folder


def _remote_code(folder: Path) -> Path:
    names = {"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"}
    _write_config(folder, model_type="mine", auto_map=names)
    return folder


def _remote_kernel(folder: Path) -> Path:
    _write_config(folder, attn_implementation="someone/kernel")
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
    (_wrong_shape, UnsupportedModelError, r"mlp.*\[.*48.*in the file, \[.*40"),
    (_more_layers, UnsupportedModelError, r"layers\.3.*absent"),
    (_broken_config, UnsupportedModelError, r"config\.json' cannot be read as JSON"),
    (_list_config, UnsupportedModelError, r"config\.json' holds list"),
    (_impossible_config, UnsupportedModelError, r"config\.json of .* cannot be used"),
    (_no_model_type, UnsupportedModelError, r"no model_type"),
    (_unknown_model_type, UnsupportedModelError, r"unknown here.*mean 'llama'"),
    (_bert, UnsupportedModelError, r"'bert' model that reads text in both directions"),
    (_t5, UnsupportedModelError, r"'t5' model, which is not a causal language model"),
    (_bart, UnsupportedModelError, r"'bart' model that reads text in both"),
    (_vision, UnsupportedModelError, r"'vit' model, which is not a causal"),
    (_remote_code, UnsafeModelError, r"own\.C.*trust_remote_code=True"),
    (_remote_kernel, UnsafeModelError, r"kernel 'someone/kernel'"),
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


# --- Remote code ---------------------------------------------------------------------

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
    _write_config(folder, model_type=model_type, auto_map=NAMES)
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
