import numpy as np
import pytest
import torch
from tiny import tiny_model, tiny_tokenizer

import interp
from interp.directions import cosine, mean_difference, mean_differences
from interp.errors import (
    ConfigError,
    DataError,
    EmptyClassError,
    ShapeError,
    UnknownSiteError,
)
from interp.models.language_model import LanguageModel


def planted(n=400, d=24, seed=0):
    """Rows whose classes are apart along one known vector, and noise."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=d)
    labels = rng.random(n) < 0.4
    rows = rng.normal(size=(n, d)) * 0.1 + 5 + np.outer(labels, truth)
    return rows, labels, truth


@pytest.mark.parametrize(
    "kind", ["float64", "float32", "float16", "tensor", "bfloat16"]
)
def test_mean_difference_recovers_a_planted_direction(kind):
    rows, labels, truth = planted()
    if kind in ("tensor", "bfloat16"):
        dtype = torch.float32 if kind == "tensor" else torch.bfloat16
        activations = torch.from_numpy(rows).to(dtype)
        rows = activations.double().numpy()
    else:
        activations = rows.astype(kind)
        rows = activations.astype(float)
    direction = mean_difference(activations, labels, site="resid_post.3")
    assert cosine(direction, truth) > 0.99
    expected = rows[labels].mean(0) - rows[~labels].mean(0)
    np.testing.assert_allclose(direction.vector, expected, rtol=1e-5, atol=1e-6)
    assert direction.scale == pytest.approx(np.linalg.norm(expected), rel=1e-6)
    assert direction.site == "resid_post.3"
    assert (direction.n_negative, direction.n_positive) == (
        (~labels).sum(),
        labels.sum(),
    )


def test_mean_projections_are_those_of_the_classes_and_scale_is_their_distance():
    rows, labels, _ = planted()
    direction = mean_difference(rows, labels)
    projections = rows @ direction.unit
    assert direction.positive_mean == pytest.approx(
        projections[labels].mean(), rel=1e-6
    )
    assert direction.negative_mean == pytest.approx(
        projections[~labels].mean(), rel=1e-6
    )
    assert direction.positive_mean is not None
    assert direction.negative_mean is not None
    gap = direction.positive_mean - direction.negative_mean
    assert direction.scale == pytest.approx(gap, rel=1e-6)


def test_sums_are_accumulated_in_float64():
    """In float32 a mean of many rows far from zero loses a small difference."""
    n = 200_000
    rows = np.full((n, 2), 1000.0, dtype=np.float32)
    rows[1::2, 1] += 0.01
    labels = np.arange(n) % 2
    exact = float(np.float32(1000.01)) - 1000.0
    for activations in (rows, torch.from_numpy(rows)):
        found = mean_difference(activations, labels)
        assert found.scale == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize(
    "labels",
    [
        [1, 0, 1, 0],
        [True, False, True, False],
        (1.0, 0.0, 1.0, 0.0),
        np.array([1, 0, 1, 0], dtype=object),
        torch.tensor([True, False, True, False]),
    ],
)
def test_labels_may_be_written_in_any_usual_way(labels):
    rows = np.array([[2.0, 0.0], [0.0, 0.0], [4.0, 0.0], [0.0, 0.0]])
    assert mean_difference(rows, labels).vector.tolist() == [3.0, 0.0]


def test_a_layer_of_many_is_named_by_the_site():
    rows, labels, _ = planted()
    stacked = np.stack([rows[::-1], rows], axis=1)
    found = mean_difference(stacked, labels, site="resid_post.1")
    assert np.array_equal(found.unit, mean_difference(rows, labels).unit)
    everything = mean_differences(stacked, labels)
    assert everything.shape == (2, 24)
    np.testing.assert_allclose(everything[1], found.vector, rtol=1e-6, atol=1e-6)


def test_captured_activations_bring_site_and_position():
    model = LanguageModel(
        hf=tiny_model("llama"), tokenizer=tiny_tokenizer(), name="tiny", commit="c0ffee"
    )
    prompts = ["the city is in Paris", "of not the", "in of", "Paris is the city"]
    labels = [1, 0, 0, 1]
    acts = interp.capture(model, prompts, sites="resid_post.*", positions="last")
    found = mean_difference(acts, labels, site="resid_post.1")
    assert (found.site, found.position) == ("resid_post.1", "last")
    assert (found.model, found.weights) == ("tiny", "c0ffee")
    layers = mean_differences(acts, labels)
    np.testing.assert_allclose(layers[1], found.vector, rtol=1e-5, atol=1e-5)
    one = interp.capture(model, prompts, sites="resid_post.1", positions="last")
    assert np.array_equal(mean_difference(one, labels).unit, found.unit)
    with pytest.raises(ConfigError, match=r"3 sites were captured.*resid_post.0"):
        mean_difference(acts, labels)


ROWS = np.arange(12.0).reshape(4, 3)


@pytest.mark.parametrize(
    ("rows", "labels", "error", "words"),
    [
        (ROWS, [1, 1, 1, 1], EmptyClassError, "All 4 examples have the label 1"),
        (ROWS, [0, 0, 0, 0], EmptyClassError, "All 4 examples have the label 0"),
        (ROWS, [1, 0, np.nan, np.nan], DataError, r"example 2 is missing.*2 of 4"),
        (ROWS, [1, 0, None, 1], DataError, "example 2 is missing"),
        (ROWS, [1, 0, 2, 1], DataError, "example 2 is 2"),
        (ROWS, ["true", "false", "true", "true"], DataError, "example 0 is 'true'"),
        (ROWS, [1, 0, 1], ShapeError, r"labels have the shape \[3\].*4 examples"),
        (ROWS * np.nan, [1, 0, 1, 0], DataError, "4 of 4 examples.*not finite"),
        (ROWS * 0 + 3, [1, 0, 1, 0], DataError, "same mean activation"),
        (ROWS[0], [1, 0, 1], ShapeError, r"\[3\]"),
        (ROWS[:, None, None], [1, 0, 1, 0], ShapeError, r"\[4, 1, 1, 3\]"),
        (ROWS[:, None], [1, 0, 1, 0], ConfigError, "no layer was named"),
    ],
)
def test_what_gives_no_direction_is_one_clear_line(rows, labels, error, words):
    with pytest.raises(error, match=words) as caught:
        mean_difference(rows, labels)
    assert "\n" not in str(caught.value)


def test_one_bad_example_is_counted():
    rows, labels, _ = planted()
    rows[7, 3] = np.inf
    with pytest.raises(DataError, match="1 of 400 examples"):
        mean_difference(torch.from_numpy(rows), labels)
    rows[labels.argmax(), 3], rows[labels.argmax() + 1 :, 3] = np.inf, -np.inf
    with pytest.raises(DataError, match="of 400 examples"):
        mean_difference(rows, labels)


def test_a_layer_that_is_not_there_is_refused():
    with pytest.raises(UnknownSiteError, match=r"no layer 5.*Layers 0 to 0"):
        mean_difference(ROWS[:, None], [1, 0, 1, 0], site="resid_post.5")


def test_a_direction_that_rounding_makes_is_refused():
    rows = np.full((4, 3), 1e4, dtype=np.float64)
    rows[0] += 1e-4
    with pytest.raises(DataError, match=r"same mean activation at 'resid_post\.0'"):
        mean_difference(rows, [1, 0, 1, 0], site="resid_post.0")
