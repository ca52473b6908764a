"""Scores of the examples behind one probe, which was not fitted to them."""

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Bool, Float32

from interp.errors import ResultError
from interp.figures.style import plain, styled
from interp.figures.truthfulness import score_bars
from interp.results.sweep import ProbeSweep
from interp.results.transfer import TransferMatrix


HEIGHT = 300


def sweep_scores(result: ProbeSweep, probe: int) -> go.Figure:
    """Histograms of the held-out logits of positive and negative examples of a probe.

    Args:
        result: The sweep.
        probe: Its place in the axis `probe`.

    Raises:
        ResultError: If the scores of this probe were not kept.
    """
    score = result.scores_of(probe)
    if score is None:
        raise ResultError(
            f"The scores of {result.sites[probe]} were not kept.",
            expected="A probe whose scores were kept, as the best one.",
        )
    where = f"{result.sites[probe]} {result.positions[probe]}".strip()
    title = f"Held-out scores at {plain(where)}"
    return _histograms(score, result.labels[: score.size], title=title)


def transfer_scores(
    result: TransferMatrix, train: str, test: str, *, probe: int | None = None
) -> go.Figure:
    """Histograms of the logits that probes of one data set give to those of another.

    Args:
        result: The matrix.
        train: What was trained on, one of `result.trains`.
        test: Whose examples, one of `result.tests`.
        probe: Which site and position; by default `result.best`.

    Raises:
        ResultError: If nothing could be trained on it, or a name is unknown.
    """
    rows = result.examples_dataframe(train, test, probe=probe)
    if rows.empty:
        raise ResultError(
            f"Probes of {train!r} have no scores on {test!r}.",
            expected="A cell with an AUROC; the notes of the result say why some"
            " have none.",
        )
    title = f"Scores of {plain(test)} by probes of {plain(train)}"
    score, label = rows["score"].to_numpy("f4"), rows["label"].to_numpy(bool)
    return _histograms(score, label, title=title)


def _histograms(
    score: Float32[np.ndarray, " example"],
    label: Bool[np.ndarray, " example"],
    *,
    title: str,
) -> go.Figure:
    positive, negative = score_bars(score, label)
    positive.update(name="positive")
    negative.update(name="negative")
    figure = go.Figure([positive, negative]).update_layout(barmode="overlay")
    x = "held-out logit (above 0 counts as positive)"
    return styled(figure, title=title, x=x, y="examples", height=HEIGHT)
