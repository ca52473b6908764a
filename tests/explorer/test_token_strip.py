"""The coloured strip: what the browser is told, and that it is told data alone."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from interp.errors import ShapeError
from interp_explorer.widgets import token_strip as module
from interp_explorer.widgets.token_strip import (
    Strip,
    StripScore,
    limit_of,
    payload,
    show_strip,
)


pytestmark = pytest.mark.xdist_group("explorer")
HOSTILE = '</script><img src=x onerror="window.hacked=1">'


def strip(**changes: Any) -> Strip:
    values = np.array([0.5, np.nan, -2.0], dtype=np.float32)
    tokens = ["a", " b\n", HOSTILE]
    one = Strip(
        label="tokens",
        tokens=tokens,
        scores=[StripScore(name=HOSTILE, values=values)],
        limit=2.0,
    )
    return replace(one, **changes)


def told(one: Strip) -> dict:
    return payload(one, selected=None, clickable=True)


def test_scores_that_are_no_numbers_have_no_colour_and_json_can_hold_all():
    data = json.loads(json.dumps(told(strip()), allow_nan=False))
    assert data["scores"][0]["values"] == [0.5, None, -2.0]
    assert data["tokens"][1] == "·b⏎"
    assert data["lines"] == [False, True, False]
    assert data["signed"]


def test_zero_is_pinned_and_a_scale_without_negatives_says_so():
    positive = StripScore(name="p", values=np.array([0.0, 1.0, 2.0]))
    assert not told(strip(scores=[positive]))["signed"]
    assert told(strip(scores=[positive], signed=True))["signed"]
    assert limit_of([np.zeros(3)]) == 1.0
    assert limit_of([np.full(2, np.nan)]) == 1.0


def test_one_outlier_does_not_take_the_colour_of_a_long_text():
    values = np.ones(1000)
    values[0] = 500.0
    assert limit_of([values]) == 1.0


def test_without_scores_there_is_no_colour():
    data = told(strip(scores=()))
    assert (data["colour"], data["signed"]) == (None, False)


def test_lengths_must_agree():
    short = StripScore(name="s", values=np.zeros(2))
    with pytest.raises(ShapeError, match="2 scores for 3 tokens"):
        show_strip(strip(scores=[short]), key="k")


def test_texts_reach_the_page_as_text_only():
    for sink in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "eval(",
        "document.write",
    ):
        assert sink not in module.JS
    # Nothing is formatted into what the browser runs: all of it is constant.
    assert HOSTILE not in module.HTML + module.CSS + module.JS
