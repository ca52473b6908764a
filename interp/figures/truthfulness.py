"""Figures of a `TruthfulnessComparison`. Each is a pure function of the result."""

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Bool, Float32
from plotly.subplots import make_subplots

from interp.figures.maps import pinned_map, write_cells
from interp.figures.style import (
    FALSE_COLOUR,
    MODEL_COLOURS,
    NEUTRAL,
    TRUE_COLOUR,
    band,
    model_names,
    styled,
)
from interp.results.refusal import RefusalComparison
from interp.results.truthfulness import ROLES, Role, TruthfulnessComparison


CHANCE = 0.5
ALIKE, SEPARATE = "labels shuffled alike", "labels shuffled separately"
N_BINS = 28


def layer_curve(result: TruthfulnessComparison) -> go.Figure:
    """AUROC of each model's own direction by layer, with intervals and chance.

    The larger marker is the layer that was chosen on validation statements. The dashed
    lines are what 95 % of random directions stay below on the same statements.

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
    for role in ROLES:
        _add_random(figure, result, role)
    level(figure, CHANCE, "chance", "dash")
    if np.isfinite(result.surface_auroc):
        level(figure, result.surface_auroc, "words alone", "dot")
    lowest = float(np.nanmin([result.auroc_low[0, 0].min(), CHANCE - 0.05, 0.45]))
    figure.update_yaxes(range=[max(0.0, lowest - 0.02), 1.02])
    whole_layers(figure, result.layers)
    return styled(
        figure,
        title="How well each model's own direction tells true from false",
        x="layer (resid_post)",
        y="AUROC, held-out statements",
    )


def _add_random(figure: go.Figure, result: TruthfulnessComparison, role: Role) -> None:
    """What random directions reach in a model, which is one number for all probes."""
    found = {
        row.layer: row.random_auroc
        for row in result.probes
        if row.model == role and np.isfinite(row.random_auroc)
    }
    if not found:
        return
    layers = sorted(found)
    figure.add_trace(
        go.Scatter(
            x=layers,
            y=np.array([found[layer] for layer in layers], np.float32),
            mode="lines",
            name=f"random directions, {role}",
            line={"color": MODEL_COLOURS[role], "width": 1.5, "dash": "dash"},
            hovertemplate="layer %{x}<br>95 % of random directions stay below %{y:.3f}",
        )
    )


def cosine_curve(result: TruthfulnessComparison | RefusalComparison) -> go.Figure:
    """Cosine of the two models' directions by layer, with the bands of chance.

    For truth, plain and whitened, each with two bands: directions from labels that are
    shuffled alike in both models, which are alike wherever the models are, and from
    labels that are shuffled separately. Refusal results have none.

    Args:
        result: The comparison.
    """
    if isinstance(result, TruthfulnessComparison) and result.cosines:
        return _cosine_panels(result)
    figure = go.Figure()
    truth = isinstance(result, TruthfulnessComparison)
    if isinstance(result, TruthfulnessComparison):
        figure.add_trace(
            band(
                result.layers,
                result.cosine_null_low,
                result.cosine_null_high,
                colour=NEUTRAL,
                name=ALIKE,
            ).update(showlegend=True)
        )
    figure.add_trace(_cosine_line(result.layers, result.cosine))
    figure.add_hline(y=0, line={"color": NEUTRAL, "width": 1})
    figure.update_yaxes(range=[-1.05, 1.05])
    whole_layers(figure, result.layers)
    what, site = ("truth", "resid_post") if truth else ("refusal", "resid_pre")
    return styled(
        figure,
        title=f"How alike the two models' {what} directions are",
        x=f"layer ({site})",
        y="cosine similarity",
        height=320,
    )


def _cosine_panels(result: TruthfulnessComparison) -> go.Figure:
    metrics = ("plain", "whitened by the covariance within classes")
    figure = make_subplots(
        rows=2,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.12,
        subplot_titles=metrics,
    )
    for panel, metric in enumerate(("plain", "whitened"), start=1):
        rows = [row for row in result.cosines if row.metric == metric]
        layers = np.array([row.layer for row in rows], np.int32)
        nulls = (("independent", SEPARATE, TRUE_COLOUR), ("shared", ALIKE, NEUTRAL))
        for null, name, colour in nulls:
            low, high = (
                np.array([getattr(row, f"{null}_{end}") for row in rows], np.float32)
                for end in ("low", "high")
            )
            trace = band(layers, low, high, colour=colour, name=name)
            trace.update(showlegend=panel == 1, legendgroup=name)
            figure.add_trace(trace, row=panel, col=1)
        cosine = np.array([row.cosine for row in rows], np.float32)
        trace = _cosine_line(layers, cosine).update(
            showlegend=panel == 1, legendgroup="cosine"
        )
        figure.add_trace(trace, row=panel, col=1)
    figure.add_hline(y=0, line={"color": NEUTRAL, "width": 1})
    figure.update_yaxes(range=[-1.05, 1.05], title_text="cosine similarity")
    figure.update_annotations(font={"size": 13}, x=0, xanchor="left")
    whole_layers(figure, result.layers)
    figure.update_xaxes(title_text="layer (resid_post)", row=2, col=1)
    return styled(
        figure,
        title="How alike the two models' truth directions are",
        height=520,
    ).update_layout(margin={"t": 96})


def _cosine_line(layers: np.ndarray, cosine: np.ndarray) -> go.Scatter:
    return go.Scatter(
        x=layers,
        y=cosine,
        mode="lines+markers",
        name="base against post",
        line={"color": TRUE_COLOUR, "width": 2.5},
        customdata=layers[:, None],
        hovertemplate="layer %{x}<br>cosine %{y:.3f}",
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
        pinned_map(cells, x=[0, 1], y=[0, 1], middle=CHANCE, reach=0.5, gap=4).update(
            customdata=np.stack([layers, low, high], axis=-1),
            hovertemplate="layer %{customdata[0]}<br>AUROC %{z:.3f} "
            "[%{customdata[1]:.3f}, %{customdata[2]:.3f}]<extra></extra>",
        )
    )
    texts = [
        [
            f"<b>{cells[i, j]:.3f}</b><br>{low[i, j]:.2f} – {high[i, j]:.2f}"
            for j in range(2)
        ]
        for i in range(2)
    ]
    write_cells(figure, texts, x=[0, 1], y=[0, 1])
    figure.update_annotations(font={"size": 15})
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
        for bar in score_bars(result.scores[i, i], result.labels):
            figure.add_trace(bar.update(showlegend=i == 0), row=i + 1, col=1)
    figure.update_layout(barmode="overlay")
    figure.update_annotations(font={"size": 13})
    figure.update_xaxes(title_text="projection on the direction", row=2, col=1)
    return styled(
        figure,
        title="Scores of held-out statements",
        y="statements",
        height=460,
    ).update_layout(bargap=0, margin={"t": 96})


def carried_scores(
    result: TruthfulnessComparison, direction: Role, activations: Role
) -> go.Figure:
    """Scores of true and of false statements, one model read with the other's.

    Args:
        result: The comparison.
        direction: Whose direction, at its own best layer.
        activations: Whose activations it is read on.
    """
    i, j = ROLES.index(direction), ROLES.index(activations)
    figure = go.Figure([*score_bars(result.scores[i, j], result.labels)])
    figure.update_layout(barmode="overlay")
    return styled(
        figure,
        title=f"{direction} direction (layer {result.best_layers[i]}) in {activations}",
        x="projection on the direction",
        y="statements",
        height=300,
    ).update_layout(bargap=0)


def score_bars(
    scores: Float32[np.ndarray, " example"], labels: Bool[np.ndarray, " example"]
) -> tuple[go.Bar, go.Bar]:
    """Histograms of the scores of true and of false statements, in common bins.

    Args:
        scores: Projections or logits.
        labels: Which statements are true.
    """
    # A hair wider, so that scores which are all alike have a bin.
    low, high = float(scores.min()), float(scores.max()) + 1e-6
    edges = np.linspace(low, high, N_BINS + 1).astype(np.float32)

    def bars(truth: bool) -> go.Bar:
        counts = np.histogram(scores[labels == truth], edges)[0].astype(np.float32)
        return go.Bar(
            x=(edges[:-1] + edges[1:]) / 2,
            y=counts,
            width=float(edges[1] - edges[0]),
            name="true" if truth else "false",
            legendgroup=str(truth),
            marker={
                "color": TRUE_COLOUR if truth else FALSE_COLOUR,
                "opacity": 0.6,
                "line": {"width": 0},
            },
            customdata=np.stack([edges[:-1], edges[1:]], axis=1),
            hovertemplate="score %{customdata[0]:.2f} to "
            "%{customdata[1]:.2f}<br>%{y:.0f} statements",
        )

    return bars(True), bars(False)


def level(figure: go.Figure, y: float, text: str, dash: str) -> None:
    """Draw a level with its name, such as chance."""
    figure.add_hline(
        y=y,
        line={"color": NEUTRAL, "width": 1.5, "dash": dash},
        annotation={"text": text, "font": {"size": 11, "color": NEUTRAL}},
        annotation_position="bottom right" if dash == "dash" else "top right",
    )


def whole_layers(figure: go.Figure, layers: np.ndarray) -> None:
    """Put ticks at whole layers only."""
    # Plotly would put ticks at halves for few layers.
    figure.update_xaxes(dtick=max(1, len(layers) // 12), tick0=0)
