"""The figure of a transfer matrix: its cells, its scale, what it refuses."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from interp.errors import ResultError
from interp.figures import transfer_heatmap, transfer_scores
from probes import fit_mean_difference, transfer_matrix


@pytest.fixture(scope="module")
def turned():
    """Two data sets of which the second has the first one's direction turned round."""
    rng = np.random.default_rng(0)
    truth = np.arange(60) % 2 == 0
    shift = np.where(truth, 3.0, -3.0)[:, None] * np.array([1.0, 0.0])
    rows = {
        "same": rng.normal(size=(60, 2)) + shift,
        "<b>turned": rng.normal(size=(60, 2)) - shift,
    }
    layers = {name: np.stack([at, -at], axis=1) for name, at in rows.items()}
    return transfer_matrix(
        layers,
        {"same": truth, "<b>turned": truth},
        fit=fit_mean_difference,
        resamples=50,
    )


def test_cells_are_those_of_the_chosen_probe_and_pinned_at_chance(turned):
    figure: Any = transfer_heatmap(turned, probe=1)
    (cells,) = figure.data
    np.testing.assert_array_equal(cells.z, turned.auroc[:, :, 1])
    assert cells.z[0, 1] < 0.05
    assert cells.z[1, 1] > 0.95
    assert (cells.zmin, cells.zmid, cells.zmax) == (0, 0.5, 1)
    assert cells.z.dtype == np.float32
    assert [note.text for note in figure.layout.annotations][:2] == ["1.00", "0.00"]


def test_names_are_shown_letter_for_letter(turned):
    figure: Any = transfer_heatmap(turned)
    assert list(figure.layout.xaxis.ticktext) == ["same", "&lt;b>turned"]
    tests = ("same", "<b>turned round by somebody")
    figure = transfer_heatmap(replace(turned, tests=tests))
    assert figure.layout.xaxis.ticktext[1] == "&lt;b>turned round…"
    assert figure.data[0].text[0][1].endswith("&lt;b>turned round by somebody")


def test_a_probe_that_is_not_there_is_refused(turned):
    with pytest.raises(ResultError, match="no probe 2"):
        transfer_heatmap(turned, probe=2)


def test_scores_behind_a_cell_are_the_logits_of_its_examples(turned):
    figure: Any = transfer_scores(turned, "same", "<b>turned", probe=1)
    rows = turned.examples_dataframe("same", "<b>turned", probe=1)
    positive, negative = figure.data
    assert (positive.y.sum(), negative.y.sum()) == (30, 30)
    # Turned round, what the probe calls positive is negative.
    assert positive.x[positive.y > 0].mean() < 0 < negative.x[negative.y > 0].mean()
    assert (rows["wrongness"] > 0).mean() > 0.9
    np.testing.assert_array_equal(
        np.sort(rows["score"]), np.sort(turned.scores[0, 1, 60:])
    )
    assert figure.layout.title.text == "Scores of &lt;b>turned by probes of same"


def test_a_pair_without_scores_or_with_unknown_names_is_refused(turned):
    scores = turned.scores.copy()
    scores[0] = np.nan
    none = replace(turned, scores=scores)
    assert none.examples_dataframe("same", "same").empty
    with pytest.raises(ResultError, match="no scores on 'same'"):
        transfer_scores(none, "same", "same")
    with pytest.raises(ResultError, match="no data set 'gone'"):
        transfer_scores(turned, "gone", "same")
