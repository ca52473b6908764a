"""Vectors of Neuronpedia: what its server accepts, and back without a loss."""

import json
from dataclasses import replace

import numpy as np
import pytest

from interp.directions import Direction
from interp.errors import ConfigError, DataError
from interp.interchange import read_vector, vector_payload, write_vector


FIELDS = {
    "modelId": "gpt2-small",
    "layerNumber": 3,
    "hookType": "hook_resid_pre",
    "vector": [0.0, 3.0, 4.0],
    "vectorDefaultSteerStrength": 2.0,
    "vectorLabel": "up",
}


@pytest.fixture
def direction() -> Direction:
    vector = np.random.default_rng(0).normal(size=48)
    found = Direction.from_vector(vector, site="resid_post.5", position="last")
    return replace(found, model="owner/model", rule="mean of true minus false")


def moved(payload) -> np.ndarray:
    """What the server adds to an activation at the default strength."""
    return np.array(payload["vector"]) * payload["vectorDefaultSteerStrength"]


@pytest.mark.parametrize("scale", [1e-3, 1.0, 250.0, 9_000.0])
@pytest.mark.parametrize("strength", [1.0, -2.0])
def test_the_default_strength_adds_the_gap_and_the_server_accepts_it(
    direction, scale, strength
):
    given = replace(direction, scale=scale)
    payload = vector_payload(given, strength=strength)
    expected = strength * scale * given.unit
    np.testing.assert_allclose(moved(payload), expected, rtol=1e-6)
    assert -300 <= float(str(payload["vectorDefaultSteerStrength"])) <= 300
    length = np.linalg.norm(payload["vector"])
    assert length == pytest.approx(1, rel=1e-5) or scale > 100


def test_the_fields_are_those_of_the_call(direction):
    payload = vector_payload(direction)
    assert set(payload) == set(FIELDS)
    told = {name: payload[name] for name in ("modelId", "layerNumber", "hookType")}
    assert told == {"modelId": "model", "layerNumber": 5, "hookType": "hook_resid_post"}
    assert payload["vectorLabel"] == "mean of true minus false"
    assert vector_payload(direction, model_id="m", label="l")["vectorLabel"] == "l"


@pytest.mark.parametrize("scale", [0.5, 9_000.0])
def test_a_vector_comes_back(direction, scale, tmp_path):
    given = replace(direction, scale=scale)
    path = write_vector(given, tmp_path / "v.json")
    back = read_vector(path)
    np.testing.assert_allclose(back.vector, given.vector, rtol=1e-5)
    assert (back.site, back.rule, back.model) == (given.site, given.rule, "model")


def test_a_raw_vector_of_others_is_read_at_its_default_strength(tmp_path):
    path = tmp_path / "v.json"
    path.write_text(json.dumps(FIELDS))
    found = read_vector(path)
    assert found.vector.tolist() == [0.0, 6.0, 8.0]
    assert (found.site, found.scale) == ("resid_pre.3", 10.0)


@pytest.mark.parametrize("site", ["", "z.3", "attn_out.2", "final_norm"])
def test_other_sites_are_refused_with_a_remedy(direction, site):
    with pytest.raises(ConfigError, match=r"resid_pre or resid_post.*replace"):
        vector_payload(replace(direction, site=site))


def test_a_direction_without_a_model_asks_for_one(direction):
    with pytest.raises(ConfigError, match="--model-id"):
        vector_payload(replace(direction, model=""))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hookType": "hook_mlp_out"}, "hookType is 'hook_mlp_out'"),
        ({"layerNumber": True}, "layerNumber is True"),
        ({"layerNumber": -1}, "layerNumber is -1"),
        ({"vector": "no"}, "no list of numbers"),
        ({"vector": [1.0, "2"]}, "no list of numbers"),
        ({"vector": [0.0, 0.0]}, "length 0"),
        ({"vector": []}, r"shape \[0\]"),
        ({"vectorDefaultSteerStrength": 0}, "Strength is 0"),
        ({"vector": [1e999]}, "not finite"),
    ],
)
def test_a_damaged_vector_is_one_line(change, said, tmp_path):
    path = tmp_path / "v.json"
    path.write_text(json.dumps(FIELDS | change))
    with pytest.raises(DataError, match=said):
        read_vector(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, "\x00"])
def test_what_is_no_vector_is_refused(text, tmp_path):
    path = tmp_path / "v.json"
    path.write_text(text)
    with pytest.raises(DataError, match="cannot be read as a vector"):
        read_vector(path)
    with pytest.raises(DataError, match="There is no file"):
        read_vector(tmp_path / "none.json")
