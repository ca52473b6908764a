import json

import numpy as np
import pytest
from safetensors.numpy import save_file
from tiny import tiny_model, tiny_tokenizer

from interp.activations import capture
from interp.directions import Direction, cosine, load, mean_difference, save
from interp.errors import DataError, ResultError, ShapeError
from interp.models.language_model import LanguageModel


FULL = Direction(
    unit=np.array([0.6, 0.8], dtype=np.float32),
    scale=2.5,
    site="resid_post.3",
    position="last",
    rule="mean of label 1 minus mean of label 0",
    negative_mean=-1.25,
    positive_mean=1.25,
    n_negative=7,
    n_positive=9,
    model="tiny – é",
    weights="abc123",
    revision="9f8e7d",
    template="5a5a",
)


def test_a_vector_is_split_into_unit_and_length():
    vector = np.array([3.0, 0.0, -4.0])
    direction = Direction.from_vector(vector, site="resid_post.1")
    assert direction.scale == 5.0
    np.testing.assert_allclose(direction.unit, [0.6, 0, -0.8], rtol=1e-6)
    np.testing.assert_allclose(direction.vector, vector, rtol=1e-6)


def test_a_direction_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        FULL.unit[0] = 1.0


@pytest.mark.parametrize(
    ("vector", "error", "words"),
    [
        (np.zeros(3), DataError, "length 0"),
        (np.array([1.0, np.nan]), DataError, "1 of 2 values that are not finite"),
        (np.array([np.inf, 1.0]), DataError, "not finite"),
        (np.ones((2, 3)), ShapeError, r"\[2, 3\]"),
        (np.ones(0), ShapeError, r"\[0\]"),
    ],
)
def test_what_is_no_direction_is_refused(vector, error, words):
    with pytest.raises(error, match=words):
        Direction.from_vector(vector)


def test_a_unit_of_another_length_is_refused():
    with pytest.raises(DataError, match=r"length 2 and scale 1.*from_vector"):
        Direction(unit=np.array([0.0, 2.0]))


def test_cosine_is_that_of_numpy_and_ignores_lengths():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 50))
    expected = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    assert cosine(a, 7 * b) == pytest.approx(expected, abs=1e-6)
    assert cosine(a, Direction.from_vector(-a)) == pytest.approx(-1, abs=1e-12)


def test_cosine_of_different_dimensions_is_refused():
    with pytest.raises(ShapeError, match="2 and 3 dimensions"):
        cosine(np.ones(2), np.ones(3))


def test_a_saved_direction_comes_back_whole(tmp_path):
    path = save(FULL, tmp_path / "new" / "truth.safetensors")
    found = load(path)
    for name in FULL.__dataclass_fields__:
        assert np.array_equal(getattr(found, name), getattr(FULL, name)), name


def test_a_direction_has_one_spelling_in_a_file(tmp_path):
    paths = [save(FULL, tmp_path / f"{i}.safetensors") for i in range(8)]
    assert len({path.read_bytes() for path in paths}) == 1


def damaged(path, how):
    whole = path.read_bytes()
    if how == "absent":
        path.unlink()
    elif how == "a folder":
        path.unlink()
        path.mkdir()
    elif how == "truncated":
        path.write_bytes(whole[:-3])
    elif how == "text":
        path.write_text("unit: 1")
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "newer":
        path.write_bytes(whole.replace(b'"schema":"2"', b'"schema":"9"'))
    elif how == "another kind":
        path.write_bytes(whole.replace(b"interp.direction", b"interp.directorx"))
    elif how == "unknown field":
        path.write_bytes(whole.replace(b"n_negative", b"n_negatixe"))
    elif how == "not a unit":
        path.write_bytes(whole[:-4] + np.float32(3).tobytes())


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("absent", "There is no file"),
        ("a folder", "cannot be read"),
        ("truncated", "cannot be read"),
        ("text", "cannot be read"),
        ("empty", "cannot be read"),
        ("newer", "newer version"),
        ("another kind", "holds no direction"),
        ("unknown field", "cannot be read"),
        ("not a unit", "cannot be read"),
    ],
)
def test_a_damaged_file_is_named_and_refused(tmp_path, how, words):
    path = save(FULL, tmp_path / "truth.safetensors")
    damaged(path, how)
    with pytest.raises(ResultError, match=words) as caught:
        load(path)
    assert "truth.safetensors" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_layer_is_that_of_the_site():
    assert FULL.layer == 3
    assert Direction.from_vector(np.ones(2)).layer is None
    assert Direction.from_vector(np.ones(2), site="final_norm").layer is None


def written(path, facts, *, schema="1", kind="interp.direction", **arrays):
    metadata = {"kind": kind, "schema": schema, kind.split(".")[1]: json.dumps(facts)}
    save_file(arrays or {"unit": FULL.unit.copy()}, path, metadata=metadata)
    return path


def test_a_file_of_the_first_version_keeps_loading(tmp_path):
    old = {
        name: getattr(FULL, name)
        for name in FULL.__dataclass_fields__
        if name not in ("unit", "revision", "template")
    }
    found = load(written(tmp_path / "old.safetensors", old))
    for name, value in old.items():
        assert getattr(found, name) == value, name
    assert np.array_equal(found.unit, FULL.unit)
    assert (found.revision, found.template) == ("", "")


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"scale": "far"}, "field 'scale' is 'far'"),
        ({"scale": True}, "field 'scale' is True"),
        ({"n_positive": 1.5}, "field 'n_positive' is 1.5"),
        ({"site": ["resid_post.3"]}, "field 'site'"),
        ({"unit": [1.0]}, "no field 'unit'"),
        ([1], "no table"),
    ],
)
def test_a_file_with_facts_of_another_type_is_refused(tmp_path, facts, words):
    path = written(tmp_path / "odd.safetensors", facts)
    with pytest.raises(ResultError, match=f"cannot be read: .*{words}"):
        load(path)


def test_a_file_with_an_array_of_another_shape_is_refused(tmp_path):
    path = written(tmp_path / "odd.safetensors", {}, unit=np.ones((2, 2), np.float32))
    with pytest.raises(ResultError, match=r"unit has the shape \[2, 2\]"):
        load(path)


def test_a_captured_direction_knows_its_model():
    model = LanguageModel(
        hf=tiny_model("llama"), tokenizer=tiny_tokenizer(), name="tiny"
    )
    found = mean_difference(
        capture(model, ["the city", "Paris is"], sites="resid_post.1"), [0, 1]
    )
    assert (found.model, found.layer, found.position) == ("tiny", 1, "last")
    record = model.identity()
    known = found.of_model(record)
    assert known.weights == record.weights_hash != ""
    assert known.template == record.template_hash != ""
    assert np.array_equal(known.unit, found.unit)
