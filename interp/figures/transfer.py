"""Figures of a `TransferMatrix`. Each is a pure function of the result."""

import numpy as np
import plotly.graph_objects as go

from interp.errors import ResultError
from interp.figures.maps import pinned_map, write_cells
from interp.figures.style import plain, styled
from interp.results.transfer import TransferMatrix


CHANCE = 0.5


def transfer_heatmap(result: TransferMatrix, *, probe: int | None = None) -> go.Figure:
    """AUROC of probes of each data set on each data set, at one site and position.

    The last row is trained on all data sets but the one of its column. The scale is
    pinned at chance; what is below it is read the wrong way round.

    Args:
        result: The matrix.
        probe: Which site and position; by default `result.best`.

    Raises:
        ResultError: If there is no such probe.

    Example:
        >>> from probes import transfer_matrix
        >>> truth = np.arange(40) % 2 == 0
        >>> rows = np.random.default_rng(0).normal(size=(40, 3)) + 4 * truth[:, None]
        >>> found = transfer_matrix(
        ...     {"a": rows, "b": rows}, {"a": truth, "b": truth}, resamples=50
        ... )
        >>> transfer_heatmap(found).data[0].z.shape
        (3, 2)
    """
    n_probes = len(result.sites)
    at = result.best if probe is None else probe
    if not 0 <= at < n_probes:
        raise ResultError(
            f"There is no probe {at} in this result.",
            expected=f"It has {n_probes}, counted from 0.",
        )
    trains = [plain(name) for name in result.trains]
    tests = [plain(name) for name in result.tests]
    values = result.auroc[:, :, at]
    bounds = [
        part[:, :, at] for part in (result.auroc_lo, result.auroc_hi, result.accuracy)
    ]
    trace = pinned_map(
        values, x=tests, y=trains, middle=CHANCE, reach=0.5, gap=3, bar="AUROC"
    ).update(
        customdata=np.stack(bounds, axis=-1),
        hovertemplate="trained on %{y}, judged on %{x}<br>AUROC %{z:.3f} "
        "[%{customdata[0]:.3f}, %{customdata[1]:.3f}]<br>accuracy "
        "%{customdata[2]:.3f}<extra></extra>",
    )
    figure = go.Figure(trace)
    said = [["–" if np.isnan(one) else f"{one:.2f}" for one in row] for row in values]
    write_cells(figure, said, x=tests, y=trains)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(showgrid=False)
    return styled(
        figure,
        title=f"Transfer of {plain(result.fit)} at {result.sites[at]}",
        x="judged on",
        y="trained on",
        height=200 + 34 * max(len(trains), 4),
    )
