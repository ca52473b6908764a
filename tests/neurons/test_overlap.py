from math import comb

import numpy as np
import pytest
from tiny import tiny_model

import interp
from interp.errors import ConfigError, IncompatibleError
from interp.neurons import entropy_neurons, overlap, overlap_of_rankings


N, K = 20, 6


def chance_of(shared):
    """Two sets of K out of N share so many, counted."""
    return comb(K, shared) * comb(N - K, K - shared) / comb(N, K)


def test_the_null_is_what_counting_all_sets_gives():
    first = np.arange(N)
    second = np.r_[np.arange(3), np.arange(10, 13), np.arange(3, 10), np.arange(13, N)]
    found = overlap_of_rankings(first, second, n_neurons=N, sizes=[K])
    chances = np.array([chance_of(shared) for shared in range(K + 1)])
    iou = np.arange(K + 1) / (2 * K - np.arange(K + 1))
    assert found.shared[0] == 3
    assert found.iou[0] == pytest.approx(3 / 9)
    assert found.expected[0] == pytest.approx(chances @ iou, rel=1e-6)
    assert found.p[0] == pytest.approx(chances[3:].sum(), rel=1e-6)
    below = np.cumsum(chances)
    assert found.low[0] == pytest.approx(iou[np.searchsorted(below, 0.025)])
    assert found.high[0] == pytest.approx(iou[np.searchsorted(below, 0.975)])


def test_random_rankings_stay_within_the_null():
    rng = np.random.default_rng(0)
    drawn = [
        overlap_of_rankings(
            rng.permutation(200), rng.permutation(200), n_neurons=200, sizes=[40]
        )
        for _ in range(300)
    ]
    inside = [one.low[0] <= one.iou[0] <= one.high[0] for one in drawn]
    assert np.mean(inside) > 0.93
    ious = [one.iou[0] for one in drawn]
    assert np.mean(ious) == pytest.approx(drawn[0].expected[0], abs=0.005)


def test_equal_rankings_share_everything_and_all_neurons_are_no_evidence():
    found = overlap_of_rankings(np.arange(9), np.arange(9)[::-1], n_neurons=9)
    assert found.sizes[-1] == 9
    assert (found.iou[-1], found.expected[-1], found.p[-1]) == (1.0, 1.0, 1.0)
    assert found.iou[0] == 0.0


def test_tables_are_compared_by_their_rankings():
    base = entropy_neurons(interp.load(tiny_model("llama", 0)))
    post = entropy_neurons(interp.load(tiny_model("llama", 1)))
    found = overlap(base, post, sizes=[10])
    shared = set(base.candidates.tolist()) & set(post.candidates.tolist())
    assert found.shared[0] == len(shared)
    # A quarter of 48 neurons is large, so no more can be taken.
    assert overlap(base, post).sizes[-1] == 12


def test_other_widths_and_sizes_are_refused():
    base = entropy_neurons(interp.load(tiny_model("llama")))
    wide = entropy_neurons(interp.load(tiny_model("gpt2")))
    with pytest.raises(IncompatibleError, match=r"48 neurons .* 128"):
        overlap(base, wide)
    with pytest.raises(ConfigError, match="Sets of 0 neurons"):
        overlap(base, base, sizes=[0])
