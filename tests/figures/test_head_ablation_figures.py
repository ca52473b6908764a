"""Figures of ablated heads show the numbers of the result, and nothing else."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from sample_results import provenance

from interp import figures
from interp.errors import ConfigError
from interp.results import HeadAblations


KINDS = ("zero", "mean", "resample", "pattern_preserving", "value_preserving")


def ablations(seed: int = 0) -> HeadAblations:
    """Made-up ablations: one previous-token head, two induction heads, much noise."""
    rng = np.random.default_rng(seed)
    loss = rng.normal(scale=0.03, size=(5, 4, 8)).astype(np.float32)
    loss[:, 1, 3] += np.array([3.4, 3.1, 2.8, 0.05, 3.2], dtype=np.float32)
    loss[:, 2, 5] += 1.6
    loss[:, 3, 0] += 0.7
    loss[:, 0, 0] = np.nan  # was not ablated
    samples = np.repeat(loss[..., None], 6, axis=-1)
    return HeadAblations(
        kinds=KINDS,
        loss=loss,
        loss_low=loss - 0.2,
        loss_high=loss + 0.3,
        logit=-loss,
        logit_low=-loss - 0.3,
        logit_high=-loss + 0.2,
        loss_samples=samples,
        logit_samples=-samples,
        clean_loss=np.full(6, 0.4, dtype=np.float32),
        clean_logit=np.full(6, 9.0, dtype=np.float32),
        notes=(),
        provenance=provenance("head ablation"),
    )


def traces(figure: go.Figure) -> list[Any]:
    return list(figure.data)


def test_the_map_shows_each_heads_change_pinned_at_zero():
    result = ablations()
    figure = figures.ablation_map(result, "pattern_preserving")
    (heat,) = traces(figure)
    np.testing.assert_array_equal(heat.z, result.value("pattern_preserving"))
    assert heat.zmid == 0
    assert -heat.zmin == heat.zmax == np.nanmax(abs(heat.z))
    np.testing.assert_array_equal(heat.customdata[..., 2], result.loss_low[3])
    assert "pattern-preserving" in figure.layout.title.text
    with pytest.raises(ConfigError, match="'half' was not done"):
        figures.ablation_map(result, "half")


def test_the_routes_show_the_heads_that_matter_most_with_intervals():
    result = ablations()
    figure = figures.ablation_routes(result, k=3)
    assert list(figure.layout.xaxis.ticktext) == ["L1H3", "L2H5", "L3H0"]
    for number, trace in enumerate(traces(figure)):
        want = [result.loss[number][p] for p in ((1, 3), (2, 5), (3, 0))]
        np.testing.assert_array_equal(trace.y, want)
        np.testing.assert_allclose(trace.error_y.array, 0.3, rtol=1e-4)
        np.testing.assert_allclose(trace.error_y.arrayminus, 0.2, rtol=1e-4)
        assert trace.name == KINDS[number].replace("_", "-")
    everything = figures.ablation_routes(result, k=99)
    assert "L0H0" not in everything.layout.xaxis.ticktext
    assert len(everything.layout.xaxis.ticktext) == 31


def test_a_report_has_a_section_of_them(tmp_path):
    result = ablations()
    section = figures.report_section(result)
    assert section.title == "Ablated heads"
    assert "L1H3" in section.summary
    assert len(section.panels) == 2
    result.save(tmp_path / "r")
    back = HeadAblations.load(tmp_path / "r")
    np.testing.assert_array_equal(back.loss_samples, result.loss_samples)
    assert len(back.to_dataframe()) == 5 * 31
