"""Figures of a `TruthfulnessComparison`. Each is a pure function of the result."""

from typing import Literal

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from interp.errors import ResultError
from interp.figures.style import (
    DIVERGING,
    FALSE_COLOUR,
    MODEL_COLOURS,
    NEUTRAL,
    TRUE_COLOUR,
    band,
    model_names,
    styled,
)
from interp.results.refusal import RefusalComparison
from interp.results.truthfulness import ROLES, Role, TruthEffect, TruthfulnessComparison


CHANCE = 0.5
N_BINS = 28


def layer_curve(result: TruthfulnessComparison) -> go.Figure:
    """AUROC of each model's own direction by layer, with intervals and chance.

    The larger marker is the layer that was chosen on validation statements.

    Args:
        result: The comparison.
    """
    figure = go.Figure()
    names = model_names(result.models)
    for i, role in enumerate(ROLES):
        low, high = result.auroc_low[i, i], result.auroc_high[i, i]
        colour = MODEL_COLOURS[role]
        figure.add_trace(
            band(result.layers, low, high, colour=colour, name=f"{role} interval")
        )
        chosen = result.layers == result.best_layers[i]
        figure.add_trace(
            go.Scatter(
                x=result.layers,
                y=result.auroc[i, i],
                mode="lines+markers",
                name=names[role],
                line={"color": colour, "width": 2.5},
                marker={"size": np.where(chosen, 13, 5), "line": {"width": 0}},
                customdata=np.stack([result.layers, low, high], axis=1),
                hovertemplate="layer %{x}<br>AUROC %{y:.3f} "
                "[%{customdata[1]:.3f}, %{customdata[2]:.3f}]",
            )
        )
    _level(figure, CHANCE, "chance", "dash")
    if np.isfinite(result.surface_auroc):
        _level(figure, result.surface_auroc, "words alone", "dot")
    lowest = float(np.nanmin([result.auroc_low[0, 0].min(), CHANCE - 0.05, 0.45]))
    figure.update_yaxes(range=[max(0.0, lowest - 0.02), 1.02])
    _whole_layers(figure, result.layers)
    return styled(
        figure,
        title="How well each model's own direction tells true from false",
        x="layer (resid_post)",
        y="AUROC, held-out statements",
    )


def cosine_curve(result: TruthfulnessComparison | RefusalComparison) -> go.Figure:
    """Cosine of the two models' directions by layer, with the band of chance.

    The band is what directions from shuffled labels give; refusal results have none.

    Args:
        result: The comparison.
    """
    figure = go.Figure()
    if isinstance(result, TruthfulnessComparison):
        figure.add_trace(
            band(
                result.layers,
                result.cosine_null_low,
                result.cosine_null_high,
                colour=NEUTRAL,
                name="shuffled labels",
            ).update(showlegend=True)
        )
        what, site = "truth", "resid_post"
    else:
        what, site = "refusal", "resid_pre"
    figure.add_trace(
        go.Scatter(
            x=result.layers,
            y=result.cosine,
            mode="lines+markers",
            name="base against post",
            line={"color": TRUE_COLOUR, "width": 2.5},
            customdata=result.layers[:, None],
            hovertemplate="layer %{x}<br>cosine %{y:.3f}",
        )
    )
    figure.add_hline(y=0, line={"color": NEUTRAL, "width": 1})
    figure.update_yaxes(range=[-1.05, 1.05])
    _whole_layers(figure, result.layers)
    return styled(
        figure,
        title=f"How alike the two models' {what} directions are",
        x=f"layer ({site})",
        y="cosine similarity",
        height=320,
    )


def transfer_matrix(result: TruthfulnessComparison) -> go.Figure:
    """AUROC of each model's direction on each model's activations, as four cells.

    Each row is read at the best layer of the model whose direction it is. The scale is
    pinned at chance: blue is better, orange is reversed.

    Args:
        result: The comparison.
    """
    rows = [result.best_index(role) for role in ROLES]
    cells = np.stack([result.auroc[i, :, layer] for i, layer in enumerate(rows)])
    low = np.stack([result.auroc_low[i, :, layer] for i, layer in enumerate(rows)])
    high = np.stack([result.auroc_high[i, :, layer] for i, layer in enumerate(rows)])
    layers = np.broadcast_to(np.array(result.best_layers)[:, None], (2, 2))
    figure = go.Figure(
        go.Heatmap(
            z=cells,
            x=[0, 1],
            y=[0, 1],
            zmin=0,
            zmid=CHANCE,
            zmax=1,
            colorscale=[list(stop) for stop in DIVERGING],
            showscale=False,
            xgap=4,
            ygap=4,
            customdata=np.stack([layers, low, high], axis=-1),
            hovertemplate="layer %{customdata[0]}<br>AUROC %{z:.3f} "
            "[%{customdata[1]:.3f}, %{customdata[2]:.3f}]<extra></extra>",
        )
    )
    for i in range(2):
        for j in range(2):
            figure.add_annotation(
                x=j,
                y=i,
                showarrow=False,
                text=f"<b>{cells[i, j]:.3f}</b><br>{low[i, j]:.2f} – {high[i, j]:.2f}",
                font={"size": 15},
            )
    figure.update_xaxes(
        tickvals=[0, 1], ticktext=["base<br>activations", "post<br>activations"]
    )
    figure.update_yaxes(
        tickvals=[0, 1],
        ticktext=[
            f"{role} direction<br>(layer {layer})"
            for role, layer in zip(ROLES, result.best_layers, strict=True)
        ],
        autorange="reversed",
    )
    figure.update_xaxes(showgrid=False)
    figure.update_yaxes(showgrid=False)
    return styled(figure, title="AUROC of each direction in each model", height=320)


