"""Figures of a `KnowledgeComparison`. Each is a pure function of the result."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from interp.errors import ResultError
from interp.figures.intervals import Estimates
from interp.figures.maps import pinned_map
from interp.figures.style import (
    FALSE_COLOUR,
    MODEL_COLOURS,
    NEUTRAL,
    TRUE_COLOUR,
    model_names,
    plain,
    styled,
)
from interp.results.knowledge import SLACK, KnowledgeComparison, MapLikeness
from interp.results.map_comparison import Against, Measure
from interp.results.truthfulness import ROLES


# A third colour of the same contrast, for what is neither subject nor object.
LAST_COLOUR = "#a9821c"
ENDS = ("low", "high")
STEPS = {"subject": TRUE_COLOUR, "object": FALSE_COLOUR, "last": LAST_COLOUR}
SHOWN: dict[Against, str] = {
    "the two maps": "base against post",
    "a half of a and the other of b": "half in base, half in post",
    "halves of a": "halves of base",
    "halves of b": "halves of post",
    "b one layer up": "post one layer up",
    "b one layer down": "post one layer down",
    "columns of b permuted": "columns permuted",
    "models exchanged": "models exchanged",
}


def knowledge_maps(result: KnowledgeComparison, *, unit: int = 0) -> go.Figure:
    """Restoration by layer and token of both models, and post minus base below.

    Blue restores what the true statement gives; in the difference blue is more in
    post. All scales are pinned at zero.

    Args:
        result: The comparison.
        unit: Which component.

    Raises:
        ResultError: If there is no such component.
    """
    check_unit(result, unit)
    names = model_names(result.models)
    figure = make_subplots(
        rows=2,
        cols=2,
        specs=[[{}, {}], [{"colspan": 2}, None]],
        subplot_titles=[names["base"], names["post"], "post - base"],
        vertical_spacing=0.24,
        horizontal_spacing=0.12,
    )
    for i in range(2):
        shown = {
            "z": result.restoration[i, unit],
            "low": result.restoration_low[i, unit],
            "high": result.restoration_high[i, unit],
        }
        trace = cell_map(result, shown, limit=1.0, bar="restoration", at=(0.84, 0.42))
        figure.add_trace(trace.update(showscale=i == 1), row=1, col=i + 1)
    shown = {
        "z": result.difference[unit],
        "low": result.difference_low[unit],
        "high": result.difference_high[unit],
    }
    # At least the difference that would matter, so that noise does not look like much.
    deltas = [row.delta for one in result.likeness for row in one.equivalence]
    largest = float(np.nanmax(np.abs(result.difference[unit])))
    limit = max(largest, *deltas[:1])
    trace = cell_map(result, shown, limit=limit, bar="difference", at=(0.2, 0.42))
    figure.add_trace(trace, row=2, col=1)
    labels = column_labels(result)
    figure.update_xaxes(
        tickvals=list(range(len(labels))),
        ticktext=labels,
        tickangle=-60,
        showgrid=False,
        tickfont={"size": 10},
    )
    figure.update_yaxes(
        showgrid=False, dtick=max(1, len(result.layers) // 8), tick0=0, title_text=""
    )
    figure.update_yaxes(title_text="layer", col=1)
    figure.update_annotations(font={"size": 13})
    return styled(
        figure,
        title=f"What {_put(result)} of {plain(result.units[unit])} restores",
        height=600 + 8 * len(result.layers),
    )


def staircase_curves(result: KnowledgeComparison, *, unit: int = 0) -> go.Figure:
    """Restoration by layer at the last token of subject and object and of the prompt.

    Args:
        result: The comparison.
        unit: Which component.

    Raises:
        ResultError: If there is no such component.
    """
    check_unit(result, unit)
    names = model_names(result.models)
    figure = make_subplots(
        rows=1,
        cols=2,
        subplot_titles=[names[role] for role in ROLES],
        shared_yaxes=True,
    )
    for i in range(2):
        for step, colour in STEPS.items():
            column = _column(result, step)
            if column is None:
                continue
            found = Estimates(
                value=result.restoration[i, unit, :, column],
                low=result.restoration_low[i, unit, :, column],
                high=result.restoration_high[i, unit, :, column],
            )
            shade = found.band(result.layers, colour=colour, name=f"{step} {i}")
            line = go.Scatter(
                x=result.layers,
                y=found.value,
                mode="lines+markers",
                name={"last": "last token"}.get(step, f"last token of the {step}"),
                legendgroup=step,
                showlegend=i == 0,
                line={"color": colour, "width": 2.5},
                customdata=np.column_stack([result.layers, found.ends]),
                hovertemplate="layer %{x}<br>restoration %{y:.3f} "
                "[%{customdata[1]:.3f}, %{customdata[2]:.3f}]",
            )
            figure.add_traces([shade, line], rows=1, cols=i + 1)
    figure.add_hline(y=0, line={"color": NEUTRAL, "width": 1})
    figure.update_xaxes(dtick=max(1, len(result.layers) // 8), tick0=0)
    figure.update_annotations(font={"size": 13})
    figure = styled(
        figure,
        title="From the subject over the object to the last token",
        x=f"layer ({plain(result.units[unit])})",
        height=360,
    )
    figure.update_yaxes(title_text="restoration", col=1)
    return figure.update_layout(margin={"t": 96})


def likeness_bars(
    result: KnowledgeComparison, *, unit: int = 0, scale: str = "restoration"
) -> go.Figure:
    """How alike base and post are, beside noise floors and nulls.

    Args:
        result: The comparison.
        unit: Which component.
        scale: `restoration`, or `bins` for the scale of Du et al.

    Raises:
        ResultError: If there is no such component or scale.
    """
    check_unit(result, unit)
    found = result.likeness_of(unit=result.units[unit], scale=scale)
    if found is None:
        raise ResultError(
            f"{result!r} has no comparison on the scale {scale!r}.",
            expected="The scales are 'restoration' and 'bins'.",
        )
    measures: tuple[tuple[Measure, str], ...] = (
        ("pearson", "Pearson's r"),
        ("largest difference, knowledge", "largest difference,<br>subject and object"),
    )
    figure = make_subplots(rows=1, cols=2, shared_yaxes=True, horizontal_spacing=0.06)
    for i, (measure, axis) in enumerate(measures):
        figure.add_trace(_bars(found, measure), row=1, col=i + 1)
        figure.update_xaxes(title_text=axis, row=1, col=i + 1)
    figure.add_vline(x=0, line={"color": NEUTRAL, "width": 1})
    figure.update_yaxes(autorange="reversed")
    # Bars end at 1, and whiskers may start there.
    figure.update_xaxes(row=1, col=1, range=[min(-0.05, _lowest(found)), 1.05])
    return styled(
        figure,
        title="How alike the maps are, and what noise and chance give",
        height=380,
    ).update_layout(showlegend=False)


def inside_bars(result: KnowledgeComparison, *, unit: int = 0) -> go.Figure:
    """How often patched runs stay between the false and the true prompt's LD.

    Args:
        result: The comparison.
        unit: Which component.

    Raises:
        ResultError: If there is no such component.
    """
    check_unit(result, unit)
    figure = go.Figure()
    for slack, opacity in ((SLACK, 0.9), (0.0, 0.45)):
        rows = [
            row
            for row in result.shares
            if row.unit == result.units[unit]
            and row.cells == "knowledge"
            and row.slack == slack
        ]
        found = Estimates.of(rows, "share", low="low", high="high")
        # The colour is that of the model that runs.
        colours = [
            MODEL_COLOURS["base" if row.run.endswith("base") else "post"]
            for row in rows
        ]
        figure.add_trace(
            go.Bar(
                y=[row.run for row in rows],
                x=found.value,
                orientation="h",
                name=f"within {slack:.0%} of the gap" if slack else "strictly",
                marker={
                    "color": colours,
                    "opacity": opacity,
                    "pattern": {"shape": "" if slack else "/"},
                },
                error_x=found.whiskers(),
                customdata=found.ends,
                hovertemplate="%{y}<br>%{x:.1%} [%{customdata[0]:.1%}, "
                "%{customdata[1]:.1%}]",
            )
        )
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(range=[0, 1.02], tickformat=".0%")
    return styled(
        figure,
        title="How often LD stays between false and true",
        x="share of pairs, mean over subject and object cells",
        height=340,
    )


def cell_map(
    result: KnowledgeComparison,
    shown: dict[str, np.ndarray],
    *,
    limit: float,
    bar: str,
    at: tuple[float, float] = (0.5, 1.0),
) -> go.Heatmap:
    """A map of layers and columns, pinned at zero.

    Args:
        result: The comparison.
        shown: The values `z`, and `low` and `high` if they have bounds.
        limit: The value with full colour.
        bar: What the values are.
        at: Middle and length of the bar of colours, as shares of the height.
    """
    bounds = [shown[end] for end in ENDS if end in shown]
    between = " [%{customdata[2]:.3f}, %{customdata[3]:.3f}]" if bounds else ""
    layers, columns = np.meshgrid(
        result.layers, np.arange(len(result.columns)), indexing="ij"
    )
    return pinned_map(
        shown["z"],
        x=np.arange(len(result.columns), dtype=np.float32),
        y=result.layers,
        reach=limit,
        bar=bar,
    ).update(
        colorbar={"y": at[0], "len": at[1]},
        customdata=np.stack([layers, columns, *bounds], axis=-1),
        hovertemplate="layer %{y}, %{text}<br>"
        f"{bar} %{{z:.3f}}{between}<extra></extra>",
        text=np.broadcast_to(column_labels(result), layers.shape),
    )


def _bars(found: MapLikeness, measure: Measure) -> go.Bar:
    rows = [found.find(measure, against) for against in SHOWN]
    # A shift by a layer is one number, without a spread.
    shown = Estimates.stacked(
        [row.value if np.isnan(end) else end for end in (row.value, row.low, row.high)]
        for row in rows
    )
    colours = [TRUE_COLOUR] + [NEUTRAL] * (len(rows) - 1)
    return go.Bar(
        y=list(SHOWN.values()),
        x=shown.value,
        orientation="h",
        marker={"color": colours},
        error_x=shown.whiskers(),
        customdata=shown.ends,
        hovertemplate="%{y}<br>%{x:.3f} [%{customdata[0]:.3f}, %{customdata[1]:.3f}]"
        "<extra></extra>",
    )


def _lowest(found: MapLikeness) -> float:
    rows = [found.find("pearson", against) for against in SHOWN]
    ends = [value for row in rows for value in (row.value, row.low) if value == value]
    return min(ends) - 0.05


def column_labels(result: KnowledgeComparison) -> list[str]:
    """The token of each column where all pairs have the same, else its role.

    Args:
        result: The comparison.
    """
    return [
        plain(repr(token)) + ", last" * (name == "last") if token else name
        for name, token in zip(result.columns, result.tokens, strict=True)
    ]


def _column(result: KnowledgeComparison, step: str) -> int | None:
    wanted: Sequence[str] = (f"{step} last", step)
    return next((result.columns.index(n) for n in wanted if n in result.columns), None)


def _put(result: KnowledgeComparison) -> str:
    return "the true run" if result.direction == "denoise" else "the false run"


def check_unit(result: KnowledgeComparison, unit: int) -> None:
    """Refuse a component that a result does not have.

    Raises:
        ResultError: If there is no such component.
    """
    if not 0 <= unit < len(result.units):
        raise ResultError(
            f"There is no component {unit} in {result!r}.",
            expected=f"Its components are {', '.join(result.units)}, counted from 0.",
        )
