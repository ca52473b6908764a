"""Figures of a `RefusalComparison`. Each is a pure function of the result."""

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from interp.errors import ResultError
from interp.figures.intervals import Estimates
from interp.figures.style import MODEL_COLOURS, model_names, styled
from interp.results.refusal import RefusalComparison, RefusalCondition
from interp.results.truthfulness import ROLES


PIXELS_PER_CONDITION = 46


def refusal_rates(result: RefusalComparison) -> go.Figure:
    """Share of refused instructions by intervention, with Wilson intervals.

    One panel for harmful and one for harmless instructions, one bar per model.

    Args:
        result: The comparison.

    Raises:
        ResultError: If the result has no conditions.
    """
    if not result.conditions:
        raise ResultError(
            f"{result!r} has no refusal rates.",
            remedy="Its notes say why; draw another figure.",
        )
    classes = [
        name
        for name in ("harmful", "harmless")
        if any(row.instructions == name for row in result.conditions)
    ]
    labels = {
        name: list(
            dict.fromkeys(
                condition_label(row)
                for row in result.conditions
                if row.instructions == name
            )
        )
        for name in classes
    }
    counts = [len(labels[name]) for name in classes]
    figure = make_subplots(
        rows=len(classes),
        cols=1,
        row_heights=[count / sum(counts) for count in counts],
        subplot_titles=[f"{name} instructions" for name in classes],
        vertical_spacing=0.16,
    )
    for i, name in enumerate(classes):
        for trace in _bars(result, name, show_legend=i == 0):
            figure.add_trace(trace, row=i + 1, col=1)
        figure.update_yaxes(
            categoryorder="array",
            categoryarray=labels[name],
            autorange="reversed",
            row=i + 1,
            col=1,
        )
    figure.update_xaxes(range=[0, 1.04], tickformat=".0%", dtick=0.25)
    figure.update_xaxes(title_text="refused", row=len(classes), col=1)
    figure.update_annotations(font={"size": 13})
    return styled(
        figure,
        title="How often the models refuse",
        height=190 + PIXELS_PER_CONDITION * sum(counts),
    ).update_layout(margin={"t": 96})


def condition_label(row: RefusalCondition) -> str:
    """What is done to the model, in words.

    Example:
        >>> from interp.results import RefusalCondition
        >>> row = RefusalCondition(
        ...     model="post", instructions="harmful", intervention="ablate",
        ...     direction="base", n=1, refused=0, rate=0.0, low=0.0, high=0.8,
        ...     refused_prefix=0, looping=0, score=0.0)
        >>> condition_label(row)
        'base direction ablated'
    """
    verb = {
        "none": "unchanged",
        "ablate": "ablated",
        "affine": "set to its harmless mean",
        "add": "added",
    }[row.intervention]
    if row.intervention == "none":
        return verb
    return f"{row.direction} direction {verb}"


def _bars(
    result: RefusalComparison, instructions: str, *, show_legend: bool
) -> list[go.Bar]:
    names = model_names(result.models)
    bars: list[go.Bar] = []
    for role in ROLES:
        rows = [
            row
            for row in result.conditions
            if row.model == role and row.instructions == instructions
        ]
        rate = Estimates.of(rows, "rate", low="low", high="high")
        bars.append(
            rate.bars(
                [condition_label(row) for row in rows],
                colour=MODEL_COLOURS[role],
                name=names[role],
            ).update(
                legendgroup=role,
                showlegend=show_legend,
                customdata=[[row.refused, row.n, row.low, row.high] for row in rows],
                hovertemplate="%{y}<br>%{customdata[0]} of %{customdata[1]} refused "
                "(%{x:.0%}, %{customdata[2]:.0%} to %{customdata[3]:.0%})",
            )
        )
    return bars
