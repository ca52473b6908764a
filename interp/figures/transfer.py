"""Figures of a `TransferMatrix`. Each is a pure function of the result."""

import numpy as np
import plotly.graph_objects as go

from interp.errors import ResultError
from interp.figures.maps import pinned_map, write_cells
from interp.figures.style import plain, shortened, styled
from interp.results.transfer import TransferMatrix


CHANCE = 0.5
# Longer names would leave no room for cells; pointing at one tells them whole.


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
    pairs = [
        [f"trained on {plain(train)}, judged on {plain(test)}" for test in result.tests]
        for train in result.trains
    ]
    # Names would fall into one row where their beginnings are the same.
    rows, columns = np.arange(len(result.trains)), np.arange(len(result.tests))
    values = result.auroc[:, :, at]
    bounds = [
        part[:, :, at] for part in (result.auroc_lo, result.auroc_hi, result.accuracy)
    ]
    trace = pinned_map(
        values, x=columns, y=rows, middle=CHANCE, reach=0.5, gap=3, bar="AUROC"
    ).update(
        text=pairs,
        customdata=np.stack(bounds, axis=-1),
        hovertemplate="%{text}<br>AUROC %{z:.3f} "
        "[%{customdata[0]:.3f}, %{customdata[1]:.3f}]<br>accuracy "
        "%{customdata[2]:.3f}<extra></extra>",
    )
    figure = go.Figure(trace)
    said = [["–" if np.isnan(one) else f"{one:.2f}" for one in row] for row in values]
    write_cells(figure, said, x=columns, y=rows)
    trains, tests = (
        [*map(shortened, names)] for names in (result.trains, result.tests)
    )
    figure.update_yaxes(tickvals=rows, ticktext=trains, autorange="reversed")
    figure.update_xaxes(tickvals=columns, ticktext=tests)
    figure.update_layout(xaxis_showgrid=False, yaxis_showgrid=False)
    return styled(
        figure,
        title=f"Transfer of {plain(result.fit)} at {result.sites[at]}",
        x="judged on",
        y="trained on",
        height=200 + 34 * max(len(rows), 4),
    )
