"""Indirect effects against the formulas worked by hand."""

import numpy as np
import pytest

from probes.studies.truthfulness.effects import (
    effect,
    gap_interval,
    nie_gap,
    nie_saturation,
)


def test_no_change_is_no_effect():
    for formula in (nie_saturation, nie_gap):
        assert formula(0.6, -0.2, edited_true=0.6, edited_false=-0.2) == 0


def test_a_full_turn_is_one():
    assert nie_gap(0.6, -0.2, edited_true=-0.2, edited_false=0.6) == pytest.approx(1)
    assert nie_saturation(0.6, -0.2, edited_true=-1, edited_false=1) == pytest.approx(1)


def test_the_two_directions_are_averaged():
    # true: 0.6 -> 0.2 of a way to -1 of 1.6; false: -0.2 -> 0.4 of a way to 1 of 1.2.
    found = nie_saturation(0.6, -0.2, edited_true=0.2, edited_false=0.4)
    assert found == pytest.approx((0.4 / 1.6 + 0.6 / 1.2) / 2)
    # The gap is 0.8: 0.4 and 0.6 of it.
    found = nie_gap(0.6, -0.2, edited_true=0.2, edited_false=0.4)
    assert found == pytest.approx((0.4 / 0.8 + 0.6 / 0.8) / 2)


def test_pushing_the_right_way_is_negative():
    assert nie_gap(0.6, -0.2, edited_true=0.9, edited_false=-0.5) < 0
    assert nie_saturation(0.6, -0.2, edited_true=0.9, edited_false=-0.5) < 0


@pytest.fixture
def answers():
    rng = np.random.default_rng(0)
    labels = np.arange(80) % 2 == 0
    clean = np.where(labels, 0.5, -0.3) + rng.normal(0, 0.2, 80)
    return clean, labels, [str(i // 2) for i in range(80)]


def test_effect_equals_the_formulas_on_the_means(answers):
    clean, labels, groups = answers
    edited = clean - np.where(labels, 0.4, -0.4)
    found = effect(clean, edited, labels, groups=groups)
    true, false = clean[labels].mean(), clean[~labels].mean()
    expected = nie_gap(true, false, edited_true=true - 0.4, edited_false=false + 0.4)
    assert float(found.gap.estimate) == pytest.approx(expected)
    assert float(found.true.estimate) == pytest.approx(true - 0.4)
    assert found.gap.low < expected < found.gap.high


def test_the_interval_of_the_gap_covers_the_truth_and_narrows_with_the_noise(answers):
    clean, labels, groups = answers
    wide = gap_interval(clean, labels, groups=groups)
    assert wide.low < 0.8 < wide.high
    exact = gap_interval(np.where(labels, 0.5, -0.3), labels, groups=groups)
    assert float(exact.low) == pytest.approx(0.8)
    assert float(exact.high) == pytest.approx(0.8)


def test_a_model_that_says_the_same_of_everything_has_a_gap_of_zero(answers):
    _, labels, groups = answers
    same = np.full(80, 0.9)
    assert float(gap_interval(same, labels, groups=groups).high) == 0
    found = effect(same, same, labels, groups=groups)
    assert np.isnan(found.gap.estimate)


def test_whole_groups_are_resampled(answers):
    clean, labels, _ = answers
    # Whichever of two copies of everything is drawn, the estimate cannot vary.
    both = gap_interval(
        np.tile(clean, 2), np.tile(labels, 2), groups=["one"] * 80 + ["two"] * 80
    )
    assert both.low == pytest.approx(float(both.estimate))
    assert both.high == pytest.approx(float(both.estimate))
    # One group alone says nothing about how groups differ.
    single = gap_interval(clean, labels, groups=["one"] * 80)
    assert np.isnan([single.low, single.high]).all()
