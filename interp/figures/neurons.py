"""Figures of the last MLP's neurons. Each is a pure function of the result."""

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Bool, Float32
from plotly.subplots import make_subplots

from interp.figures.style import (
    FALSE_COLOUR,
    MODEL_COLOURS,
    NEUTRAL,
    log_ticks,
    model_names,
    styled,
)
from interp.results.confidence import ConfidenceComparison
from interp.results.neurons import NeuronTable
from interp.results.truthfulness import ROLES


# Beyond this many points a browser draws with its graphics card.
MANY = 2000
CANDIDATE = FALSE_COLOUR
HOVER = (
    "neuron %{customdata[0]:.0f}<br>norm %{x:.3f}<br>LogitVar %{y:.3g}"
    "<br>in the null space %{customdata[1]:.2f}"
)


def neuron_scatter(result: NeuronTable | ConfidenceComparison) -> go.Figure:
    """Norm and LogitVar of every neuron, with the candidate entropy neurons.

    Entropy neurons stand at the lower right: long vectors that hardly tell tokens
    apart. The larger a candidate's marker, the more of it is in the head's null space.

    Args:
        result: One model's neurons, or the comparison of two.
    """
    if isinstance(result, NeuronTable):
        figure, panels = go.Figure(), [(result.norm, result.logit_var)]
        fractions = [result.null_fraction]
        chosen = [np.isin(np.arange(result.norm.size), result.candidates)]
        colours = [NEUTRAL]
    else:
        names = model_names(result.models)
        figure = make_subplots(
            rows=1,
            cols=2,
            shared_yaxes=True,
            horizontal_spacing=0.06,
            subplot_titles=[names[role] for role in ROLES],
        )
        panels = list(zip(result.norm, result.logit_var, strict=True))
        fractions = list(result.null_fraction)
        numbers = np.arange(result.norm.shape[1])
        chosen = [np.isin(numbers, own) for own in result.candidates]
        colours = [MODEL_COLOURS[role] for role in ROLES]
    for column, (norm, variance) in enumerate(panels):
        for trace in _cloud(
            norm, variance, fractions[column], chosen[column], colours[column]
        ):
            trace.showlegend = column == 0 and trace.name == "candidates"
            if len(panels) == 1:
                figure.add_trace(trace)
            else:
                figure.add_trace(trace, row=1, col=column + 1)
    heights = np.concatenate([variance for _, variance in panels])
    figure.update_yaxes(log_ticks(heights))
    # Both panels on one scale: what differs between the models is the point.
    figure.update_xaxes(title_text="norm of the output vector", matches="x")
    figure.update_annotations(font={"size": 13})
    return styled(
        figure,
        title=f"Neurons of layer {result.layer} by what they write",
    ).update_layout(
        yaxis_title="variance of cosines with the head (LogitVar)", margin={"t": 96}
    )


def singular_values(result: NeuronTable | ConfidenceComparison) -> go.Figure:
    """The head's singular values, largest first, and where its null space begins.

    Args:
        result: One model's neurons, or the comparison of two.
    """
    figure = go.Figure()
    if isinstance(result, NeuronTable):
        curves = [("head", NEUTRAL, result.singular_values)]
    else:
        names = model_names(result.models)
        curves = [
            (names[role], MODEL_COLOURS[role], result.singular_values[i])
            for i, role in enumerate(ROLES)
        ]
    for name, colour, values in curves:
        figure.add_trace(
            go.Scatter(
                x=np.arange(1, values.size + 1),
                # Zero has no place on a logarithmic axis.
                y=np.where(values > 0, values, np.nan).astype(np.float32),
                mode="lines",
                name=name,
                line={"color": colour, "width": 2},
                hovertemplate="direction %{x}<br>singular value %{y:.3g}",
            )
        )
    n = curves[0][2].size
    figure.add_vline(
        x=n - result.null_directions + 0.5,
        line={"color": NEUTRAL, "width": 1.5, "dash": "dot"},
        annotation={"text": "null space", "font": {"size": 11, "color": NEUTRAL}},
        annotation_position="top left",
    )
    figure.update_yaxes(log_ticks(np.concatenate([one for _, _, one in curves])))
    return styled(
        figure,
        title="How much of each direction the head reads",
        x="direction of the residual stream",
        y="singular value of the head",
        height=320,
    )


def _cloud(
    norm: Float32[np.ndarray, " neuron"],
    variance: Float32[np.ndarray, " neuron"],
    fraction: Float32[np.ndarray, " neuron"],
    chosen: Bool[np.ndarray, " neuron"],
    colour: str,
) -> list[go.Scatter | go.Scattergl]:
    kind = go.Scattergl if norm.size > MANY else go.Scatter
    identity = np.stack([np.arange(norm.size, dtype=np.float32), fraction], axis=1)
    # A variance of zero has no place on a logarithmic axis: it stands at the bottom.
    positive = variance[variance > 0]
    floor = positive.min() / 10 if positive.size else 1.0
    height = np.maximum(variance, floor).astype(np.float32)
    rest = kind(
        x=norm[~chosen],
        y=height[~chosen],
        mode="markers",
        name="neurons",
        marker={"color": colour, "size": 4, "opacity": 0.45},
        customdata=identity[~chosen],
        hovertemplate=HOVER,
    )
    best = go.Scatter(
        x=norm[chosen],
        y=height[chosen],
        mode="markers",
        name="candidates",
        marker={
            "color": CANDIDATE,
            "size": (8 + 10 * fraction[chosen]).astype(np.float32),
            "line": {"width": 0},
        },
        customdata=identity[chosen],
        hovertemplate=HOVER,
    )
    return [rest, best]
