"""Estimates as figures show them: in order, and never with a whisker inside out."""

from types import SimpleNamespace

import numpy as np

from interp.figures.intervals import Estimates


def test_whiskers_reach_from_the_value_to_both_ends():
    found = Estimates.stacked([(0.5, 0.25, 1.0), (2.0, 1.0, 2.5)])
    whiskers = found.whiskers()
    assert (found.value + whiskers["array"]).tolist() == [1.0, 2.5]
    assert (found.value - whiskers["arrayminus"]).tolist() == [0.25, 1.0]


def test_a_value_outside_its_interval_by_rounding_has_no_negative_whisker():
    # Wilson's interval of 40 of 40 ends below 1 by a rounding.
    found = Estimates.stacked([(1.0, 0.9, np.nextafter(np.float32(1), np.float32(0)))])
    assert found.whiskers()["array"].tolist() == [0.0]


def test_the_fields_of_rows_are_found_by_name_and_by_place():
    rows = [
        SimpleNamespace(rate=0.5, low=0.4, high=0.6, auroc=0.9, auroc_low=0.8,
                        auroc_high=1.0),
        SimpleNamespace(rate=0.1, low=0.0, high=0.2, auroc=0.7, auroc_low=0.6,
                        auroc_high=0.8),
    ]  # fmt: skip
    by_name = Estimates.of(rows, "auroc")
    assert (
        by_name.ends.tolist() == np.array([[0.8, 1.0], [0.6, 0.8]], np.float32).tolist()
    )
    given = Estimates.of(rows, "rate", low="low", high="high")
    assert given.value.tolist() == np.array([0.5, 0.1], np.float32).tolist()


def test_no_rows_are_no_estimates():
    assert Estimates.of([], "auroc").ends.shape == (0, 2)
