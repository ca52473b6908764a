"""Subspaces and erasers as edits of a running model."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from tiny import tiny_model

import interp
from interp.directions import (
    Direction,
    class_means,
    cosine_test,
    fit_leace,
    principal_differences,
    span,
)
from interp.edits import ProjectOut
from interp.errors import ConfigError, ShapeError
from interp.models.language_model import LanguageModel


IDS = [[5, 6, 7, 8], [9, 10, 11], [12, 13, 14, 15, 16], [17, 18, 19], [20, 21], [22, 5]]
LABELS = np.array([0, 1, 0, 1, 1, 0])
SPANNED = span(list(np.random.default_rng(0).normal(size=(3, 32))))


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def tiny(architecture):
    return LanguageModel(hf=tiny_model(architecture), name=architecture)


def residuals(model):
    return interp.capture(model, IDS, sites="resid_post.*", positions="last")[
        "resid_post"
    ]


@pytest.mark.parametrize(
    "architecture", ["gpt2", "llama", "gpt_neox", "gemma2", "qwen3"]
)
def test_an_ablated_subspace_is_in_no_layer(architecture):
    model = tiny(architecture)
    plain = residuals(model)
    with interp.ablate(model, SPANNED):
        gone = residuals(model)
    basis = torch.from_numpy(SPANNED.basis.copy())
    share = (gone @ basis.mT).norm(dim=-1) / gone.norm(dim=-1)
    assert share.max() < 1e-5
    assert ((plain @ basis.mT).norm(dim=-1) / plain.norm(dim=-1)).min() > 1e-2
    assert (gone - plain).abs().max() > 1e-2


def test_a_subspace_is_ablated_like_the_directions_that_span_it():
    model = tiny("llama")
    vectors = np.random.default_rng(1).normal(size=(2, 32))
    with interp.ablate(model, list(vectors)):
        expected = residuals(model)
    with interp.ablate(model, span(list(vectors))):
        torch.testing.assert_close(residuals(model), expected, rtol=1e-4, atol=1e-5)
    line = Direction.from_vector(vectors[1])
    with interp.ablate(model, [span([vectors[0]]), line]):
        torch.testing.assert_close(residuals(model), expected, rtol=1e-4, atol=1e-5)
    edit = ProjectOut(site="resid_post.1", vectors=SPANNED.basis)
    with interp.edit(model, edit):
        at_site = residuals(model)[:, 1]
    assert (at_site @ torch.from_numpy(SPANNED.basis.copy()).mT).abs().max() < 1e-4


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gpt_neox"])
def test_an_erased_site_holds_what_the_eraser_leaves(architecture):
    model = tiny(architecture)
    plain = residuals(model)
    eraser = fit_leace(plain[:, 1], LABELS, site="resid_post.1")
    with interp.erase(model, eraser):
        erased = residuals(model)
    expected = eraser.apply(plain[:, 1])
    torch.testing.assert_close(erased[:, 1], expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(erased[:, 0], plain[:, 0])
    means = [erased[:, 1][torch.from_numpy(one == LABELS)].mean(0) for one in (0, 1)]
    assert (means[0] - means[1]).abs().max() < 1e-4
    assert (erased[:, 2] - plain[:, 2]).abs().max() > 1e-3


def test_an_eraser_must_know_its_place_and_fit():
    model = tiny("llama")
    eraser = fit_leace(np.random.default_rng(0).normal(size=(9, 8)), np.arange(9) % 2)
    with pytest.raises(ConfigError, match="No site"), interp.erase(model, eraser):
        pass
    with (
        pytest.raises(ShapeError, match=r"8 entries.*d_model 32"),
        interp.erase(model, eraser, site="resid_post.1"),
    ):
        pass
    with (
        pytest.raises(ShapeError, match="fitted to 8"),
        interp.erase(model, eraser, site="mlp_post.1"),
    ):
        residuals(model)


@pytest.fixture(scope="module")
def trained(facts_family):
    """The last layer of BASE and POST on statements of one topic, and their labels."""
    table = interp.data.statements(facts_family.statements)
    table = table.take(np.flatnonzero(table.columns["topic"] == "city"))
    last = []
    with torch.no_grad():
        for folder in (facts_family.base, facts_family.post):
            model = interp.load(folder)
            site = f"resid_post.{model.n_layers - 1}"
            acts = interp.capture(model, table.prompts, sites=site, positions="last")
            last.append(acts[site])
    return *last, table.labels, table.groups


def test_whitening_tells_a_truth_direction_that_the_plain_null_swallows(trained):
    base, post, labels, groups = trained
    plain, white = (
        cosine_test(
            base, post, labels, groups=groups, whitening=whitening, permutations=199
        )
        for whitening in (None, "ledoit-wolf")
    )
    # A fine-tuned pair agrees on any contrast of these statements ...
    assert plain.estimate > 0.9
    assert plain.shared.median > 0.9
    # ... and on the true one in the directions of little variance too.
    assert white.shared.median < plain.shared.median - 0.1
    assert white.shared.p < 0.05
    assert white.signal_null.p < 0.05
    assert white.corrected > 0.5


def test_shuffled_labels_have_no_signal_in_a_trained_pair(trained):
    base, post, labels, _ = trained
    rng = np.random.default_rng(0)
    p = [
        float(
            cosine_test(
                base, post, rng.permutation(labels), permutations=49, whitening=0.1
            ).signal_null.p
        )
        for _ in range(30)
    ]
    assert 0.3 < np.mean(p) < 0.7


def test_differences_of_pairs_point_where_the_class_means_differ(trained):
    base, _, labels, _ = trained
    found = principal_differences(base[labels], base[~labels])
    apart = class_means(base, labels)
    assert abs(interp.directions.cosine(found.basis[0], apart.basis[0])) > 0.9
