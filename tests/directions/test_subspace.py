import numpy as np
import pytest
import scipy.linalg
import torch
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from tiny import tiny_model, tiny_tokenizer

from interp.activations import capture
from interp.directions import (
    Direction,
    Subspace,
    class_means,
    cosine,
    fit_leace,
    load,
    load_eraser,
    load_subspace,
    principal_angles,
    principal_differences,
    save,
    span,
)
from interp.errors import (
    ConfigError,
    DataError,
    EmptyClassError,
    ResultError,
    ShapeError,
)
from interp.models.language_model import LanguageModel


RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(3, 10))


def angles(a, b):
    """By definition: the singular values of the products of orthonormal bases."""
    inside = np.linalg.svd(a.astype(float) @ b.astype(float).T, compute_uv=False)
    return np.sort(np.arccos(np.clip(inside, -1, 1)))[::-1]


def same_span(a, b):
    return np.abs(a.T @ a - np.linalg.pinv(b) @ b).max() < 1e-5


def test_a_span_is_that_of_its_vectors_whatever_their_lengths():
    found = span([1e3 * VECTORS[0], VECTORS[1], -1e-3 * VECTORS[2]])
    assert found.rank == 3
    assert same_span(found.basis, VECTORS)
    assert sum(found.explained) == pytest.approx(1)
    np.testing.assert_allclose(found.basis @ found.basis.T, np.eye(3), atol=1e-6)


def test_directions_of_one_place_give_a_subspace_of_that_place():
    first, second = (
        Direction.from_vector(v, site="resid_post.2", position="last")
        for v in VECTORS[:2]
    )
    found = span([first, second, first], names=["one", "two", "one again"])
    assert (found.rank, found.site, found.position) == (2, "resid_post.2", "last")
    assert found.names == ("one", "two", "one again")
    other = span([first, Direction.from_vector(VECTORS[2], site="resid_post.3")])
    assert (other.site, other.layer, other.position) == ("", None, "")


@pytest.mark.parametrize("centre", [False, True])
def test_components_of_differences_are_those_of_scikit_learn(centre):
    positive, negative = RNG.normal(size=(2, 40, 10)) * np.linspace(3, 1, 10)
    positive[:, 4] += 6
    found = principal_differences(positive, negative, rank=2, centre=centre)
    apart = positive - negative
    # Mirrored, the differences have no mean for PCA to take out.
    rows = apart if centre else np.concatenate([apart, -apart])
    expected = PCA(n_components=2).fit(rows)
    assert expected.components_ is not None
    for row, other in zip(found.basis, expected.components_, strict=True):
        assert abs(cosine(row, other)) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(found.explained, expected.explained_variance_ratio_)
    if not centre:
        assert abs(cosine(found.basis[0], apart.mean(0))) > 0.9


def test_class_means_span_the_plane_of_the_discriminants_of_white_noise():
    labels = np.arange(4000) % 3
    rows = RNG.normal(size=(4000, 8)) + 3 * np.eye(8)[:3][labels]
    words = np.array(["cat", "dog", "eel"])[labels]
    found = class_means(rows, words)
    assert found.rank == 2
    assert found.names == ("cat", "dog", "eel")
    means = np.stack([rows[labels == one].mean(0) for one in range(3)])
    assert same_span(found.basis, means[:2] - means[2])
    lda = LinearDiscriminantAnalysis().fit(rows, labels)
    np.testing.assert_allclose(
        angles(found.basis, span(list(lda.coef_)).basis), 0, atol=0.1
    )
    assert class_means(rows, words, rank=1).explained == found.explained[:1]


def test_two_classes_span_the_difference_of_their_means():
    labels = np.arange(40) % 2
    rows = RNG.normal(size=(40, 10)) + labels[:, None]
    apart = rows[labels == 1].mean(0) - rows[labels == 0].mean(0)
    found = class_means(torch.from_numpy(rows).float(), labels)
    assert abs(cosine(found.basis[0], apart)) == pytest.approx(1, abs=1e-6)


def test_captured_activations_say_where_a_subspace_is_from():
    model = LanguageModel(
        hf=tiny_model("llama"), tokenizer=tiny_tokenizer(), name="tiny"
    )
    texts = ["the city", "Paris is", "The city", "not in"]
    acts = capture(model, texts, sites="resid_post.*")
    found = class_means(acts, list("abca"), site="resid_post.1")
    assert (found.site, found.layer, found.model) == ("resid_post.1", 1, "tiny")
    rows = acts["resid_post"][:, 1]
    assert same_span(found.basis, class_means(rows, list("abca")).basis.astype(float))
    with pytest.raises(ConfigError, match="3 sites were captured"):
        class_means(acts, list("abca"))


