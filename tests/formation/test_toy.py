from itertools import pairwise

import numpy as np
import pytest

from interp.errors import ConfigError
from interp.formation import toy


def reached(run, level=0.025):
    below = run.loss < level
    return np.where(below.any(axis=1), below.argmax(axis=1), np.inf)


def test_the_loss_is_that_of_the_whole_tensor():
    # The same walk with autograd on the full product.
    import torch

    run = toy.three_factors(seeds=1, width=6, iterations=3, seed=5)
    rng = np.random.default_rng(5)
    target = torch.tensor(rng.standard_normal((3, 6)))
    found = torch.tensor(rng.standard_normal((3, 6)), requires_grad=True)
    for iteration in range(4):
        whole = torch.einsum("i,j,k->ijk", *found)
        loss = (torch.einsum("i,j,k->ijk", *target) - whole).square().mean() / 2
        assert float(loss.detach()) == pytest.approx(run.loss[0, iteration])
        known = torch.einsum("i,j,k->ijk", found[0], *target[1:])
        gaps = [
            (torch.einsum("i,j,k->ijk", *target) - sign * known).square().mean() / 2
            for sign in (1, -1)
        ]
        expected = float(min(gap.detach() for gap in gaps))
        assert run.known_others[0, iteration, 0] == pytest.approx(expected)
        (gradient,) = torch.autograd.grad(loss, found)
        found = (found - gradient).detach().requires_grad_()


def test_each_factor_that_is_held_makes_learning_faster():
    times = [reached(toy.three_factors(held=held)) for held in ("", "c", "bc")]
    for later, earlier in pairwise(times):
        assert np.median(earlier) < 0.5 * np.median(later)
        assert np.mean(earlier < later) >= 0.9
    assert np.isfinite(times[1]).all()
    assert np.isfinite(times[2]).all()


def test_a_plateau_needs_more_than_one_unknown_factor():
    def abruptness(held):
        """Iterations from 80 to 20 % of the plateau's level, over those until 20 %."""
        run = toy.three_factors(held=held)
        share = run.loss / run.blank[:, None]
        early, late = (reached_share(share, level) for level in (0.8, 0.2))
        return np.nanmedian((late - early) / late)

    # A pure exponential from twice the level has 0.6.
    assert abruptness("") < 0.4 < 0.5 < abruptness("bc")


def reached_share(share, level):
    """The first iteration after which the share stays below the level."""
    below = np.flip(np.logical_and.accumulate(np.flip(share < level, 1), axis=1), 1)
    return np.where(below.any(axis=1), below.argmax(axis=1), np.nan)


def test_the_gradient_is_that_of_the_loss():
    rng = np.random.default_rng(0)
    logits = rng.uniform(-1, 3, (3, 5))
    pairs, labels = np.array([2.0, 4, 8, 8, 5]), np.array([2.0, 9, 8, 32, 7])
    gradient = toy.nested_gradient(logits, pairs, labels)
    for i in range(3):
        step = np.zeros((3, 5))
        step[i] = 1e-6
        up, down = (
            toy.nested_loss(logits + s, pairs, labels)[0] for s in (step, -step)
        )
        np.testing.assert_allclose(gradient[i], (up - down) / 2e-6, atol=1e-8)


def test_the_origin_is_critical_only_with_as_many_labels_as_pairs():
    pairs = np.array([4.0, 8.0, 8.0, 8.0])
    labels = np.array([4.0, 8.0, 9.0, 32.0])
    gradient = np.abs(toy.nested_gradient(np.zeros((3, 4)), pairs, labels)).max(axis=0)
    assert (gradient[:2] < 1e-12).all()
    assert (gradient[2:] > 1e-3).all()


def test_naming_a_label_of_the_context_comes_before_the_right_one():
    run = toy.nested_logits(np.array([8.0]), np.array([32.0]), until=80)
    at = {
        name: (getattr(run, name)[0] > level).argmax()
        for name, level in (("xi", 1.0), ("to_label", 0.5), ("to_item", 0.3))
    }
    assert 0 < at["xi"] < min(at["to_label"], at["to_item"])


def test_labels_of_the_context_alone_make_a_long_plateau():
    run = toy.nested_logits(np.array([8.0, 8.0]), np.array([32.0, 8.0]), until=450)
    first = run.time[(run.loss < 0.3 * np.log(8)).argmax(axis=1)]
    assert first == pytest.approx([50, 386], abs=2)
    assert run.loss[1, run.time < 300] == pytest.approx(np.log(8), abs=0.01)


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ConfigError, match="factor 'd'"):
        toy.three_factors(held=("d",))
    with pytest.raises(ConfigError, match="at least N"):
        toy.nested_logits(np.array([8.0]), np.array([4.0]))
