"""Cosines of several directions with each other."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from interp.figures.maps import pinned_map, write_cells
from interp.figures.style import plain, styled


# With more than this the numbers would not fit into the cells.
MOST_NUMBERS = 12


def cosine_matrix(
    names: Sequence[str],
    vectors: Float[np.ndarray, "direction d_model"],
    *,
    short: Sequence[str] = (),
) -> go.Figure:
    """The cosine of each direction with each, as a map pinned at zero.

    Args:
        names: What the directions are called.
        vectors: The directions, of any length but 0.
        short: What stands beside the rows instead, with numbers that stand alone below
            the columns: whole names, twice, can leave no room for cells.

    Example:
        >>> figure = cosine_matrix(["a", "b"], np.array([[1.0, 0.0], [2.0, 2.0]]))
        >>> round(float(figure.data[0].z[0, 1]), 3)
        0.707
    """
    exact = np.asarray(vectors, dtype=np.float64)
    units = exact / np.linalg.norm(exact, axis=1, keepdims=True)
    z = np.clip(units @ units.T, -1, 1).astype(np.float32)
    count = len(names)
    # Equal names would fall into one row if they were the places themselves.
    places, said = np.arange(count), [plain(name) for name in names]
    pairs = [[f"{row}<br>{column}" for column in said] for row in said]
    figure = go.Figure(
        pinned_map(z, x=places, y=places, bar="cosine").update(
            customdata=pairs,
            hovertemplate="%{customdata}<br>cosine %{z:.3f}<extra></extra>",
        )
    )
    if count <= MOST_NUMBERS:
        texts = [[f"{one:.2f}" for one in row] for row in z]
        write_cells(figure, texts, x=places, y=places)
    numbers = [str(place) for place in places + 1]
    rows = [f"{plain(one)} · {n}" for one, n in zip(short, numbers, strict=False)]
    ticks = {"tickvals": places, "showgrid": False}
    figure.update_xaxes(
        **ticks, ticktext=numbers if short else said, tickangle=0 if short else -40
    )
    figure.update_yaxes(**ticks, ticktext=rows or said, autorange="reversed")
    return styled(
        figure, title="How alike the directions are", height=max(320, 200 + 30 * count)
    )
