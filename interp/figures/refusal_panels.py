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
from interp.figures.refusal_projections import refusal_projections
from interp.figures.refusal_scores import refusal_scores, refusal_transfer
from interp.figures.report import Hidden, Panel, panel
from interp.figures.truthfulness import cosine_curve
from interp.results.refusal import Instructions, RefusalComparison
from interp.results.truthfulness import ROLES


def refusal_panels(result: RefusalComparison) -> tuple[Panel, ...]:
    """The figures of a refusal result, with the numbers behind each.

    Args:
        result: The comparison.
    """
    return (
        *_rates(result),
        *_answers(result),
        *_candidates(result),
        *_effects(result),
        *_along(result),
        *_cosines(result),
    )


def _rates(result: RefusalComparison) -> tuple[Panel, ...]:
    if not result.conditions:
        return ()
    rows = result.to_dataframe()
    said = "; ".join(
        f"{row.model}, {row.instructions}, {condition_label(row)}: {row.rate:.0%}"
        for row in result.conditions
    )
    rates = panel(refusal_rates, result, alt=f"Refusal rates. {said}.", rows=rows)
    if not any(row.intervention in ("ablate", "add") for row in result.conditions):
        return (rates,)
    alt = "Two matrices of refusal rates: whose direction does what in which model."
    return (rates, panel(refusal_transfer, result, alt=alt, rows=rows))


def _answers(result: RefusalComparison) -> tuple[Panel, ...]:
    if not result.completions:
        return ()
    # Without the texts, which may be harmful.
    rows = result.completions_dataframe().drop(columns=["prompt", "completion"])
    alt = (
        "How the refusal scores of all answers are distributed under each condition, in"
        " both models."
    )
    return (panel(refusal_scores, result, alt=alt, rows=rows),)


def _candidates(result: RefusalComparison) -> tuple[Panel, ...]:
    if not result.candidates:
        return ()
    rows = result.candidates_dataframe()
    curves = (
        "Bypass, induce and KL of the candidates by layer, one curve per position, with"
        " what is excluded shaded. "
    )
    maps = "Scores of the candidate directions by position and layer. "
    return (
        panel(candidate_curves, result, alt=curves + result.selection, rows=rows),
        panel(refusal_candidates, result, alt=maps + result.selection, rows=rows),
    )


def _effects(result: RefusalComparison) -> tuple[Panel, ...]:
    panels: list[Panel] = []
    if result.doses:
        alt = (
            "Refusal score of the first token of the answer by the strength at which"
            " each direction is added, in both models."
        )
        rows = result.doses_dataframe()
        panels.append(panel(refusal_doses, result, alt=alt, rows=rows))
    if result.side_effects:
        alt = (
            f"Change of the loss and divergence on {result.side_effects[0].text} when"
            " each direction is ablated."
        )
        rows = result.side_effects_dataframe()
        panels.append(panel(refusal_side_effects, result, alt=alt, rows=rows))
    return tuple(panels)


def _along(result: RefusalComparison) -> tuple[Panel, ...]:
    if not any(row.direction == "post" for row in result.projections):
        return ()
    layer = result.directions[1].layer
    said = "; ".join(
        f"{row.model}, {row.instructions} {row.mean:.3g}"
        for row in result.projections
        if (row.direction, row.layer) == ("post", layer)
    )
    alt = (
        "Mean projection of harmful and harmless test prompts on the chosen direction"
        " by layer, in both models, with bands of the middle 80 % of prompts. At layer"
        f" {layer}: {said}."
    )
    rows = result.projections_dataframe()
    return (panel(refusal_projections, result, alt=alt, rows=rows),)


def _cosines(result: RefusalComparison) -> tuple[Panel, ...]:
    panels: list[Panel] = []
    if result.layers.size:
        rows = pd.DataFrame({"layer": result.layers, "cosine": result.cosine})
        alt = (
            "Cosine of the two models' refusal directions by layer, at"
            f" {result.cosine_position}."
        )
        panels.append(panel(cosine_curve, result, alt=alt, rows=rows))
    if result.cosines:
        alt = (
            "Maps of the cosine of the two models' refusal directions by position and"
            " layer, in each model's own template and in a common one."
        )
        rows = result.cosines_dataframe()
        panels.append(panel(cosine_positions, result, alt=alt, rows=rows))
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
