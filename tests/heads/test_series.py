"""Finding the checkpoints of a series, and reading them into one model."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import ARCHITECTURES, saved_tiny_model

import interp
from interp.errors import (
    ConfigError,
    IncompatibleError,
    ModelNotFoundError,
    UnsupportedModelError,
)
from interp.heads.revisions import parse_name
from interp.heads.series import find_series
from interp.heads.skeleton import Loading, build_skeleton, put_in_place, read_weights


@pytest.mark.parametrize(
    ("name", "step", "tokens"),
    [
        ("step0", 0, np.nan),
        ("step143000", 143000, np.nan),
        ("step1000-tokens4B", 1000, 4e9),
        ("stage1-step928646-tokens3896B", 928646, 3896e9),
        ("checkpoint-500", 500, np.nan),
        ("step-000050", 50, np.nan),
        ("global_step12", 12, np.nan),
    ],
)
def test_names_tell_step_and_tokens(name, step, tokens):
    found = parse_name(name)
    assert found is not None
    assert found.step == step
    assert found.tokens == pytest.approx(tokens, nan_ok=True)


@pytest.mark.parametrize("name", ["main", "v1.0", "stepping", "step12-seed3", "base"])
def test_other_names_tell_nothing(name):
    assert parse_name(name) is None


def folders(parent: Path, *names: str) -> Path:
    for name in names:
        (parent / name).mkdir(parents=True)
    return parent


def test_checkpoints_come_in_the_order_of_their_steps(tmp_path):
    place = folders(
        tmp_path, "checkpoint-1000", "checkpoint-90", "runs", "checkpoint-500"
    )
    found = find_series(place, tokens_per_step=10)
    assert [ref.step for ref in found.checkpoints] == [90, 500, 1000]
    assert [ref.tokens for ref in found.checkpoints] == [900, 5000, 10000]
    some = find_series(place, revisions="checkpoint-?0")
    assert [ref.name for ref in some.checkpoints] == ["checkpoint-90"]


def test_of_several_stages_the_largest_is_taken_and_said(tmp_path):
    place = folders(tmp_path, "stage1-step10", "stage1-step20", "stage2-step10")
    found = find_series(place)
    assert [ref.name for ref in found.checkpoints] == ["stage1-step10", "stage1-step20"]
    assert "1 checkpoints of other stages" in found.notes[0]
    assert [r.name for r in find_series(place, revisions="stage2*").checkpoints] == [
        "stage2-step10"
    ]
    with pytest.raises(ConfigError, match=r"Two checkpoints of .* are at step 10"):
        find_series(place, revisions="*")


def test_what_is_no_series_is_said(tmp_path):
    place = folders(tmp_path / "x", "base", "post")
    with pytest.raises(ModelNotFoundError, match=r"holds no checkpoints.*base, post"):
        find_series(place)
    with pytest.raises(ModelNotFoundError, match="There is no folder"):
        find_series(tmp_path / "y")
    with pytest.raises(ConfigError, match=r"has no checkpoint 'step7'.*step70"):
        find_series(folders(tmp_path / "z", "step70"), revisions="step7")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_weights_read_in_place_are_those_of_a_fresh_load(architecture, tmp_path):
    first = saved_tiny_model(tmp_path / "1", architecture)
    second = saved_tiny_model(tmp_path / "2", architecture, seed=1)
    before = (first / "model.safetensors").read_bytes()
    skeleton = build_skeleton(first, "series", loading=Loading())
    put_in_place(skeleton, read_weights(skeleton, second))
    fresh = interp.load(second)
    held = skeleton.model.hf.state_dict()
    for name, tensor in fresh.hf.state_dict().items():
        assert torch.equal(held[name], tensor), name
    ids = torch.arange(5, 25).reshape(2, 10)
    with torch.inference_mode():
        said = skeleton.model.hf(ids).logits
        assert torch.equal(said, fresh.hf(ids).logits)
    assert skeleton.model.identity().weights_hash != ""
    # What was loaded first is not written to.
    assert (first / "model.safetensors").read_bytes() == before


def test_only_where_loading_changes_tensors_are_models_loaded_anew(tmp_path):
    def n_places(architecture: str) -> int:
        folder = saved_tiny_model(tmp_path, architecture)
        return len(build_skeleton(folder, "series", loading=Loading()).places)

    # Its head is called otherwise in the files.
    assert n_places("gpt_neox") > 0
    assert n_places("llama") == len(load_file(tmp_path / "llama" / "model.safetensors"))
    # Its experts are fused on loading.
    assert n_places("mixtral") == 0


def spoilt(tmp_path: Path, change) -> tuple:
    first = saved_tiny_model(tmp_path / "1")
    second = saved_tiny_model(tmp_path / "2", seed=1)
    tensors = load_file(second / "model.safetensors")
    change(tensors)
    save_file(tensors, second / "model.safetensors", metadata={"format": "pt"})
    return build_skeleton(first, "series", loading=Loading()), second


NAME = "model.layers.1.self_attn.q_proj.weight"


def without(tensors):
    del tensors[NAME]


def narrower(tensors):
    tensors[NAME] = tensors[NAME][:, :-1].contiguous()


def half(tensors):
    tensors[NAME] = tensors[NAME].half()


def not_finite(tensors):
    tensors[NAME][0, 0] = torch.nan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without, "lack 1 tensors"),
        (narrower, r"is F32\[32, 31\].*F32\[32, 32\]"),
        (half, r"is F16\[32, 32\].*F32"),
        (not_finite, "not finite"),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_the_model_stays(
    change, message, tmp_path
):
    skeleton, folder = spoilt(tmp_path, change)
    before = {name: t.clone() for name, t in skeleton.targets.items()}
    with pytest.raises(UnsupportedModelError, match=message):
        read_weights(skeleton, folder)
    assert all(torch.equal(t, before[name]) for name, t in skeleton.targets.items())


def test_another_config_is_refused_by_the_name_of_the_field(tmp_path):
    first, second = (saved_tiny_model(tmp_path / n, seed=int(n)) for n in "12")
    config = json.loads((second / "config.json").read_text())
    (second / "config.json").write_text(
        json.dumps({**config, "transformers_version": "0", "rms_norm_eps": 0.5})
    )
    skeleton = build_skeleton(first, "series", loading=Loading())
    with pytest.raises(IncompatibleError, match=r"in rms_norm_eps\."):
        read_weights(skeleton, second)
