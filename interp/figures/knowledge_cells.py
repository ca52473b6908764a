"""Figures of single cells of a `KnowledgeComparison`, and of the pairs behind them.

Each is a pure function of the result and of what is looked at.
"""

from typing import Literal, get_args

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from jaxtyping import Float32

from interp.errors import ResultError
from interp.figures.knowledge import cell_map, check_unit, column_labels
from interp.figures.style import (
    FALSE_COLOUR,
    NEUTRAL,
    TRUE_COLOUR,
    model_names,
    plain,
    styled,
)
from interp.results.knowledge import KnowledgeComparison
from interp.results.truthfulness import ROLES


Shown = Literal["base", "post", "base into post", "post into base", "difference"]
SHOWN: tuple[Shown, ...] = get_args(Shown)


def shown_maps(result: KnowledgeComparison) -> tuple[Shown, ...]:
    """Which maps a result has: its runs, and what post-training changed."""
    return tuple(name for name in SHOWN if name in (*result.runs, "difference"))


def cells_of(
    result: KnowledgeComparison, shown: Shown, *, unit: int = 0, pair: int | None = None
) -> Float32[np.ndarray, "layer column"]:
    """Restoration by layer and column, over all pairs or of one of them.

    Args:
        result: The comparison.
        shown: A run, or post minus base.
        unit: Which component.
        pair: Which pair; the mean over all by default.

    Raises:
        ResultError: If there is no such map, component or pair.
    """
    check_unit(result, unit)
    if shown not in shown_maps(result):
        raise ResultError(
            f"{result!r} has no map {shown!r}.",
            expected=f"It has {', '.join(shown_maps(result))}.",
        )
    if pair is not None and not 0 <= pair < len(result.true):
        raise ResultError(
            f"There is no pair {pair} in {result!r}.",
            expected=f"Its {len(result.true)} pairs are counted from 0.",
        )
    if shown == "difference":
        if pair is None:
            return result.difference[unit]
        base, post = (result.pair_restoration(r, unit=unit)[pair] for r in ROLES)
        return post - base
    if pair is None:
        return result.restoration[result.runs.index(shown), unit]
    return result.pair_restoration(shown, unit=unit)[pair]


