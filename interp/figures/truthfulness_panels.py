"""What a report shows of a truthfulness result."""

import numpy as np
import pandas as pd

from interp.figures.report import Hidden, Panel, panel
from interp.figures.truthfulness import (
    cosine_curve,
    layer_curve,
    score_histogram,
    transfer_matrix,
)
from interp.figures.truthfulness_cosines import direction_cosines
from interp.figures.truthfulness_effects import dose_response, intervention_bars
from interp.figures.truthfulness_probes import (
    dataset_matrix,
    probe_curves,
    transfer_curve,
)
from interp.figures.truthfulness_sites import probe_map
from interp.results.truthfulness import ROLES, TruthfulnessComparison


N_WRONG = 20


def truthfulness_panels(result: TruthfulnessComparison) -> tuple[Panel, ...]:
    """The figures of a truthfulness result, with the numbers behind each.

    Args:
        result: The comparison.
    """
    return (
        _layers(result),
        *_map(result),
        *_probes(result),
        *_transfers(result),
        _cosines(result),
        *_all_cosines(result),
        *_effects(result),
        panel(
            score_histogram,
            result,
            alt="Histograms of the scores of true and false statements in each model.",
        ),
    )


def truthfulness_tables(result: TruthfulnessComparison) -> tuple[Hidden, ...]:
    """The statements that are most wrong, and those that some probes leave out.

    Args:
        result: The comparison.
    """
    scores, labels = result.scores[0, 0], result.labels
    # The threshold is not kept: the middle between the class means stands for it.
    middle = (scores[labels].mean() + scores[~labels].mean()) / 2
    wrong = np.argsort((scores - middle) * np.where(labels, 1, -1), kind="stable")
    columns = ["statement", "label", "base_score", "post_score"]
    rows = result.examples_dataframe()[columns].iloc[wrong[:N_WRONG].tolist()]
    title = "Statements that the base model's direction gets most wrong"
    return (Hidden(title=title, rows=rows), *_unpaired(result))


def _unpaired(result: TruthfulnessComparison) -> tuple[Hidden, ...]:
    if not result.unpaired:
        return ()
    listed = len(result.unpaired)
    which = "" if listed == result.n_unpaired else f", the first {listed} of them"
    title = f"{result.n_unpaired} statements without their negation{which}"
    return (Hidden(title=title, rows=pd.DataFrame({"statement": result.unpaired})),)


def _layers(result: TruthfulnessComparison) -> Panel:
    rows = result.to_dataframe()
    own = rows["direction_model"] == rows["activation_model"]
    peak = [
        float(result.auroc[i, i, result.best_index(r)]) for i, r in enumerate(ROLES)
    ]
    return panel(
        layer_curve,
        result,
        alt=f"AUROC by layer; base {peak[0]:.2f} at layer {result.best_layers[0]}, "
        f"post {peak[1]:.2f} at layer {result.best_layers[1]}, chance 0.5.",
        rows=rows.loc[own, ["activation_model", "layer", *_measures(rows)]],
    )


def _map(result: TruthfulnessComparison) -> tuple[Panel, ...]:
    if not result.probes:
        return ()
    said = []
    for role in ROLES:
        own = [row for row in result.probes if row.model == role]
        best = max(own, key=lambda row: row.validation_auroc, default=None)
        if best:
            said.append(f"{role}: {best.probe} at layer {best.layer}, {best.auroc:.2f}")
    return (
        panel(
            probe_map,
            result,
            alt="A map of AUROC by probe and layer, pinned at chance. Best on "
            f"validation statements: {'; '.join(said)}.",
            rows=result.probes_dataframe(),
        ),
    )


def _all_cosines(result: TruthfulnessComparison) -> tuple[Panel, ...]:
    if not result.layer_cosines.size:
        return ()
    return (
        panel(
            direction_cosines,
            result,
            alt="Three maps of the cosine of the directions of all layers with each "
            "other: within base, within post, and of base with post.",
        ),
    )


def _probes(result: TruthfulnessComparison) -> tuple[Panel, ...]:
    if not result.probes:
        return ()
    best = max(result.probes, key=lambda row: row.validation_auroc)
    names = ", ".join(dict.fromkeys(row.probe for row in result.probes))
    return (
        panel(
            probe_curves,
            result,
            alt=f"AUROC by layer of {names}. Best on validation statements: "
            f"{best.probe} at layer {best.layer} of {best.model}, {best.auroc:.2f} on "
            "test statements.",
            rows=result.probes_dataframe(),
        ),
    )


def _transfers(result: TruthfulnessComparison) -> tuple[Panel, ...]:
    rows = result.to_dataframe()
    best = [result.best_index(role) for role in ROLES]
    peak = [float(result.auroc[i, i, best[i]]) for i in range(2)]
    crossed = [float(result.auroc[i, 1 - i, best[i]]) for i in range(2)]
    panels = [
        panel(
            transfer_matrix,
            result,
            alt=f"Base direction: {peak[0]:.2f} in base, {crossed[0]:.2f} in post. "
            f"Post direction: {crossed[1]:.2f} in base, {peak[1]:.2f} in post.",
            rows=rows.drop(columns=[c for c in rows if c.startswith("cosine")]),
        ),
        panel(
            transfer_curve,
            result,
            alt="AUROC of both directions on both models' activations by layer.",
            rows=result.carried_dataframe() if result.carried else None,
        ),
    ]
    if result.dataset_transfer:
        panels.append(
            panel(
                dataset_matrix,
                result,
                alt="AUROC of probes trained on each data set and judged on each, and "
                "on all others but the one they are judged on.",
                rows=result.datasets_dataframe(),
            )
        )
    return tuple(panels)


def _cosines(result: TruthfulnessComparison) -> Panel:
    rows = result.cosines_dataframe()
    if not result.cosines:
        table = result.to_dataframe()
        first = (table["direction_model"] == "base") & (
            table["activation_model"] == "base"
        )
        columns = ["layer", "cosine", "cosine_null_low", "cosine_null_high"]
        rows = table.loc[first, columns]
    return panel(
        cosine_curve,
        result,
        alt="Cosine of the base and the post direction by layer, plain and whitened, "
        "with the bands of directions from labels shuffled alike and separately.",
        rows=rows,
    )


def _effects(result: TruthfulnessComparison) -> tuple[Panel, ...]:
    panels = []
    if any(row.condition != "none" for row in result.interventions):
        panels.append(
            panel(
                intervention_bars,
                result,
                alt="Effect of adding each direction on the judgement of each model, "
                "beside control vectors of equal length.",
                rows=result.interventions_dataframe(),
            )
        )
    if result.doses:
        panels.append(
            panel(
                dose_response,
                result,
                alt="Effect of each vector by its length, from a small part of the "
                "residual stream's norm to a multiple of it.",
                rows=result.doses_dataframe(),
            )
        )
    return tuple(panels)


def _measures(rows: pd.DataFrame) -> list[str]:
    return [name for name in rows if str(name).startswith(("auroc", "accuracy"))]