def intervention_bars(
    result: TruthfulnessComparison,
    *,
    effect: Literal["nie_gap", "nie_saturation"] = "nie_gap",
) -> go.Figure:
    """How far each vector turns the judgement of each model around, with controls.

    Bars of directions carry bootstrap intervals. Bars of controls are means over the
    vectors that were drawn, with their range.

    Args:
        result: The comparison.
        effect: Which indirect effect.

    Raises:
        ResultError: If the result has no interventions.
    """
    if not any(row.condition != "none" for row in result.interventions):
        raise ResultError(
            f"{result!r} has no interventions.",
            remedy="Its notes say why; draw another figure.",
        )
    figure = go.Figure()
    names = model_names(result.models)
    for target in ROLES:
        bars = [
            (label, *_bar([getattr(row, effect) for row in rows], rows[0], effect))
            for label, rows in _vectors(result, target).items()
        ]
        if not bars:
            continue
        labels, sizes, lows, highs = zip(*bars, strict=True)
        size = np.array(sizes, np.float32)
        figure.add_trace(
            go.Bar(
                y=labels,
                x=size,
                orientation="h",
                name=f"in {names[target]}",
                marker={"color": MODEL_COLOURS[target]},
                error_x=_whiskers(size, np.array(lows), np.array(highs)),
                customdata=np.array([lows, highs], np.float32).T,
                hovertemplate="%{y}<br>effect %{x:.3f} "
                "[%{customdata[0]:.3f}, %{customdata[1]:.3f}]",
            )
        )
    figure.add_vline(x=0, line={"color": NEUTRAL, "width": 1})
    figure.update_yaxes(autorange="reversed")
    scale = {
        "nie_gap": "1 = turned around",
        "nie_saturation": "1 = certain and wrong",
    }[effect]
    return styled(
        figure,
        title="What pushing along a direction does to the judgement",
        x=f"indirect effect ({scale})",
        height=360,
    )


def score_histogram(result: TruthfulnessComparison) -> go.Figure:
    """Scores of true and of false test statements, one panel per model.

    Each model is read with its own direction at its own best layer.

    Args:
        result: The comparison.
    """
    names = model_names(result.models)
    titles = [
        f"{names[role]}, layer {layer}"
        for role, layer in zip(ROLES, result.best_layers, strict=True)
    ]
    figure = make_subplots(rows=2, cols=1, subplot_titles=titles, vertical_spacing=0.2)
    for i in range(2):
        scores = result.scores[i, i]
        edges = np.linspace(scores.min(), scores.max(), N_BINS + 1).astype(np.float32)
        for truth, colour in ((True, TRUE_COLOUR), (False, FALSE_COLOUR)):
            chosen = scores[result.labels == truth]
            counts = np.histogram(chosen, edges)[0].astype(np.float32)
            figure.add_trace(
                go.Bar(
                    x=(edges[:-1] + edges[1:]) / 2,
                    y=counts,
                    width=float(edges[1] - edges[0]),
                    name="true" if truth else "false",
                    legendgroup=str(truth),
                    showlegend=i == 0,
                    marker={"color": colour, "opacity": 0.6, "line": {"width": 0}},
                    customdata=np.stack([edges[:-1], edges[1:]], axis=1),
                    hovertemplate="score %{customdata[0]:.2f} to "
                    "%{customdata[1]:.2f}<br>%{y:.0f} statements",
                ),
                row=i + 1,
                col=1,
            )
    figure.update_layout(barmode="overlay")
    figure.update_annotations(font={"size": 13})
    figure.update_xaxes(title_text="projection on the direction", row=2, col=1)
    return styled(
        figure,
        title="Scores of held-out statements",
        y="statements",
        height=460,
    ).update_layout(bargap=0, margin={"t": 96})


def _vectors(
    result: TruthfulnessComparison, target: Role
) -> dict[str, list[TruthEffect]]:
    """The rows of each vector that was added in a model, controls together."""
    found: dict[str, list[TruthEffect]] = {
        "base direction": [],
        "post direction": [],
        "shuffled labels": [],
        "random vector": [],
    }
    for row in result.interventions:
        if row.target != target or row.condition == "none":
            continue
        label = {
            "direction": f"{row.direction} direction",
            "shuffled": "shuffled labels",
            "random": "random vector",
        }[row.condition]
        found[label].append(row)
    return {label: rows for label, rows in found.items() if rows}


def _bar(
    values: list[float], first: TruthEffect, effect: str
) -> tuple[float, float, float]:
    """Height and whiskers: an interval for one vector, a range for several."""
    if len(values) == 1:
        low, high = getattr(first, f"{effect}_low"), getattr(first, f"{effect}_high")
        return values[0], low, high
    return float(np.mean(values)), min(values), max(values)


def _whiskers(size: np.ndarray, low: np.ndarray, high: np.ndarray) -> dict[str, object]:
    return {
        "type": "data",
        "symmetric": False,
        "array": np.maximum(high - size, 0).astype(np.float32),
        "arrayminus": np.maximum(size - low, 0).astype(np.float32),
        "color": NEUTRAL,
        "thickness": 1.5,
        "width": 4,
    }


def _level(figure: go.Figure, y: float, text: str, dash: str) -> None:
    figure.add_hline(
        y=y,
        line={"color": NEUTRAL, "width": 1.5, "dash": dash},
        annotation={"text": text, "font": {"size": 11, "color": NEUTRAL}},
        annotation_position="bottom right" if dash == "dash" else "top right",
    )


def _whole_layers(figure: go.Figure, layers: np.ndarray) -> None:
    # Plotly would put ticks at halves for few layers.
    figure.update_xaxes(dtick=max(1, len(layers) // 12), tick0=0)