def restoration_map(
    result: KnowledgeComparison,
    shown: Shown = "base",
    *,
    unit: int = 0,
    pair: int | None = None,
) -> go.Figure:
    """One map of restoration by layer and token, of all pairs or of one of them.

    Blue restores what the true statement gives; in the difference blue is more in
    post. The scale is pinned at zero. Single pairs that go beyond 1 are drawn as 1.

    Args:
        result: The comparison.
        shown: A run, or post minus base.
        unit: Which component.
        pair: Which pair; the mean over all by default.

    Raises:
        ResultError: If there is no such map, component or pair.
    """
    values = cells_of(result, shown, unit=unit, pair=pair)
    bounds: dict[str, np.ndarray] = {}
    if pair is None and shown == "difference":
        bounds = {
            "low": result.difference_low[unit],
            "high": result.difference_high[unit],
        }
    elif pair is None:
        run = result.runs.index(shown)
        bounds = {
            "low": result.restoration_low[run, unit],
            "high": result.restoration_high[run, unit],
        }
    limit, bar = 1.0, "restoration"
    if shown == "difference":
        bar = "post - base"
        deltas = [row.delta for one in result.likeness for row in one.equivalence]
        limit = max(float(np.nanmax(np.abs(values), initial=0.0)), *deltas[:1], 0.05)
    figure = go.Figure(cell_map(result, {"z": values, **bounds}, limit=limit, bar=bar))
    labels = column_labels(result)
    figure.update_xaxes(
        tickvals=list(range(len(labels))),
        ticktext=labels,
        tickangle=-60,
        showgrid=False,
        tickfont={"size": 11},
    )
    figure.update_yaxes(showgrid=False, dtick=max(1, len(result.layers) // 16), tick0=0)
    names = {**model_names(result.models), "difference": "post - base"}
    of = names.get(shown, shown)
    over = "mean over pairs" if pair is None else f"pair {pair}"
    return styled(
        figure,
        title=f"{plain(result.units[unit])}, {of}, {over}",
        y="layer",
        height=max(300, 190 + 16 * len(result.layers)),
    )


def cell_pairs(
    result: KnowledgeComparison, shown: Shown, *, unit: int, layer: int, column: int
) -> pd.DataFrame:
    """The pairs behind one cell of a map, the most restored first.

    Args:
        result: The comparison.
        shown: A run, or post minus base.
        unit: Which component.
        layer: The place of the layer on its axis.
        column: Which column.

    Raises:
        ResultError: If there is no such map or component.
    """
    cells_of(result, shown, unit=unit)
    if shown == "difference":
        base, post = (
            result.pair_restoration(role, unit=unit)[:, layer, column] for role in ROLES
        )
        values = {"difference": post - base, "base": base, "post": post}
    else:
        model = int(shown.endswith("post"))
        run = result.runs.index(shown)
        values = {
            "restoration": result.pair_restoration(shown, unit=unit)[:, layer, column],
            "patched LD": result.pair_ld[run, unit, :, layer, column],
            "LD of true": result.clean_ld[model],
            "LD of false": result.corrupted_ld[model],
        }
    first = next(iter(values))
    frame = pd.DataFrame(
        {"pair": np.arange(len(result.true))}
        | values
        | {"true": result.true, "false": result.false, "group": result.groups}
    )
    return frame.dropna(subset=first).sort_values(
        first, ascending=False, kind="stable", ignore_index=True
    )


def pair_spread(
    result: KnowledgeComparison,
    shown: Shown,
    *,
    unit: int,
    layer: int,
    column: int,
    pair: int | None = None,
) -> go.Figure:
    """Restoration of every pair at one cell, sorted, beside its mean.

    Args:
        result: The comparison.
        shown: A run, or post minus base.
        unit: Which component.
        layer: The place of the layer on its axis.
        column: Which column.
        pair: The pair that is marked.

    Raises:
        ResultError: If there is no such map or component.
    """
    rows = cell_pairs(result, shown, unit=unit, layer=layer, column=column)
    name = str(rows.columns[1])
    is_own = (rows["pair"] == pair).to_numpy()
    figure = go.Figure(
        go.Scatter(
            x=np.arange(1, len(rows) + 1),
            y=rows[name].to_numpy(),
            mode="markers",
            name="pairs",
            marker={
                "color": np.where(is_own, FALSE_COLOUR, TRUE_COLOUR).tolist(),
                "size": np.where(is_own, 12, 6).tolist(),
            },
            customdata=rows[["pair"]].to_numpy(),
            text=[plain(text) for text in rows["true"]],
            hovertemplate="pair %{customdata[0]}: %{text}<br>"
            f"{name} %{{y:.3f}}<extra></extra>",
            showlegend=False,
        )
    )
    mean = float(cells_of(result, shown, unit=unit)[layer, column])
    ends = () if shown == "difference" else ((1.0, "dot"),)
    for at, dash in ((0.0, "dot"), *ends, (mean, "solid")):
        line = {"color": NEUTRAL, "width": 1.5, "dash": dash}
        figure.add_hline(y=at, line=line)
    where = f"layer {result.layers[layer]}, {column_labels(result)[column]}"
    return styled(
        figure,
        title=f"Every pair at {where}",
        x="pairs, the most restored first",
        y=name,
        height=260,
    )


def cell_scatter(result: KnowledgeComparison, *, unit: int = 0) -> go.Figure:
    """Every cell of base against the same cell of post, with their correlation.

    Args:
        result: The comparison.
        unit: Which component.

    Raises:
        ResultError: If there is no such component.
    """
    check_unit(result, unit)
    base, post = result.restoration[0, unit], result.restoration[1, unit]
    layers, columns = np.indices(base.shape)
    labels = np.broadcast_to(column_labels(result), base.shape)
    figure = _identity(np.concatenate([base.ravel(), post.ravel()]))
    kinds = (("subject and object", TRUE_COLOUR, True), ("others", NEUTRAL, False))
    for name, colour, own in kinds:
        chosen = np.broadcast_to(result.knowledge == own, base.shape)
        figure.add_trace(
            go.Scatter(
                x=base[chosen],
                y=post[chosen],
                mode="markers",
                name=name,
                marker={"color": colour, "size": 8, "opacity": 0.75},
                customdata=np.stack([layers[chosen], columns[chosen]], axis=1),
                text=[
                    f"layer {result.layers[layer]}, {label}"
                    for layer, label in zip(layers[chosen], labels[chosen], strict=True)
                ],
                hovertemplate="%{text}<br>base %{x:.3f}, post %{y:.3f}<extra></extra>",
            )
        )
    found = result.likeness_of(unit=result.units[unit], scale="restoration")
    r = "" if found is None else f", r = {found.find('pearson').value:.3f}"
    return styled(
        figure,
        title=f"Cells of base and of post ({plain(result.units[unit])}){r}",
        x="restoration in base",
        y="restoration in post",
        height=420,
    )


def screening_scatter(result: KnowledgeComparison, *, unit: int = 0) -> go.Figure:
    """Attribution patching against exact patching, cell by cell.

    Args:
        result: The comparison.
        unit: Which component.

    Raises:
        ResultError: If there is no such component, or its cells were not kept.
    """
    check_unit(result, unit)
    checks = [row for row in result.screening if row.unit == result.units[unit]]
    if not any(row.cells for row in checks):
        raise ResultError(
            f"{result!r} keeps no cells of attribution patching.",
            remedy="Run the study again with `screen = true`.",
        )
    ends = [v for row in checks for c in row.cells for v in (c.exact, c.estimate)]
    figure = _identity(np.array(ends, dtype=np.float32))
    for row, colour in zip(checks, (TRUE_COLOUR, FALSE_COLOUR), strict=False):
        figure.add_trace(
            go.Scatter(
                x=np.array([cell.exact for cell in row.cells], np.float32),
                y=np.array([cell.estimate for cell in row.cells], np.float32),
                mode="markers",
                name=f"{row.model}, r {row.pearson:.2f}, ranks {row.spearman:.2f}",
                marker={"color": colour, "size": 8, "opacity": 0.75},
                text=[f"layer {c.layer}, {plain(c.column)}" for c in row.cells],
                hovertemplate="%{text}<br>exact %{x:.3f}, estimate %{y:.3f}"
                "<extra></extra>",
            )
        )
    pairs = checks[0].pairs
    return styled(
        figure,
        title=f"The estimate by one gradient against exact patching, {pairs} pairs",
        x="restoration, exact",
        y="restoration, estimated",
        height=420,
    )


def head_columns(result: KnowledgeComparison) -> dict[int, int]:
    """The units of single heads, such as `z.h3`: the unit of each head."""
    found: dict[int, int] = {}
    for unit, name in enumerate(result.units):
        number = name.rpartition(".h")[2]
        if ".h" in name and number.isdecimal():
            found[int(number)] = unit
    return dict(sorted(found.items()))


def head_restoration(
    result: KnowledgeComparison, shown: Shown, *, column: int
) -> go.Figure:
    """Restoration by layer and head at one column.

    Args:
        result: A comparison whose units are heads.
        shown: A run, or post minus base.
        column: Which column.

    Raises:
        ResultError: If no heads were patched.
    """
    heads = head_columns(result)
    if not heads:
        raise ResultError(
            f"{result!r} has no map of single heads.",
            remedy='Run the study with `sites = ["z"]`.',
        )
    values = np.stack(
        [cells_of(result, shown, unit=unit)[:, column] for unit in heads.values()],
        axis=1,
    )
    limit = max(float(np.nanmax(np.abs(values), initial=0.0)), 0.05)
    layers, numbers = np.indices(values.shape)
    trace = cell_map(result, {"z": values}, limit=limit, bar="restoration")
    trace.update(
        x=list(heads),
        customdata=np.stack([layers, numbers], axis=-1),
        text=None,
        hovertemplate="layer %{y}, head %{x}<br>restoration %{z:.3f}<extra></extra>",
    )
    figure = go.Figure(trace)
    figure.update_xaxes(showgrid=False, dtick=max(1, len(heads) // 16))
    figure.update_yaxes(showgrid=False, dtick=max(1, len(result.layers) // 16), tick0=0)
    return styled(
        figure,
        title=f"Single heads at {column_labels(result)[column]}",
        x="head",
        y="layer",
        height=max(280, 170 + 16 * len(result.layers)),
    )


def _identity(values: Float32[np.ndarray, " value"]) -> go.Figure:
    """A figure with the line on which both coordinates are equal."""
    low = float(np.nanmin(values, initial=0.0)) - 0.05
    high = float(np.nanmax(values, initial=0.0)) + 0.05
    return go.Figure(
        go.Scatter(
            x=[low, high],
            y=[low, high],
            mode="lines",
            name="equal",
            line={"color": NEUTRAL, "width": 1.5, "dash": "dash"},
            hoverinfo="skip",
        )
    )
