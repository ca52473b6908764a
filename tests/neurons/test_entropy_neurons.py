import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from planted_neurons import ENTROPY_NEURON, planted_model
from safetensors.torch import load_file, save_file
from tiny import ARCHITECTURES, saved_tiny_model, tiny_config, tiny_model

import interp
from interp.errors import ConfigError, ModelNotFoundError, UnsupportedModelError
from interp.models.hub import Snapshot
from interp.neurons import entropy_neurons, files
from interp.results import NeuronTable


EXPERTS = {"mixtral", "qwen3_moe"}
DENSE = [name for name in ARCHITECTURES if name not in EXPERTS]
COLUMNS = ("norm", "logit_var", "null_fraction", "singular_values")
NULL = 3


def dense_oracle(hf, architecture):
    """The same numbers from whole matrices, as the formulas are written down."""
    model = interp.load(hf)
    paths = model.architecture.map
    norm = hf.get_submodule(paths.final_norm)
    block: Any = model.architecture.blocks[-1]
    down = block.get_submodule(paths.mlp_down)
    rows = down.weight.detach().double()
    rows = rows if type(down).__name__ == "Conv1D" else rows.T
    if paths.mlp_post_norm is not None:
        post = block.get_submodule(paths.mlp_post_norm)
        rows = rows * (post.weight.detach().double() + (architecture == "gemma2"))
    gain = norm.weight.detach().double() + (architecture == "gemma2")
    head = hf.get_output_embeddings().weight.detach().double() * gain
    if type(norm).__name__ == "LayerNorm":
        head = head - head.mean(1, keepdim=True)
    head = head - head.mean(0)
    cosines = torch.cosine_similarity(rows[:, None], head[None], dim=-1)
    left, values, _ = torch.linalg.svd(head.T, full_matrices=True)
    if type(norm).__name__ == "LayerNorm":
        left, values = left[:, :-1], values[:-1]
    inside = (rows @ left[:, -NULL:]).norm(dim=1) / rows.norm(dim=1)
    return {
        "norm": rows.norm(dim=1).numpy(),
        "logit_var": cosines.var(dim=1, unbiased=True).numpy(),
        "null_fraction": inside.numpy(),
        "singular_values": values.numpy(),
    }


@pytest.mark.parametrize("architecture", DENSE)
def test_a_table_equals_whole_matrices_in_float64(architecture):
    hf = tiny_model(architecture)
    table = entropy_neurons(interp.load(hf), null_share=NULL / 32)
    for name, expected in dense_oracle(hf, architecture).items():
        np.testing.assert_allclose(
            getattr(table, name), expected, rtol=2e-6, atol=1e-7, err_msg=name
        )
    assert table.null_directions == NULL


@pytest.mark.parametrize("architecture", DENSE)
def test_files_give_what_the_loaded_model_gives(architecture, tmp_path):
    folder = saved_tiny_model(tmp_path, architecture)
    loaded, read = entropy_neurons(interp.load(folder)), entropy_neurons(folder)
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(loaded, name), getattr(read, name))
    assert loaded.candidates.tolist() == read.candidates.tolist()
    assert (loaded.layer, loaded.notes) == (read.layer, read.notes)


def test_shards_are_found_through_their_index(tmp_path):
    tiny_model("llama").save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 3
    whole = entropy_neurons(interp.load(tiny_model("llama")))
    parts = entropy_neurons(tmp_path / "shards")
    np.testing.assert_array_equal(whole.logit_var, parts.logit_var)


def test_of_a_hub_model_only_the_needed_shards_are_fetched(tmp_path, monkeypatch):
    there, here = tmp_path / "there", tmp_path / "here"
    tiny_model("llama").save_pretrained(there, max_shard_size="20KB")
    here.mkdir()
    wanted = []

    def fetch(repo, revision, *, weights):
        wanted.extend(weights)
        small = [path.name for path in there.glob("*.json")]
        for name in [*small, *weights]:
            shutil.copy(there / name, here / name)
        return Snapshot(folder=here, commit="0" * 40)

    monkeypatch.setattr(files.hub, "fetch", fetch)
    table = entropy_neurons("someone/tiny")
    index = json.loads((there / "model.safetensors.index.json").read_text())
    holds = {
        index["weight_map"][key]
        for key in (
            "lm_head.weight",
            "model.norm.weight",
            "model.layers.2.mlp.down_proj.weight",
        )
    }
    assert set(wanted) == holds
    assert len(holds) < len(set(index["weight_map"].values()))
    expected = entropy_neurons(interp.load(tiny_model("llama")))
    np.testing.assert_array_equal(table.logit_var, expected.logit_var)


def test_half_precision_weights_are_summed_in_double(tmp_path):
    hf: Any = tiny_model("llama")
    halved = hf.to(torch.bfloat16)
    halved.save_pretrained(tmp_path / "half")
    read = entropy_neurons(tmp_path / "half")
    exact = entropy_neurons(interp.load(halved.to(torch.float32)))
    for name in COLUMNS:
        np.testing.assert_allclose(
            getattr(read, name), getattr(exact, name), rtol=1e-6, atol=1e-9
        )


