"""What the figures of a refusal result show, on their data."""

from dataclasses import replace
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from sample_results import refusal

from interp import figures
from interp.errors import ResultError


def drawn(figure: go.Figure) -> tuple[list[Any], Any]:
    """Its traces and layout; plotly's own stubs do not know their attributes."""
    return list(figure.data), figure.layout


def test_the_map_shows_every_candidate_and_frames_the_chosen_one():
    result = refusal()
    traces, layout = drawn(figures.refusal_candidates(result))
    assert [trace.name for trace in traces] == ["bypass", "induce", "kl"]
    for trace in traces:
        for one in result.candidates:
            shown = trace.z[sorted({-2, -1}).index(one.position)][one.layer]
            np.testing.assert_allclose(shown, getattr(one, trace.name), rtol=1e-6)
    frames = [(s.x0, s.x1, s.y0, s.y1) for s in layout.shapes]
    assert frames == [(4.5, 5.5, -0.5, 0.5)] * 3
    assert "chosen; chosen in 93% of resamples" in traces[0].customdata[0]


def test_scales_of_refusal_scores_have_zero_in_their_middle():
    traces, _ = drawn(figures.refusal_candidates(refusal()))
    for trace in traces[:2]:
        assert trace.zmin == -trace.zmax
        assert trace.zmax == pytest.approx(np.nanmax(np.abs(trace.z)))
    assert traces[2].zmin == 0


def test_tokens_of_positions_are_shown_letter_for_letter():
    _, layout = drawn(figures.refusal_candidates(refusal()))
    assert layout.yaxis.ticktext == ("-2 &lt;end>", "-1 &lt;b>&amp;")


def test_doses_are_shown_with_a_gap_between_the_two_kinds_of_prompts():
    result = refusal()
    traces, _ = drawn(figures.refusal_doses(result))
    rows = [
        row for row in result.doses if (row.model, row.direction) == ("post", "post")
    ]
    (trace,) = [t for t in traces if t.name == "post direction" and t.xaxis == "x2"]
    at = list(trace.x).index(0.0)
    assert np.isnan(trace.y[at])
    np.testing.assert_allclose(np.delete(trace.x, at), [r.coefficient for r in rows])
    np.testing.assert_allclose(np.delete(trace.y, at), [r.score for r in rows])
    np.testing.assert_allclose(np.delete(trace.error_y.array, at), 0.5)
    assert sum(bool(t.showlegend) for t in traces) == 3


def test_side_effects_are_shown_with_their_intervals():
    result = refusal()
    (change, divergence), _ = drawn(figures.refusal_side_effects(result))
    np.testing.assert_allclose(change.x, [0.1, 0.05, 0.1 / 3], rtol=1e-5)
    np.testing.assert_allclose(divergence.error_x.array, change.x, rtol=1e-5)
    assert change.y == ("post direction", "base direction", "random direction")


@pytest.mark.parametrize(
    ("draw", "field"),
    [
        (figures.refusal_candidates, "candidates"),
        (figures.refusal_doses, "doses"),
        (figures.refusal_side_effects, "side_effects"),
    ],
)
def test_what_is_not_there_is_said(draw, field):
    with pytest.raises(ResultError, match="has no"):
        draw(replace(refusal(), **{field: ()}))
