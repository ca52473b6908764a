"""Figures of probes: every layer, both models, every data set."""

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from interp.errors import ResultError
from interp.figures.intervals import Estimates
from interp.figures.maps import pinned_map, write_cells
from interp.figures.style import (
    MODEL_COLOURS,
    faded,
    model_names,
    shortened,
    styled,
)
from interp.figures.truthfulness import CHANCE, level, whole_layers
from interp.results.truthfulness import ROLES, DatasetTransfer, TruthfulnessComparison


# At least 3 : 1 on white and on #15171b; told apart by the marker too.
PROBE_STYLES = {
    "mean_difference": ("difference of means", "#2f7fc9", "circle"),
    "lda": ("LDA", "#d4691e", "square"),
    "logistic": ("logistic", "#15907f", "diamond"),
    "ridge": ("ridge", "#b0559c", "cross"),
    "ccs": ("CCS", "#8f7d1e", "triangle-up"),
    "crc": ("CRC", "#cc4b4b", "triangle-down"),
    "ttpd": ("TTPD", "#7470d6", "star"),
}
OTHER_STYLE = ("#868b94", "x")
BAND_OPACITY = 0.1
# Cells of a matrix carry their number up to so many of them.
MAX_NAMED_CELLS = 160
HOVER = "layer %{x}<br>AUROC %{y:.3f} [%{customdata[0]:.3f}, %{customdata[1]:.3f}]"


def probe_curves(result: TruthfulnessComparison) -> go.Figure:
    """AUROC of every probe by layer, one panel per model, with intervals.

    Args:
        result: The comparison.

    Raises:
        ResultError: If no probes were fitted.
    """
    if not result.probes:
        raise ResultError(
            "This result has no probes.",
            expected="Probes at every layer.",
            remedy="Run the study again with probes, or draw layer_curve.",
        )
    names = model_names(result.models)
    figure = make_subplots(
        rows=2,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.1,
        subplot_titles=[names[role] for role in ROLES],
    )
    for panel, role in enumerate(ROLES, start=1):
        own = [row for row in result.probes if row.model == role]
        for probe in dict.fromkeys(row.probe for row in own):
            rows = [row for row in own if row.probe == probe]
            layers = np.array([row.layer for row in rows], np.int32)
            found = Estimates.of(rows, "auroc")
            accuracy = np.array([row.accuracy for row in rows], np.float32)
            name, colour, symbol = PROBE_STYLES.get(probe, (probe, *OTHER_STYLE))
            shade = found.band(layers, colour=colour, name=f"{name} interval")
            shade.update(fillcolor=faded(colour, BAND_OPACITY), legendgroup=probe)
            line = _auroc_line(layers, found, name=name, colour=colour).update(
                legendgroup=probe,
                showlegend=panel == 1,
                line={"width": 2},
                marker={"symbol": symbol, "size": 6},
                customdata=np.column_stack([found.ends, accuracy]),
                hovertemplate=f"{HOVER}<br>accuracy %{{customdata[2]:.3f}}",
            )
            figure.add_traces([shade, line], rows=panel, cols=1)
    level(figure, CHANCE, "chance", "dash")
    lowest = float(np.nanmin([row.auroc_low for row in result.probes]))
    figure.update_yaxes(
        range=[max(0.0, min(lowest, 0.45) - 0.02), 1.02], title_text="AUROC"
    )
    figure.update_annotations(font={"size": 13})
    whole_layers(figure, result.layers)
    figure.update_xaxes(title_text="layer (resid_post)", row=2, col=1)
    return styled(
        figure,
        title="Every probe at every layer, held-out statements",
        height=560,
    ).update_layout(margin={"t": 116})


def transfer_curve(result: TruthfulnessComparison) -> go.Figure:
    """AUROC of both directions in both models by layer: own solid, the other dotted.

    Args:
        result: The comparison.
    """
    figure = go.Figure()
    for i, direction in enumerate(ROLES):
        for j, activations in enumerate(ROLES):
            found = Estimates(
                value=result.auroc[i, j],
                low=result.auroc_low[i, j],
                high=result.auroc_high[i, j],
            )
            colour = MODEL_COLOURS[activations]
            name = f"{direction} direction in {activations}"
            if i != j:
                shade = found.band(result.layers, colour=colour, name=name + " band")
                figure.add_trace(shade)
            line = _auroc_line(result.layers, found, name=name, colour=colour)
            line.update(line={"dash": "solid" if i == j else "dot"}, marker={"size": 5})
            figure.add_trace(line)
    level(figure, CHANCE, "chance", "dash")
    lowest = float(np.nanmin(result.auroc_low))
    figure.update_yaxes(range=[max(0.0, min(lowest, 0.45) - 0.02), 1.02])
    whole_layers(figure, result.layers)
    return styled(
        figure,
        title="How each direction carries over, at every layer",
        x="layer (resid_post)",
        y="AUROC, held-out statements",
    )


