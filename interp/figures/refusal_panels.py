"""What a report shows of a refusal result."""

import pandas as pd

from interp.figures.refusal import condition_label, refusal_rates
from interp.figures.refusal_candidates import (
    refusal_candidates,
    refusal_doses,
    refusal_side_effects,
)
from interp.figures.refusal_cosines import cosine_positions
from interp.figures.refusal_curves import candidate_curves
from interp.figures.refusal_scores import refusal_scores, refusal_transfer
from interp.figures.report import Hidden, Panel
from interp.figures.truthfulness import cosine_curve
from interp.results.refusal import Instructions, RefusalComparison
from interp.results.truthfulness import ROLES


def refusal_panels(result: RefusalComparison) -> tuple[Panel, ...]:
    """The figures of a refusal result, with the numbers behind each.

    Args:
        result: The comparison.
    """
    panels: list[Panel] = []
    if result.conditions:
        said = "; ".join(
            f"{row.model}, {row.instructions}, {condition_label(row)}: {row.rate:.0%}"
            for row in result.conditions
        )
        panels.append(
            Panel(
                name="refusal_rates",
                figure=refusal_rates(result),
                alt=f"Refusal rates. {said}.",
                rows=result.to_dataframe(),
            )
        )
        if any(row.intervention in ("ablate", "add") for row in result.conditions):
            panels.append(
                Panel(
                    name="refusal_transfer",
                    figure=refusal_transfer(result),
                    alt="Two matrices of refusal rates: whose direction does what in "
                    "which model.",
                    rows=result.to_dataframe(),
                )
            )
    if result.completions:
        panels.append(
            Panel(
                name="refusal_scores",
                figure=refusal_scores(result),
                alt="How the refusal scores of all answers are distributed under each "
                "condition, in both models.",
                rows=_scores(result),
            )
        )
    if result.candidates:
        panels.append(
            Panel(
                name="candidate_curves",
                figure=candidate_curves(result),
                alt="Bypass, induce and KL of the candidates by layer, one curve per "
                "position, with what is excluded shaded. " + result.selection,
                rows=result.candidates_dataframe(),
            )
        )
        panels.append(
            Panel(
                name="refusal_candidates",
                figure=refusal_candidates(result),
                alt="Scores of the candidate directions by position and layer. "
                + result.selection,
                rows=result.candidates_dataframe(),
            )
        )
    if result.doses:
        panels.append(
            Panel(
                name="refusal_doses",
                figure=refusal_doses(result),
                alt="Refusal score of the first token of the answer by the strength at "
                "which each direction is added, in both models.",
                rows=result.doses_dataframe(),
            )
        )
    if result.side_effects:
        panels.append(
            Panel(
                name="refusal_side_effects",
                figure=refusal_side_effects(result),
                alt="Change of the loss and divergence on "
                f"{result.side_effects[0].text} when each direction is ablated.",
                rows=result.side_effects_dataframe(),
            )
        )
    if result.layers.size:
        rows = pd.DataFrame({"layer": result.layers, "cosine": result.cosine})
        panels.append(
            Panel(
                name="cosine_curve",
                figure=cosine_curve(result),
                alt="Cosine of the two models' refusal directions by layer, at "
                f"{result.cosine_position}.",
                rows=rows,
            )
        )
    if result.cosines:
        panels.append(
            Panel(
                name="cosine_positions",
                figure=cosine_positions(result),
                alt="Maps of the cosine of the two models' refusal directions by "
                "position and layer, in each model's own template and in a common one.",
                rows=result.cosines_dataframe(),
            )
        )
    return tuple(panels)


def refusal_tables(result: RefusalComparison) -> tuple[Hidden, ...]:
    """Answers and candidates, which stay closed.

    Args:
        result: The comparison.
    """
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
        rows = result.candidates_dataframe().sort_values(
            ["rank", "position", "layer"], na_position="last"
        )
        tables.append(
            Hidden(
                title="Candidate directions and why each was kept or dropped",
                rows=rows,
            )
        )
    if result.punctuation:
        tables.append(
            Hidden(
                title="How much each direction is that of a mark at the end",
                rows=result.punctuation_dataframe(),
            )
        )
    return tuple(tables)


def _scores(result: RefusalComparison) -> pd.DataFrame:
    """One row per answer, without the texts, which may be harmful."""
    rows = result.completions_dataframe()
    return rows.drop(columns=["prompt", "completion"])


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
