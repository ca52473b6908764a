"""What a knowledge result says; knows neither torch nor models."""

import numpy as np
import pandas as pd

from interp.results import KnowledgeComparison
from interp.results.knowledge import COMPARED, SLACK, Staircase
from interp.results.truthfulness import ROLES
from probes.studies.values import Value, interval, number


def numbers(result: KnowledgeComparison) -> dict[str, Value]:
    """The numbers that a caller wants first."""
    return {
        "headline": result.headline(),
        "pairs": len(result.true),
        "statements": result.statements,
        "dropped": [
            {"source": one.source, "rule": one.rule, "statements": one.statements}
            for one in result.dropped
        ],
        "read": result.read,
        "staircase": [
            {
                "model": row.model,
                "unit": row.unit,
                "step": row.step,
                "layer": interval(row.layer, row.low, row.high),
            }
            for row in result.staircase
        ],
        "likeness": _likeness(result),
        "equivalence": _equivalence(result),
        "inside": [
            {
                "run": row.run,
                "unit": row.unit,
                "cells": row.cells,
                "slack": number(row.slack),
                "share": interval(row.share, row.low, row.high),
            }
            for row in result.shares
        ],
        "screening": [
            {
                "model": row.model,
                "unit": row.unit,
                "pearson": number(row.pearson),
                "spearman": number(row.spearman),
            }
            for row in result.screening
        ],
        "notes": list(result.notes),
    }


def _likeness(result: KnowledgeComparison) -> list[Value]:
    return [
        {
            "compared": one.compared,
            "unit": one.unit,
            "scale": one.scale,
            "measure": row.measure,
            "against": row.against,
            "value": interval(row.value, row.low, row.high),
            "p": number(row.p),
        }
        for one in result.likeness
        for row in one.rows
    ]


def _equivalence(result: KnowledgeComparison) -> list[Value]:
    return [
        {
            "compared": one.compared,
            "unit": one.unit,
            "cells": row.cells,
            "delta": number(row.delta),
            "within": number(row.within),
            "p": number(row.p),
            "shown": row.shown,
        }
        for one in result.likeness
        for row in one.equivalence
    ]


def sentences(result: KnowledgeComparison) -> tuple[str, ...]:
    """What was found beside the headline."""
    unit = result.units[0]
    said: list[str] = []
    for role in ROLES:
        steps = {
            row.step: row
            for row in result.staircase
            if row.model == role and row.unit == unit
        }
        if steps:
            where = ", ".join(f"{step} {_layer(row)}" for step, row in steps.items())
            said.append(f"In {role} the effect sits at layer: {where}.")
    own_maps = result.likeness_of(unit=unit)
    if own_maps is not None:
        any_gap = own_maps.find("largest difference")
        chance = own_maps.find("largest difference", "models exchanged")
        said.append(
            f"The largest difference of a cell is {any_gap.value:.2f}; if it did not "
            f"matter which model is which, it would be {chance.value:.2f} "
            f"[{chance.low:.2f}, {chance.high:.2f}] (p = {chance.p:.3f})."
        )
    shares = {
        row.run: row
        for row in result.shares
        if row.unit == unit and row.cells == "knowledge" and row.slack == SLACK
    }
    for compared, (run, target) in COMPARED.items():
        found = result.likeness_of(compared, unit=unit)
        if found is None or run in ROLES or run not in shares:
            continue
        own, crossed = shares[target], shares[run]
        said.append(
            f"{run.capitalize()}: the map correlates with {target}'s own at "
            f"{found.find('pearson').value:.2f}, and LD stays between false and true "
            f"in {crossed.share:.0%} [{crossed.low:.0%}, {crossed.high:.0%}] of pairs "
            f"at subject and object, beside {own.share:.0%} with {target}'s own values."
        )
    return tuple(said)


def step_table(result: KnowledgeComparison) -> pd.DataFrame:
    """Where along the layers each kind of token matters."""
    return pd.DataFrame(
        [
            {
                "model": row.model,
                "unit": row.unit,
                "step": row.step,
                "mean layer of the effect": _layer(row),
            }
            for row in result.staircase
        ]
    )


def _layer(row: Staircase) -> str:
    if np.isnan(row.layer):
        return "nowhere"
    return f"{row.layer:.2f} [{row.low:.2f}, {row.high:.2f}]"