def dataset_matrix(
    result: TruthfulnessComparison, layer: int | None = None
) -> go.Figure:
    """AUROC of probes of each data set on each data set, one panel per model.

    The last row is trained on all data sets but the one of its column. The scale is
    pinned at chance.

    Args:
        result: The comparison.
        layer: Where both models are read; by default each at the layer that was chosen
            on validation statements.

    Raises:
        ResultError: If there is one data set only.
    """
    if not result.dataset_transfer:
        raise ResultError(
            "This result has no transfer between data sets.",
            expected="Two data sets or more.",
            remedy="Give several statement files, or name a dataset_column.",
        )
    names = model_names(result.models)
    layers = result.best_layers if layer is None else (layer, layer)
    figure = make_subplots(
        rows=2,
        cols=1,
        vertical_spacing=0.16,
        shared_xaxes=True,
        subplot_titles=[
            f"{names[role]}, layer {at}" for role, at in zip(ROLES, layers, strict=True)
        ],
    )
    n_trains = 0
    for panel, role in enumerate(ROLES, start=1):
        rows = [
            row
            for row in result.dataset_transfer
            if row.model == role and row.layer == layers[panel - 1]
        ]
        if rows:
            figure.add_trace(_matrix(rows), row=panel, col=1)
            n_trains = max(n_trains, len({row.train for row in rows}))
            for cell in rows if len(rows) <= MAX_NAMED_CELLS else ():
                write_cells(
                    figure,
                    [[f"{cell.auroc:.2f}"]],
                    x=[_short(cell.test)],
                    y=[_short(cell.train)],
                    row=panel,
                    col=1,
                )
    figure.update_yaxes(autorange="reversed", title_text="trained on", showgrid=False)
    figure.update_xaxes(showgrid=False)
    figure.update_xaxes(title_text="judged on", row=2, col=1)
    figure.update_annotations(font={"size": 13})
    return styled(
        figure,
        title="AUROC of probes of each data set on each data set",
        height=240 + 2 * 34 * max(n_trains, 4),
    ).update_layout(margin={"t": 64})


def matrix_names(
    result: TruthfulnessComparison,
) -> tuple[list[str], list[str]]:
    """What the rows and columns of `dataset_matrix` are trained and judged on."""
    rows = result.dataset_transfer
    return (
        list(dict.fromkeys(row.train for row in rows)),
        list(dict.fromkeys(row.test for row in rows)),
    )


def dataset_curve(result: TruthfulnessComparison, train: str, test: str) -> go.Figure:
    """AUROC of one cell of `dataset_matrix` at every layer of both models.

    Args:
        result: The comparison.
        train: The data set of the probe.
        test: The data set that is judged.
    """
    figure = go.Figure()
    names = model_names(result.models)
    for role in ROLES:
        rows = [
            row
            for row in result.dataset_transfer
            if (row.model, row.train, row.test) == (role, train, test)
        ]
        layers = np.array([row.layer for row in rows], np.int32)
        found, colour = Estimates.of(rows, "auroc"), MODEL_COLOURS[role]
        figure.add_trace(found.band(layers, colour=colour, name=f"{role} band"))
        figure.add_trace(_auroc_line(layers, found, name=names[role], colour=colour))
    level(figure, CHANCE, "chance", "dash")
    figure.update_yaxes(range=[0, 1.02])
    whole_layers(figure, result.layers)
    return styled(
        figure,
        title=f"Trained on {_short(train)}, judged on {_short(test)}",
        x="layer (resid_post)",
        y="AUROC",
        height=300,
    )


def _auroc_line(
    layers: np.ndarray, found: Estimates, *, name: str, colour: str
) -> go.Scatter:
    return go.Scatter(
        x=layers,
        y=found.value,
        mode="lines+markers",
        name=name,
        line={"color": colour, "width": 2.5},
        customdata=found.ends,
        hovertemplate=HOVER,
    )


def _matrix(rows: list[DatasetTransfer]) -> go.Heatmap:
    trains = list(dict.fromkeys(row.train for row in rows))
    tests = list(dict.fromkeys(row.test for row in rows))
    cells = {(row.train, row.test): row for row in rows}
    ordered = [[cells[train, test] for test in tests] for train in trains]
    values, low, high, accuracy = (
        np.array([[getattr(cell, name) for cell in line] for line in ordered], "f4")
        for name in ("auroc", "auroc_low", "auroc_high", "accuracy")
    )
    names = [_short(test) for test in tests], [_short(train) for train in trains]
    return pinned_map(
        values, x=names[0], y=names[1], middle=CHANCE, reach=0.5, gap=3
    ).update(
        customdata=np.stack([low, high, accuracy], axis=-1),
        hovertemplate="trained on %{y}, judged on %{x}<br>AUROC %{z:.3f} "
        "[%{customdata[0]:.3f}, %{customdata[1]:.3f}]<br>accuracy "
        "%{customdata[2]:.3f}<extra></extra>",
    )


def _short(name: str) -> str:
    return shortened(name.rsplit("/", 1)[-1], most=32)