@pytest.mark.parametrize("ranks", [(2, 2), (1, 3), (3, 2)])
def test_principal_angles_are_those_of_the_definition(ranks):
    a, b = (span(list(RNG.normal(size=(rank, 10)))) for rank in ranks)
    found = principal_angles(a, b, draws=20)
    np.testing.assert_allclose(found.angles, angles(a.basis, b.basis), atol=1e-6)
    expected = scipy.linalg.subspace_angles(a.basis.T, b.basis.T)
    np.testing.assert_allclose(found.angles, expected, atol=1e-6)
    assert found.overlap == pytest.approx(np.square(np.cos(expected)).mean(), abs=1e-6)


def test_random_subspaces_have_the_overlap_that_is_expected():
    draws = [
        principal_angles(
            span(list(RNG.normal(size=(2, 12)))),
            span(list(RNG.normal(size=(3, 12)))),
            draws=19,
            seed=seed,
        )
        for seed in range(200)
    ]
    # The mean squared cosine of the smaller one's vectors with the larger one.
    assert np.mean([one.overlap for one in draws]) == pytest.approx(3 / 12, abs=0.02)
    assert np.mean([one.null.median for one in draws]) == pytest.approx(0.25, abs=0.03)
    counts = np.bincount([round(float(one.null.p) * 20) - 1 for one in draws])
    assert counts.reshape(5, 4).sum(1).min() > 20


def test_a_shared_plane_is_found_beyond_chance():
    plane = RNG.normal(size=(2, 64))
    noisy = span(list(plane + 0.2 * RNG.normal(size=(2, 64))))
    found = principal_angles(span(list(plane)), noisy, draws=99)
    assert found.null.p == 0.01
    assert found.overlap > 0.8 > found.null.high
    same = principal_angles(noisy, noisy, draws=99)
    assert same.overlap == pytest.approx(1)
    assert np.abs(same.angles).max() < 1e-6


def test_a_saved_subspace_comes_back_bit_for_bit(tmp_path):
    found = span(list(VECTORS), names=["a", "é", ""])
    path = save(found, tmp_path / "plane.safetensors")
    again = load_subspace(path)
    for name in Subspace.__dataclass_fields__:
        assert np.array_equal(getattr(again, name), getattr(found, name)), name
    assert again.basis.tobytes() == found.basis.tobytes()
    with pytest.raises(ResultError, match="holds no direction but a subspace"):
        load(path)


def test_a_saved_eraser_comes_back_bit_for_bit(tmp_path):
    rows = RNG.normal(size=(40, 6))
    eraser = fit_leace(rows, np.arange(40) % 2, site="resid_post.1")
    again = load_eraser(save(eraser, tmp_path / "eraser.safetensors"))
    assert again.apply(rows).tobytes() == eraser.apply(rows).tobytes()
    assert (again.method, again.site, again.n_examples) == ("leace", "resid_post.1", 40)


def test_a_subspace_that_is_none_is_refused_when_loaded(tmp_path):
    path = save(span(list(VECTORS)), tmp_path / "plane.safetensors")
    whole = path.read_bytes()
    path.write_bytes(whole[:-4] + np.float32(7).tobytes())
    with pytest.raises(ResultError, match="off orthonormal"):
        load_subspace(path)
    path.write_bytes(whole.replace(b'\\"names\\": [\\"', b'\\"names\\": [7,\\"'))
    with pytest.raises(ResultError, match="cannot be read"):
        load_subspace(path)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: span([]), ConfigError, "No direction"),
        (lambda: span([np.ones(3), np.ones(4)]), ShapeError, r"\[3, 4\] dimensions"),
        (lambda: span([np.zeros(3)]), DataError, "length 0"),
        (lambda: span([np.ones(3)], names=["a", "b"]), ConfigError, "2 names"),
        (lambda: Subspace(basis=VECTORS), DataError, "off orthonormal"),
        (lambda: class_means(VECTORS, [1, 1, 1]), EmptyClassError, "one label"),
        (lambda: class_means(VECTORS, [1, 2]), ShapeError, "3 examples"),
        (
            lambda: class_means(VECTORS, [1, 2, 3], rank=3),
            ConfigError,
            "rank 3.*There are 2",
        ),
        (
            lambda: class_means(np.ones((4, 2)), [1, 2, 1, 2]),
            DataError,
            "no difference",
        ),
        (lambda: class_means(VECTORS[0], [1]), ShapeError, r"shape \[10\]"),
        (
            lambda: class_means(VECTORS * np.nan, [1, 2, 3]),
            DataError,
            "3 of 3 examples",
        ),
        (
            lambda: principal_differences(VECTORS, VECTORS[:2]),
            ShapeError,
            "no pairs",
        ),
        (
            lambda: principal_differences(VECTORS, VECTORS),
            DataError,
            "no difference",
        ),
        (
            lambda: principal_angles(span(list(VECTORS)), span([np.ones(4)])),
            ShapeError,
            "10 and 4",
        ),
    ],
)
def test_what_is_no_subspace_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()
