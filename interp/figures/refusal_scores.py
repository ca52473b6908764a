"""Figures of the refusal scores of single answers, and of directions carried over."""

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from interp.errors import ResultError
from interp.figures.maps import write_cells
from interp.figures.refusal import condition_label
from interp.figures.style import MODEL_COLOURS, NEUTRAL, faded, model_names, styled
from interp.results.refusal import (
    Instructions,
    Intervention,
    RefusalComparison,
    RefusalCondition,
    Source,
)
from interp.results.truthfulness import ROLES


PIXELS_PER_BOX = 52
# What is done, to which instructions; rows of a transfer matrix.
CARRIED: tuple[tuple[Intervention, Instructions, str], ...] = (
    ("ablate", "harmful", "ablated: harmful refused"),
    ("add", "harmless", "added: harmless refused"),
)
# The colour of high refusal scores elsewhere.
REFUSED = ((0.0, faded("#d4691e", 0.0)), (1.0, faded("#d4691e", 0.8)))
SOURCES: tuple[Source, ...] = ("none", "base", "post", "random")
SOURCE_NAMES = {"none": "unchanged", "random": "random direction"}


def refusal_scores(result: RefusalComparison) -> go.Figure:
    """How the refusal scores of answers are distributed under each condition.

    The score is that of the first token: above 0 refusing is likelier than not. One
    point per answer, without its text.

    Args:
        result: The comparison.

    Raises:
        ResultError: If the result has no answers.
    """
    if not result.completions:
        raise ResultError(
            f"{result!r} has no answers.",
            remedy="Its notes say why; draw another figure.",
        )
    names = model_names(result.models)
    figure = go.Figure()
    labels: dict[str, None] = {}
    for role in ROLES:
        places: list[str] = []
        scores: list[float] = []
        for condition in result.conditions:
            if condition.model == role:
                own = condition_scores(result, condition)
                label = f"{condition.instructions}: {condition_label(condition)}"
                labels[label] = None
                places += [label] * len(own)
                scores += own
        figure.add_trace(
            go.Box(
                x=np.array(scores, np.float32),
                y=places,
                orientation="h",
                name=names[role],
                boxpoints="all",
                jitter=0.5,
                pointpos=0,
                marker={"color": MODEL_COLOURS[role], "size": 3, "opacity": 0.5},
                line={"width": 1.5},
                hovertemplate="%{y}<br>score %{x:.2f}",
            )
        )
    figure.add_vline(x=0, line={"color": NEUTRAL, "width": 1})
    # The unchanged model first, of each class of instructions.
    ordered = sorted(labels, key=lambda label: (label[:8], "unchanged" not in label))
    figure.update_layout(boxmode="group")
    figure.update_yaxes(
        categoryorder="array", categoryarray=ordered, autorange="reversed"
    )
    return styled(
        figure,
        title="Refusal scores of all answers",
        x="refusal score of the first token (log odds)",
        height=150 + PIXELS_PER_BOX * len(ordered),
    ).update_layout(boxgap=0.2)


def condition_scores(
    result: RefusalComparison, condition: RefusalCondition
) -> list[float]:
    """The refusal scores of the answers under one condition.

    Args:
        result: The comparison.
        condition: One of its conditions.
    """
    wanted = _key(condition)
    return [row.score for row in result.completions if _key(row) == wanted]


def refusal_transfer(result: RefusalComparison) -> go.Figure:
    """Whose direction does what in which model: refusal rates as two small matrices.

    Args:
        result: The comparison.

    Raises:
        ResultError: If no direction was ablated or added.
    """
    if not any(row.intervention in ("ablate", "add") for row in result.conditions):
        raise ResultError(
            f"{result!r} has no interventions.",
            remedy="Its notes say why; draw another figure.",
        )
    figure = make_subplots(
        rows=1,
        cols=len(CARRIED),
        subplot_titles=[words for _, _, words in CARRIED],
        shared_yaxes=True,
        horizontal_spacing=0.06,
    )
    x, y = [0, 1], list(range(len(SOURCES)))
    for column, (how, kind, _) in enumerate(CARRIED, start=1):
        trace = _carried(result, how, kind).update(x=x, y=y)
        figure.add_trace(trace, row=1, col=column)
        said = [["not run" if np.isnan(rate) else f"{rate:.0%}" for rate in row]
                for row in np.asarray(trace.z)]  # fmt: skip
        write_cells(figure, said, x=x, y=y, row=1, col=column)
    figure.update_xaxes(
        tickvals=[0, 1], ticktext=["in base", "in post"], showgrid=False
    )
    figure.update_yaxes(
        tickvals=list(range(len(SOURCES))),
        ticktext=[SOURCE_NAMES.get(of, f"{of} direction") for of in SOURCES],
        autorange="reversed",
        showgrid=False,
    )
    figure.update_annotations(font={"size": 13})
    return styled(
        figure,
        title="What each direction does in each model",
        height=330,
    )


def _carried(
    result: RefusalComparison, how: Intervention, kind: Instructions
) -> go.Heatmap:
    """Refusal rates by direction and model; NaN where it was not run."""
    rates = np.full((len(SOURCES), len(ROLES)), np.nan, np.float32)
    counts = np.zeros((*rates.shape, 2), np.int64)
    for at in np.ndindex(rates.shape):
        of, role = SOURCES[at[0]], ROLES[at[1]]
        if of == "none":
            condition = result.condition(role, kind)
        else:
            condition = result.condition(role, kind, intervention=how, direction=of)
        if condition is not None:
            rates[at] = condition.rate
            counts[at] = condition.refused, condition.n
    return go.Heatmap(
        z=rates,
        zmin=0,
        zmax=1,
        colorscale=[list(stop) for stop in REFUSED],
        showscale=False,
        xgap=4,
        ygap=4,
        customdata=counts.tolist(),
        hovertemplate="%{y}, %{x}<br>%{customdata[0]} of %{customdata[1]} "
        "refused<extra></extra>",
    )


def _key(row: object) -> tuple[str, ...]:
    names = ("model", "instructions", "intervention", "direction")
    return tuple(getattr(row, name) for name in names)
