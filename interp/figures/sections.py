"""What a report shows of each kind of result."""

from typing import assert_never

import numpy as np
import pandas as pd

from interp.figures.refusal import condition_label, refusal_rates
from interp.figures.report import Hidden, Panel, Section
from interp.figures.truthfulness import (
    cosine_curve,
    intervention_bars,
    layer_curve,
    score_histogram,
    transfer_matrix,
)
from interp.results.kinds import Result, title
from interp.results.patch_map import PatchMap
from interp.results.refusal import Instructions, RefusalComparison
from interp.results.sweep import ProbeSweep
from interp.results.truthfulness import ROLES, TruthfulnessComparison


N_WRONG = 20


def report_section(result: Result) -> Section:
    """The section of a report about one result: what was found, figures, tables.

    Args:
        result: The result.
    """
    match result:
        case TruthfulnessComparison():
            panels, hidden = _truthfulness_panels(result), _example_tables(result)
        case RefusalComparison():
            panels, hidden = _refusal_panels(result), _answer_tables(result)
        case ProbeSweep():
            panels, hidden = (), _probe_tables(result)
        case PatchMap():
            panels, hidden = (), ()
        case _:
            assert_never(result)
    return Section(
        title=title(result),
        summary=result.headline(),
        panels=panels,
        notes=result.notes,
        hidden=hidden,
    )


def _truthfulness_panels(result: TruthfulnessComparison) -> tuple[Panel, ...]:
    rows = result.to_dataframe()
    own = rows["direction_model"] == rows["activation_model"]
    best = [result.best_index(role) for role in ROLES]
    peak = [float(result.auroc[i, i, best[i]]) for i in range(2)]
    crossed = [float(result.auroc[i, 1 - i, best[i]]) for i in range(2)]
    panels = [
        Panel(
            figure=layer_curve(result),
            alt=f"AUROC by layer; base {peak[0]:.2f} at layer {result.best_layers[0]}, "
            f"post {peak[1]:.2f} at layer {result.best_layers[1]}, chance 0.5.",
            rows=rows.loc[own, ["activation_model", "layer", *_measures(rows)]],
        ),
        Panel(
            figure=transfer_matrix(result),
            alt=f"Base direction: {peak[0]:.2f} in base, {crossed[0]:.2f} in post. "
            f"Post direction: {crossed[1]:.2f} in base, {peak[1]:.2f} in post.",
            rows=rows.drop(columns=[c for c in rows if c.startswith("cosine")]),
        ),
        Panel(
            figure=cosine_curve(result),
            alt="Cosine of the base and the post direction by layer, with the band of "
            "directions from shuffled labels.",
            rows=rows.loc[
                (rows["direction_model"] == "base") & own,
                ["layer", "cosine", "cosine_null_low", "cosine_null_high"],
            ],
        ),
        Panel(
            figure=score_histogram(result),
            alt="Histograms of the scores of true and false statements in each model.",
        ),
    ]
    if any(row.condition != "none" for row in result.interventions):
        panels.append(
            Panel(
                figure=intervention_bars(result),
                alt="Effect of adding each direction on the judgement of each model, "
                "beside random and shuffled-label vectors of equal length.",
                rows=result.interventions_dataframe(),
            )
        )
    return tuple(panels)


def _measures(rows: pd.DataFrame) -> list[str]:
    return [name for name in rows if str(name).startswith(("auroc", "accuracy"))]


def _example_tables(result: TruthfulnessComparison) -> tuple[Hidden, ...]:
    """The statements that each model's direction gets most wrong."""
    scores, labels = result.scores[0, 0], result.labels
    # The threshold is not kept: the middle between the class means stands for it.
    middle = (scores[labels].mean() + scores[~labels].mean()) / 2
    wrong = np.argsort((scores - middle) * np.where(labels, 1, -1), kind="stable")
    columns = ["statement", "label", "base_score", "post_score"]
    rows = result.examples_dataframe()[columns].iloc[wrong[:N_WRONG].tolist()]
    title = "Statements that the base model's direction gets most wrong"
    return (Hidden(title=title, rows=rows),)


def _refusal_panels(result: RefusalComparison) -> tuple[Panel, ...]:
    panels: list[Panel] = []
    if result.conditions:
        said = "; ".join(
            f"{row.model}, {row.instructions}, {condition_label(row)}: {row.rate:.0%}"
            for row in result.conditions
        )
        panels.append(
            Panel(
                figure=refusal_rates(result),
                alt=f"Refusal rates. {said}.",
                rows=result.to_dataframe(),
            )
        )
    if result.layers.size:
        rows = pd.DataFrame({"layer": result.layers, "cosine": result.cosine})
        panels.append(
            Panel(
                figure=cosine_curve(result),
                alt="Cosine of the two models' refusal directions by layer, at "
                f"{result.cosine_position}.",
                rows=rows,
            )
        )
    return tuple(panels)


def _answer_tables(result: RefusalComparison) -> tuple[Hidden, ...]:
    tables: list[Hidden] = []
    classes: tuple[tuple[Instructions, str], ...] = (
        ("harmful", "Harmful instructions and what the {} model answered"),
        ("harmless", "Harmless instructions and what the {} model answered"),
    )
    for name, heading in classes:
        for role in ROLES:
            rows = _side_by_side(result, name, role)
            if len(rows):
                tables.append(Hidden(title=heading.format(role), rows=rows))
    if result.candidates:
        tables.append(
            Hidden(
                title="Candidate directions and why each was kept or dropped",
                rows=result.candidates_dataframe(),
            )
        )
    return tuple(tables)


def _side_by_side(
    result: RefusalComparison, instructions: Instructions, role: str
) -> pd.DataFrame:
    """One row per instruction, one column per thing that was done to the model."""
    answers: dict[str, dict[str, str]] = {}
    for row in result.completions:
        if row.instructions != instructions or row.model != role:
            continue
        done = "unchanged"
        if row.intervention != "none":
            done = f"{row.direction} direction: {row.intervention}"
        answers.setdefault(row.prompt, {})[done] = row.completion
    table = pd.DataFrame.from_dict(answers, orient="index")
    return table.rename_axis("instruction").reset_index() if len(table) else table


def _probe_tables(result: ProbeSweep) -> tuple[Hidden, ...]:
    tables = [Hidden(title="Every probe", rows=result.to_dataframe())]
    if result.baselines:
        rows = result.baselines_dataframe()
        tables.append(Hidden(title="What needs no activations", rows=rows))
    return tuple(tables)
