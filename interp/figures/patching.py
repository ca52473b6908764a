"""Figures of a `PatchMap`. Each is a pure function of the result."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from interp.errors import ResultError
from interp.figures.maps import pinned_map
from interp.figures.style import plain, styled
from interp.results.patch_map import PatchMap


def patch_heatmap(result: PatchMap, *, unit: int = 0) -> go.Figure:
    """The mean change of LD by layer and role, as a share of the mean gap.

    0 is where a patch changes nothing, 1 where it gives all of what the other prompt
    gives. Roles are averaged over the pairs that have them.

    Args:
        result: The patched cells.
        unit: Which component.

    Raises:
        ResultError: If there is no such component.
    """
    if not 0 <= unit < len(result.units):
        raise ResultError(
            f"There is no component {unit} in {result!r}.",
            expected=f"Its components are {', '.join(result.units)}, counted from 0.",
        )
    roles = patch_roles(result)
    inside = np.array(
        [[[name == role for name in row] for row in result.roles] for role in roles]
    )
    gap = result.other_ld.astype(np.float64) - result.unpatched_ld
    moved = result.ld[unit] - result.unpatched_ld[:, None, None]
    held = ~np.isnan(moved)
    sums = np.einsum("rpt,plt->lr", inside, np.where(held, moved, 0.0))
    whole = np.einsum("rpt,plt->lr", inside, held * gap[:, None, None])
    z = np.divide(sums, whole, out=np.full_like(sums, np.nan), where=whole != 0)
    counts = np.einsum("rpt,plt->lr", inside, held)
    trace = pinned_map(
        z.astype(np.float32),
        x=np.arange(len(roles), dtype=np.float32),
        y=result.layers,
        bar="share of<br>LD gap",
    ).update(
        customdata=counts.astype(np.int32)[..., None],
        text=np.broadcast_to([plain(role) for role in roles], z.shape),
        hovertemplate="layer %{y}, %{text}<br>%{z:.3f} of the gap, "
        "%{customdata[0]} cells<extra></extra>",
    )
    figure = go.Figure(trace)
    figure.update_xaxes(
        tickvals=list(range(len(roles))),
        ticktext=[plain(role) for role in roles],
        tickangle=-60,
        showgrid=False,
        tickfont={"size": 10},
    )
    figure.update_yaxes(showgrid=False, dtick=max(1, len(result.layers) // 8), tick0=0)
    return styled(
        figure,
        title=f"What patching {plain(result.units[unit])} moves",
        y="layer",
        height=max(300, 200 + 14 * len(result.layers)),
    )


def patch_roles(result: PatchMap) -> tuple[str, ...]:
    """The roles of positions, in the order of the columns of a map.

    Args:
        result: The patched cells.
    """
    return tuple(dict.fromkeys(name for row in result.roles for name in row if name))


def patch_cells(result: PatchMap, *, unit: int, layer: int, role: str) -> pd.DataFrame:
    """The single values behind one cell of a map, the most moved first.

    Args:
        result: The patched cells.
        unit: Which component.
        layer: The place of the layer on its axis.
        role: What the position is.
    """
    rows = []
    for pair, names in enumerate(result.roles):
        unpatched = float(result.unpatched_ld[pair])
        gap = float(result.other_ld[pair]) - unpatched
        for position, name in enumerate(names):
            value = float(result.ld[unit, pair, layer, position])
            if name != role or np.isnan(value):
                continue
            tokens = result.tokens[pair] if pair < len(result.tokens) else ()
            rows.append(
                {
                    "pair": pair,
                    "group": result.groups[pair],
                    "token": tokens[position] if position < len(tokens) else "",
                    "share of gap": (value - unpatched) / gap if gap else np.nan,
                    "patched LD": value,
                    "unpatched LD": unpatched,
                    "prompt": "".join(tokens),
                }
            )
    columns = ["pair", "group", "token", "share of gap", "patched LD", "unpatched LD"]
    frame = pd.DataFrame(rows, columns=[*columns, "prompt"])
    return frame.sort_values(
        "share of gap", ascending=False, kind="stable", ignore_index=True
    )
