"""Where harmful and harmless prompts lie along a refusal direction, layer by layer."""

from typing import Literal

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from interp.errors import ResultError
from interp.figures.style import (
    FALSE_COLOUR,
    NEUTRAL,
    TRUE_COLOUR,
    band,
    model_names,
    styled,
)
from interp.results.refusal import Instructions, RefusalComparison, RefusalProjection
from interp.results.truthfulness import ROLES, Role


CLASSES: tuple[tuple[Instructions, str], ...] = (
    ("harmful", FALSE_COLOUR),
    ("harmless", TRUE_COLOUR),
)


def refusal_projections(
    result: RefusalComparison, *, direction: Literal["base", "post"] = "post"
) -> go.Figure:
    """The mean projection of test prompts on a direction before every block, by class.

    One panel per model, each reading its own prompts unchanged; bands hold the middle
    80 % of the prompts. The line stands where the direction was found.

    Args:
        result: The comparison.
        direction: Whose direction, as it was chosen at that layer.

    Raises:
        ResultError: If the result does not hold projections on it.
    """
    rows = [row for row in result.projections if row.direction == direction]
    roles: list[Role] = [
        role for role in ROLES if any(row.model == role for row in rows)
    ]
    if not rows:
        raise ResultError(
            f"{result!r} holds no projections on the direction of {direction}.",
            remedy="It needs a chosen direction, and a study run by this version.",
        )
    names = model_names(result.models)
    figure = make_subplots(
        rows=len(roles),
        cols=1,
        shared_xaxes=True,
        subplot_titles=[f"in {names[role]}" for role in roles],
        vertical_spacing=0.14,
    )
    chosen = result.directions[1].layer
    for number, role in enumerate(roles, start=1):
        for trace in _traces(rows, role, show_legend=number == 1):
            figure.add_trace(trace, row=number, col=1)
        if chosen is not None:
            line = {"color": NEUTRAL, "width": 1, "dash": "dot"}
            figure.add_vline(chosen, line=line, row=number, col=1)  # pyright: ignore[reportArgumentType]
    layers = sorted({row.layer for row in rows})
    figure.update_xaxes(dtick=max(1, len(layers) // 16), tick0=0)
    figure.update_yaxes(title_text="projection")
    figure.update_xaxes(title_text="layer (resid_pre)", row=len(roles), col=1)
    figure.update_annotations(font={"size": 13})
    return styled(
        figure,
        title=f"Prompts along the direction of {direction}",
        height=120 + 260 * len(roles),
    ).update_layout(margin={"t": 96})


def _traces(
    rows: list[RefusalProjection], role: Role, *, show_legend: bool
) -> list[go.Scatter]:
    traces: list[go.Scatter] = []
    for kind, colour in CLASSES:
        own = [row for row in rows if (row.model, row.instructions) == (role, kind)]
        own.sort(key=lambda row: row.layer)
        if not own:
            continue
        x = np.array([row.layer for row in own])
        mean, low, high = (
            np.array([getattr(row, name) for row in own], np.float32)
            for name in ("mean", "low", "high")
        )
        traces.append(band(x, low, high, colour=colour, name=kind))
        traces.append(
            go.Scatter(
                x=x,
                y=mean,
                mode="lines+markers",
                name=f"{kind} instructions",
                legendgroup=kind,
                showlegend=show_legend,
                line={"color": colour, "width": 2},
                marker={"size": 6},
                customdata=[
                    [row.n, row.mean_low, row.mean_high, row.low, row.high]
                    for row in own
                ],
                hovertemplate=f"{kind}, layer %{{x}}<br>mean %{{y:.3g}} "
                "[%{customdata[1]:.3g}, %{customdata[2]:.3g}] of %{customdata[0]} "
                "prompts<br>80 % lie from %{customdata[3]:.3g} to %{customdata[4]:.3g}"
                "<extra></extra>",
            )
        )
    return traces
