import numpy as np
import pytest
import torch
from activations.oracle import PROMPTS, few_shot, load

import interp
from interp.activations import moments
from interp.errors import EmptyClassError, MissingSiteError, ShapeError


LABELS = ["a", "b", "a", "b", "b"] * 3
MANY = PROMPTS * 3


@pytest.fixture(scope="module")
def model():
    return load("llama")


@pytest.fixture(scope="module")
def rows(model):
    acts = interp.capture(model, MANY)
    return acts["resid_post"].double().numpy()


@pytest.fixture(scope="module")
def stats(model):
    # Several batches, so that partial results are merged.
    return moments(model, MANY, labels=LABELS, token_budget=40)


def close(found, wanted):
    # Rows of another batch differ by float32 rounding.
    np.testing.assert_allclose(found.numpy(), wanted, atol=2e-5, rtol=0)


def test_mean_and_covariance_are_those_of_the_rows(stats, rows):
    for layer in range(3):
        close(stats.mean(f"resid_post.{layer}"), rows[:, layer].mean(0))
        close(
            stats.covariance(f"resid_post.{layer}"),
            np.cov(rows[:, layer], rowvar=False),
        )
    assert stats.mean("resid_post").shape == (3, 32)
    assert stats.covariance("resid_post").shape == (3, 32, 32)
    assert stats.mean("resid_post").dtype == torch.float64


def test_each_class_has_moments_of_its_own(stats, rows):
    assert stats.classes == ("a", "b")
    assert stats.counts == (6, 9)
    labels = np.array(LABELS)
    for label in "ab":
        part = rows[labels == label, 1]
        close(stats.mean("resid_post.1", label=label), part.mean(0))
        close(
            stats.covariance("resid_post.1", label=label, ddof=0),
            np.cov(part, rowvar=False, ddof=0),
        )


def test_the_covariance_within_classes_leaves_their_means_out(stats, rows):
    labels = np.array(LABELS)
    centred = rows[:, 2].copy()
    for label in "ab":
        centred[labels == label] -= centred[labels == label].mean(0)
    wanted = centred.T @ centred / (len(centred) - 2)
    close(stats.covariance("resid_post.2", within=True, ddof=2), wanted)


def test_rows_far_from_zero_lose_no_digits():
    model = load("llama")
    # A mean of 1e4 with deviations of order one: sums of squares would keep 1e-8 * 1e8.
    with torch.no_grad():
        model.hf.model.embed_tokens.weight.add_(1e4)
    prompts = [[token] for token in range(10, 40)]
    rows = interp.capture(model, prompts, sites="embed")["embed"].double().numpy()
    stats = moments(model, prompts, sites="embed", token_budget=7)
    np.testing.assert_allclose(
        stats.covariance("embed").numpy(), np.cov(rows, rowvar=False), atol=1e-11
    )


def test_every_position_is_a_row_and_padding_is_none(model):
    acts = interp.capture(model, PROMPTS, sites="mlp_out.1", positions="all")
    rows = acts["mlp_out.1"][acts.mask].double().numpy()
    stats = moments(
        model, PROMPTS, sites="mlp_out.1", positions="all", labels=[0, 1, 0, 1, 1]
    )
    assert sum(stats.counts) == len(rows)
    close(stats.mean("mlp_out.1"), rows.mean(0))
    close(stats.covariance("mlp_out.1"), np.cov(rows, rowvar=False))


def test_axes_behind_the_example_are_flattened(model):
    rows = interp.capture(model, PROMPTS, sites="z.1")["z.1"].flatten(1)
    stats = moments(model, PROMPTS, sites="z.1")
    close(stats.covariance("z.1"), np.cov(rows.double().numpy(), rowvar=False))


def test_means_can_be_had_alone(model, rows):
    stats = moments(
        model, MANY, labels=torch.tensor([0, 1, 0, 1, 1] * 3), covariance=False
    )
    close(stats.mean("resid_post"), rows.mean(0))
    assert stats.classes == (0, 1)
    with pytest.raises(MissingSiteError, match="Only means"):
        stats.covariance("resid_post")


def test_a_shared_prefix_serves_moments_too(model):
    prompts = few_shot()
    rows = interp.capture(model, prompts, shared_prefix=False)["resid_post.2"]
    stats = moments(model, prompts)
    close(stats.mean("resid_post.2"), rows.double().numpy().mean(0))


def test_moments_can_be_used_in_training(model):
    mean = moments(model, PROMPTS).mean("resid_post.0")
    weight = torch.zeros(32, dtype=torch.float64, requires_grad=True)
    (mean @ weight).backward()
    assert weight.grad is not None


def test_wrong_arguments_are_clear_errors(model, stats):
    with pytest.raises(ShapeError, match="4 labels for 5 prompts"):
        moments(model, PROMPTS, labels=[1, 2, 3, 4])
    with pytest.raises(ShapeError, match="pattern"):
        moments(model, PROMPTS, sites="pattern.*")
    with pytest.raises(EmptyClassError, match=r"'c'.*'a', 'b'"):
        stats.mean("resid_post.1", label="c")
    with pytest.raises(EmptyClassError, match="covariance of 1 rows"):
        moments(model, PROMPTS[:1]).covariance("resid_post.0")
    with pytest.raises(MissingSiteError, match=r"z.0.*There are"):
        stats.mean("z.0")
