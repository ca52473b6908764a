"""Maps of architectures are made once; a kept one that is damaged is harmless."""

import json

import pytest
from tiny import tiny_model

from interp.models.remembered import remembered_map
from interp.models.structure import map_from_structure


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("INTERP_HOME", str(tmp_path))
    return tmp_path


def never(hf):
    raise AssertionError("made again")


@pytest.mark.parametrize("name", ["gpt2", "falcon_new", "mixtral", "gemma2"])
def test_a_kept_map_equals_the_one_that_was_made(name, home):
    hf = tiny_model(name)
    made = remembered_map(hf, map_from_structure)
    assert made == map_from_structure(hf)
    assert remembered_map(tiny_model(name, seed=1), never) == made


def test_another_config_has_its_own_map(home):
    remembered_map(tiny_model("gpt_neox"), map_from_structure)
    sequential = remembered_map(tiny_model("gpt_neox_sequential"), map_from_structure)
    assert sequential is not None
    assert not sequential.parallel


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"blocks": 3}', b"\xff\xfe"])
def test_a_damaged_entry_is_made_again(damage, home):
    hf = tiny_model("llama")
    made = remembered_map(hf, map_from_structure)
    (kept,) = home.rglob("*.json")
    kept.write_bytes(damage)
    assert remembered_map(hf, map_from_structure) == made
    assert json.loads(kept.read_text())["blocks"] == "model.layers"


def test_no_adapter_is_not_kept(home):
    assert remembered_map(tiny_model("llama"), lambda hf: None) is None
    assert not list(home.rglob("*.json"))


def test_a_home_that_cannot_be_written_changes_nothing(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("not a folder")
    monkeypatch.setenv("INTERP_HOME", str(file))
    hf = tiny_model("llama")
    assert remembered_map(hf, map_from_structure) == map_from_structure(hf)
