"""Figures from the map of all probes down to the single statement."""

from collections.abc import Iterator

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float32
from plotly.subplots import make_subplots

from interp.errors import ResultError
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
from interp.figures.truthfulness import CHANCE, score_bars, whole_layers
from interp.results.calibration import reliability
from interp.results.truthfulness import ROLES, Role, TruthfulnessComparison


# More points than this hide each other, and cost the browser more than they tell.
MOST_POINTS = 1_000
TRUTHS = ((True, "true", TRUE_COLOUR, "circle"), (False, "false", FALSE_COLOUR, "x"))
# Of data sets; those after the last share it.
SYMBOLS = ("circle", "x", "diamond", "triangle-up", "square", "star", "hexagon")
N_RELIABILITY_BINS = 10
PIXELS_PER_PROBE = 26


def probe_rows(result: TruthfulnessComparison) -> list[tuple[Role, str]]:
    """The rows of `probe_map`: model and probe, in the order in which they lie."""
    return list(dict.fromkeys((row.model, row.probe) for row in result.probes))


def probe_map(result: TruthfulnessComparison) -> go.Figure:
    """AUROC of every probe of both models at every layer, as one map.

    The scale is pinned at chance. A frame marks, for each model, the probe and layer
    that are best on validation statements.

    Args:
        result: The comparison.

    Raises:
        ResultError: If no probes were fitted.
    """
    rows = probe_rows(result)
    if not rows:
        raise ResultError(
            "This result has no probes.",
            expected="Probes at every layer.",
            remedy="Run the study again with probes, or draw layer_curve.",
        )
    layers, facts = result.layers, _probe_facts(result, rows)
    trace = pinned_map(
        facts[..., 0],
        x=layers,
        y=np.arange(len(rows)),
        middle=CHANCE,
        reach=0.5,
        bar="AUROC",
    ).update(
        customdata=facts[..., 1:],
        hovertemplate="%{y}, layer %{x}<br>AUROC %{z:.3f} [%{customdata[0]:.3f}, "
        "%{customdata[1]:.3f}]<br>accuracy %{customdata[2]:.3f}<br>calibration "
        "error %{customdata[3]:.3f}<extra></extra>",
    )
    figure = go.Figure(trace)
    for role in ROLES:
        of_role = [i for i, (model, _) in enumerate(rows) if model == role]
        if of_role:
            held = np.nan_to_num(facts[of_role, :, 5], nan=-1)
            probe, layer = divmod(int(held.argmax()), len(layers))
            x, y = int(layers[layer]), of_role[probe]
            figure.add_shape(
                type="rect",
                x0=x - 0.46, x1=x + 0.46, y0=y - 0.44, y1=y + 0.44,
                line={"color": MODEL_COLOURS[role], "width": 2, "dash": "dot"},
            )  # fmt: skip
    figure.update_yaxes(
        tickvals=list(range(len(rows))),
        ticktext=[f"{role} · {plain(probe)}" for role, probe in rows],
        autorange="reversed",
        showgrid=False,
    )
    figure.update_xaxes(showgrid=False)
    whole_layers(figure, layers)
    return styled(
        figure,
        title="How well every probe of every layer tells true from false",
        x="layer (resid_post)",
        height=170 + PIXELS_PER_PROBE * len(rows),
    )


def _probe_facts(
    result: TruthfulnessComparison, rows: list[tuple[Role, str]]
) -> Float32[np.ndarray, "row layer 6"]:
    """AUROC, its ends, accuracy, calibration error and AUROC on validation."""
    facts = np.full((len(rows), len(result.layers), 6), np.nan, np.float32)
    column = {int(layer): i for i, layer in enumerate(result.layers)}
    for one in result.probes:
        facts[rows.index((one.model, one.probe)), column[one.layer]] = (
            one.auroc, one.auroc_low, one.auroc_high, one.accuracy, one.ece,
            one.validation_auroc,
        )  # fmt: skip
    return facts


def site_scores(
    result: TruthfulnessComparison, model: Role, probe: str, layer: int
) -> go.Figure:
    """The scores of one probe of one layer, and whether its probabilities are right.

    On the left histograms of the logits of true and of false statements; on the right
    how often statements are true that get such a probability.

    Args:
        result: The comparison.
        model: Whose activations.
        probe: Its name, as `"logistic"`.
        layer: Counted from 0.

    Raises:
        ResultError: If the scores were not kept.
    """
    frame = result.scores_dataframe(model, probe, layer)
    if frame.empty:
        raise _not_kept(f"the scores of {probe} at layer {layer} of {model}")
    score, label = frame["score"].to_numpy("f4"), frame["label"].to_numpy(bool)
    figure = make_subplots(
        rows=1,
        cols=2,
        column_widths=[0.62, 0.38],
        horizontal_spacing=0.12,
        subplot_titles=["scores", "share true"],
    )
    for bar in score_bars(score, label):
        figure.add_trace(bar, row=1, col=1)
    figure.add_vline(x=0, line={"color": NEUTRAL, "width": 1}, row=1, col=1)  # pyright: ignore[reportArgumentType]
    chance = 1 / (1 + np.exp(-np.clip(score.astype(float), -50, 50)))
    _add_reliability(figure, chance, label, colour=MODEL_COLOURS[model])
    figure.update_layout(barmode="overlay")
    figure.update_annotations(font={"size": 13})
    figure.update_xaxes(title_text="logit (above 0 counts as true)", row=1, col=1)
    figure.update_yaxes(title_text="statements", row=1, col=1)
    return styled(
        figure,
        title=f"{plain(probe)} at layer {layer} of {model}",
        height=340,
    ).update_layout(bargap=0, margin={"t": 96})


