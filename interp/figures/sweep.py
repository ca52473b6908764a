"""Figures of a `ProbeSweep`. Each is a pure function of the result."""

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Int

from interp.figures.maps import pinned_map
from interp.figures.style import (
    FALSE_COLOUR,
    MODEL_COLOURS,
    NEUTRAL,
    TRUE_COLOUR,
    band,
    plain,
    styled,
)
from interp.results.sweep import NO_LAYER, ProbeSweep


CHANCE = 0.5
COLOURS = (*MODEL_COLOURS.values(), TRUE_COLOUR, FALSE_COLOUR)
DASHES = ("dash", "dashdot", "longdash", "longdashdot", "dot")
# What the names of levels take: a share of the height, and pixels beside the plot.
LABEL_HEIGHT, LABEL_WIDTH = 0.055, 150
# With more sites than this their names would run into each other.
MOST_TICKS = 24
HOVER = "AUROC %{customdata[0]:.3f} [%{customdata[1]:.3f}, %{customdata[2]:.3f}]"


def probe_curve(result: ProbeSweep) -> go.Figure:
    """Held-out AUROC by layer with its interval, beside what a probe must beat.

    One curve for each component and position; of more than four the four that reach
    highest are drawn, and the title says so. A larger marker is a layer that some fold
    chose on its training examples. Sites without a layer, as the embedding, and
    baselines are levels.

    Args:
        result: The sweep.
    """
    figure, curves = go.Figure(), _curves(result)
    shown = curves[: len(COLOURS)]
    layers = np.concatenate([result.layers[at] for _, at in shown] or [[0, 1]])
    ends = np.array([layers.min(), max(layers.max(), layers.min() + 1)])
    for colour, (name, at) in zip(COLOURS, shown, strict=False):
        low, high = result.auroc_lo[at], result.auroc_hi[at]
        x = result.layers[at]
        figure.add_trace(band(x, low, high, colour=colour, name=f"{name} interval"))
        chosen = np.isin(at, result.chosen)
        figure.add_trace(
            go.Scatter(
                x=x,
                y=result.auroc[at],
                mode="lines+markers",
                name=plain(name),
                line={"color": colour, "width": 2.5},
                marker={"size": np.where(chosen, 12, 5), "line": {"width": 0}},
                customdata=_facts(result, at),
                hovertemplate=f"layer %{{x}}<br>{HOVER}",
            )
        )
    if shown:
        figure.add_traces(_controls(result, shown[0][1]))
    levels = [("chance", CHANCE)]
    levels += [
        (f"{result.sites[at]} {result.positions[at]}".strip(), float(result.auroc[at]))
        for at in np.flatnonzero(result.layers == NO_LAYER)
    ]
    levels += [(one.name, float(one.auroc)) for one in result.baselines]
    lowest = min([*result.auroc_lo.tolist(), *(value for _, value in levels), 0.45])
    bottom, top = max(0.0, lowest - 0.02), 1.02
    figure.update_yaxes(range=[bottom, top])
    _add_levels(figure, levels, room=LABEL_HEIGHT * (top - bottom))
    figure.update_xaxes(dtick=max(1, int(np.ptp(ends)) // 12), tick0=0)
    rest = f", {len(shown)} of {len(curves)} curves" if len(curves) > len(shown) else ""
    styled(
        figure,
        title=f"How well probes read held-out examples ({result.fit}{rest})",
        x="layer",
        y="AUROC",
        height=420,
    )
    return figure.update_layout(margin={"r": LABEL_WIDTH})


def probe_heatmap(result: ProbeSweep) -> go.Figure:
    """Held-out AUROC of every site and position, with intervals on hover.

    The scale is pinned at chance, which is transparent. A frame marks the sites that
    folds chose on their training examples.

    Args:
        result: The sweep.
    """
    sites, positions = (
        list(dict.fromkeys(names)) for names in (result.sites, result.positions)
    )
    row = np.array([sites.index(site) for site in result.sites])
    column = np.array([positions.index(at) for at in result.positions])
    facts = np.full((len(sites), len(positions), 5), np.nan, dtype=np.float32)
    facts[row, column] = _facts(result, np.arange(len(result.sites)))
    names = [[f"{plain(s)}, {plain(p) or 'one position'}" for p in positions]
             for s in sites]  # fmt: skip
    trace = pinned_map(
        facts[..., 0],
        x=np.arange(len(positions)),
        y=np.arange(len(sites)),
        middle=CHANCE,
        reach=0.5,
        bar="AUROC",
    ).update(
        text=names,
        customdata=facts,
        hovertemplate=f"%{{text}}<br>{HOVER}<br>corrected p "
        "%{customdata[3]:.3f}<extra></extra>",
    )
    figure = go.Figure(trace)
    for at in np.unique(result.chosen):
        x, y = int(column[at]), int(row[at])
        figure.add_shape(
            type="rect",
            x0=x - 0.47, x1=x + 0.47, y0=y - 0.47, y1=y + 0.47,
            line={"color": NEUTRAL, "width": 2},
        )  # fmt: skip
    step = -(-len(sites) // MOST_TICKS)
    figure.update_yaxes(
        tickvals=list(range(0, len(sites), step)),
        ticktext=[plain(site) for site in sites[::step]],
        showgrid=False,
    )
    figure.update_xaxes(
        tickvals=list(range(len(positions))),
        ticktext=[plain(at) or "one position" for at in positions],
        showgrid=False,
    )
    return styled(
        figure,
        title=f"How well probes read each site and position ({result.fit})",
        x="position",
        height=max(300, 170 + 20 * len(sites)),
    )


def _curves(result: ProbeSweep) -> list[tuple[str, Int[np.ndarray, " layer"]]]:
    """The probes of each component and position by layer, the highest curve first."""
    found: dict[str, list[int]] = {}
    for at, (site, position) in enumerate(
        zip(result.sites, result.positions, strict=True)
    ):
        if result.layers[at] != NO_LAYER:
            name = f"{site.rsplit('.', 1)[0]} {position}".strip()
            found.setdefault(name, []).append(at)
    curves = [
        (name, np.array(sorted(at, key=lambda one: result.layers[one])))
        for name, at in found.items()
    ]
    return sorted(curves, key=lambda curve: -float(result.auroc[curve[1]].max()))


def _controls(result: ProbeSweep, at: Int[np.ndarray, " layer"]) -> list[go.Scatter]:
    """What random directions reach at the layers of the first curve, where measured."""
    traces = []
    for name, values, dash in (
        ("95 % of random directions", result.random_auroc, "dash"),
        ("95 % of those from the covariance", result.covariance_auroc, "dot"),
    ):
        if np.isfinite(values[at]).any():
            line = {"color": NEUTRAL, "width": 1.5, "dash": dash}
            traces.append(
                go.Scatter(
                    x=result.layers[at],
                    y=values[at],
                    mode="lines",
                    name=name,
                    line=line,
                    hovertemplate=f"layer %{{x}}<br>{name} stay below %{{y:.3f}}"
                    "<extra></extra>",
                )
            )
    return traces


def _add_levels(
    figure: go.Figure, levels: list[tuple[str, float]], *, room: float
) -> None:
    """Levels with their names to the right, kept apart where the levels are close."""
    height = -np.inf
    for number, (name, value) in enumerate(sorted(levels, key=lambda one: one[1])):
        dash = DASHES[number % len(DASHES)]
        figure.add_hline(y=value, line={"color": NEUTRAL, "width": 1.2, "dash": dash})
        height = max(value, height + room)
        figure.add_annotation(
            text=f"{plain(name)} {value:.2f}",
            x=1.01, xref="paper", xanchor="left", y=height, yanchor="middle",
            showarrow=False,
            font={"size": 11, "color": NEUTRAL},
        )  # fmt: skip


def _facts(result: ProbeSweep, at: Int[np.ndarray, " probe"]) -> np.ndarray:
    """AUROC, its bounds, the corrected p and the number of each probe."""
    columns = (
        result.auroc[at],
        result.auroc_lo[at],
        result.auroc_hi[at],
        result.permutation_p_corrected[at],
        at,
    )
    return np.stack(columns, axis=-1).astype(np.float32)