def test_a_planted_entropy_neuron_is_the_first_candidate():
    table = entropy_neurons(interp.load(planted_model()))
    assert table.candidates[0] == ENTROPY_NEURON
    assert table.null_fraction[ENTROPY_NEURON] == pytest.approx(1.0, abs=1e-6)
    assert table.logit_var[ENTROPY_NEURON] < 1e-12
    others = np.delete(table.null_fraction, ENTROPY_NEURON)
    assert others.max() < 0.6


def test_candidates_have_the_smallest_variance_among_the_largest_norms():
    table = entropy_neurons(
        interp.load(tiny_model("gpt2")), percentile=60.0, n_candidates=7
    )
    large = table.norm > np.percentile(table.norm, 60.0)
    assert table.candidates.size == 7
    assert large[table.candidates].all()
    rest = np.setdiff1d(np.flatnonzero(large), table.candidates)
    assert table.logit_var[table.candidates].max() <= table.logit_var[rest].min()
    assert (np.diff(table.logit_var[table.candidates]) >= 0).all()


def test_too_few_large_neurons_are_said():
    table = entropy_neurons(interp.load(tiny_model("llama")), n_candidates=40)
    assert table.candidates.size == 12
    assert "fewer than the 40 candidates" in table.notes[0]


@pytest.mark.parametrize("architecture", sorted(EXPERTS))
def test_experts_are_refused_in_words(architecture, tmp_path):
    folder = saved_tiny_model(tmp_path, architecture)
    for source in (interp.load(folder), folder):
        with pytest.raises(UnsupportedModelError, match="is a mixture of experts"):
            entropy_neurons(source)


def test_a_missing_folder_or_tensor_is_named(tmp_path):
    with pytest.raises(ModelNotFoundError, match="There is no folder"):
        entropy_neurons(tmp_path / "nothing")
    folder = saved_tiny_model(tmp_path, "llama")
    weights = load_file(folder / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UnsupportedModelError, match=r"no tensor 'lm_head\.weight'"):
        entropy_neurons(folder)


def test_quantised_weights_are_refused(tmp_path):
    folder = saved_tiny_model(tmp_path, "llama")
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"] = weights["lm_head.weight"].to(torch.int8)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UnsupportedModelError, match="stored as I8"):
        entropy_neurons(folder)


def test_numbers_out_of_range_are_refused():
    model = interp.load(tiny_model("llama"))
    with pytest.raises(ConfigError, match="percentile of the norms is 120"):
        entropy_neurons(model, percentile=120.0)
    with pytest.raises(ConfigError, match="n_candidates is 0"):
        entropy_neurons(model, n_candidates=0)
    with pytest.raises(ConfigError, match="null directions were asked for"):
        entropy_neurons(model, null_share=0.999)


def test_a_saved_table_comes_back(tmp_path):
    table = entropy_neurons(interp.load(tiny_model("gemma2")))
    assert "passes a norm" in " ".join(table.notes)
    assert "squeezed into plus or minus 3" in " ".join(table.notes)
    table.save(tmp_path / "table")
    again = NeuronTable.load(tmp_path / "table")
    np.testing.assert_array_equal(again.logit_var, table.logit_var)
    assert again.headline() == table.headline()


MEASURE = """
import resource, sys
import interp.neurons, torch
from interp.neurons import entropy_neurons
torch.set_num_threads(1)
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
entropy_neurons(sys.argv[1])
before = peak()
table = entropy_neurons(sys.argv[2])
print(peak() - before, table.norm.size, table.logit_var.min())
"""
# A vocabulary and an MLP as wide as those of Llama 3; the stream is narrow, so that
# the test is quick: what must not be made is the table of all neurons and all tokens.
D_VOCAB, D_MLP, D_MODEL = 128_256, 14_336, 64
MIB_OF_ALL_COSINES = D_VOCAB * D_MLP * 4 / 2**20
MIB_ALLOWED = 1000


def test_memory_does_not_grow_with_neurons_times_vocabulary(tmp_path):
    small = saved_tiny_model(tmp_path, "llama")
    large = tmp_path / "large"
    config = tiny_config(
        "llama",
        vocab_size=D_VOCAB,
        intermediate_size=D_MLP,
        hidden_size=D_MODEL,
        num_hidden_layers=1,
    )
    config.save_pretrained(large)
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape):
        return torch.randn(*shape, generator=generator).to(torch.bfloat16)

    save_file(
        {
            "lm_head.weight": drawn(D_VOCAB, D_MODEL),
            "model.norm.weight": torch.ones(D_MODEL, dtype=torch.bfloat16),
            "model.layers.0.mlp.down_proj.weight": drawn(D_MODEL, D_MLP),
        },
        large / "model.safetensors",
        metadata={"format": "pt"},
    )
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, small, large],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent.parent.parent,
    )
    assert done.returncode == 0, done.stderr
    grown, n_neurons, smallest = (float(word) for word in done.stdout.split())
    assert n_neurons == D_MLP
    # Cosines with random rows have the variance 1 / d_model.
    assert 0.8 < smallest * D_MODEL < 1.0, smallest
    assert grown < MIB_ALLOWED < MIB_OF_ALL_COSINES