def component_scatter(
    result: TruthfulnessComparison, model: Role, layer: int
) -> go.Figure:
    """Statements on the two principal components of a layer's activations.

    The colour says which are true, and the symbol of which data set they are, or where
    there is one data set the same as the colour. Of very many statements some are
    drawn. `customdata` begins with the number of the statement.

    Args:
        result: The comparison.
        model: Whose activations.
        layer: Counted from 0.

    Raises:
        ResultError: If the components were not kept.
    """
    if not result.components.size:
        raise _not_kept("principal components")
    at = int(np.flatnonzero(result.layers == layer)[0])
    places = result.components[ROLES.index(model), at]
    step = -(-len(result.shown) // MOST_POINTS)
    label = result.labels[result.shown]
    figure = go.Figure()
    for chosen, name, marker in _marked(result, label):
        # A step through each kind, so that none is left out.
        chosen = chosen[::step]
        figure.add_trace(
            go.Scatter(
                x=places[chosen, 0],
                y=places[chosen, 1],
                mode="markers",
                name=name,
                marker={**marker, "size": 7, "opacity": 0.75},
                customdata=[
                    [int(i), plain(result.statements[i])] for i in result.shown[chosen]
                ],
                hovertemplate="%{customdata[1]}",
            )
        )
    return styled(
        figure,
        title=f"Statements in {model_names(result.models)[model]}, layer {layer}",
        x="first principal component",
        y="second",
        height=420,
    )


def _marked(
    result: TruthfulnessComparison, label: np.ndarray
) -> Iterator[tuple[np.ndarray, str, dict[str, str]]]:
    """Places among the shown statements that look alike, their name, their marker."""
    sources = np.array(result.sources, dtype=object)
    names = list(dict.fromkeys(result.sources))
    if len(names) < 2:
        for truth, name, colour, symbol in TRUTHS:
            marker = {"color": colour, "symbol": symbol}
            yield np.flatnonzero(label == truth), name, marker
        return
    of = sources[result.shown]
    for number, source in enumerate(names):
        symbol = SYMBOLS[min(number, len(SYMBOLS) - 1)]
        for truth, name, colour, _ in TRUTHS:
            chosen = np.flatnonzero((label == truth) & (of == source))
            if chosen.size:
                marker = {"color": colour, "symbol": symbol}
                yield chosen, f"{name}, {plain(source)}", marker


def statement_curve(
    result: TruthfulnessComparison, probe: str, statement: int
) -> go.Figure:
    """The logit that a probe gives to one statement at every layer of both models.

    Args:
        result: The comparison.
        probe: Its name, as `"logistic"`.
        statement: Which test statement.

    Raises:
        ResultError: If the scores were not kept.
    """
    at = np.flatnonzero(result.shown == statement)
    if not at.size or not result.probe_scores.size:
        raise _not_kept(f"the scores of statement {statement}")
    figure = go.Figure()
    names = model_names(result.models)
    for role in ROLES:
        own = [
            (row.layer, float(result.probe_scores[i, at[0]]))
            for i, row in enumerate(result.probes)
            if (row.model, row.probe) == (role, probe)
        ]
        if own:
            layers, logits = zip(*sorted(own), strict=True)
            figure.add_trace(
                go.Scatter(
                    x=layers,
                    y=np.array(logits, np.float32),
                    mode="lines+markers",
                    name=names[role],
                    line={"color": MODEL_COLOURS[role], "width": 2.5},
                    hovertemplate="layer %{x}<br>logit %{y:.2f}",
                )
            )
    figure.add_hline(y=0, line={"color": NEUTRAL, "width": 1})
    whole_layers(figure, result.layers)
    return styled(
        figure,
        title=f"This statement by {plain(probe)} at every layer",
        x="layer (resid_post)",
        y="logit",
        height=260,
    )


def _add_reliability(
    figure: go.Figure, chance: np.ndarray, label: np.ndarray, *, colour: str
) -> None:
    """Fills the right panel."""
    bins = reliability(chance, label, n_bins=N_RELIABILITY_BINS)
    held = bins.n > 0
    share = bins.n[held] / bins.n.sum()
    figure.add_trace(
        go.Scatter(
            x=[0, 1],
            y=[0, 1],
            mode="lines",
            name="calibrated",
            line={"color": NEUTRAL, "width": 1.5, "dash": "dash"},
            hoverinfo="skip",
        ),
        row=1,
        col=2,
    )
    figure.add_trace(
        go.Scatter(
            x=bins.confidence[held],
            y=bins.accuracy[held],
            mode="lines+markers",
            name="share that is true",
            line={"color": colour, "width": 2},
            marker={"size": (5 + 14 * np.sqrt(share)).astype(np.float32)},
            customdata=bins.n[held][:, None].astype(np.float32),
            hovertemplate="probability %{x:.2f}<br>%{y:.2f} of %{customdata[0]:.0f} "
            "are true",
        ),
        row=1,
        col=2,
    )
    figure.update_xaxes(
        title_text="probability of true", range=[-0.04, 1.04], row=1, col=2
    )
    figure.update_yaxes(range=[-0.04, 1.06], row=1, col=2)


def _not_kept(what: str) -> ResultError:
    return ResultError(
        f"This result does not hold {what}.",
        remedy="Run the study again with this version; it keeps them.",
    )
