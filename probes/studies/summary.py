"""What a result says, as numbers for machines and as sentences for people.

Knows neither torch nor models.
"""

import math
from typing import SupportsFloat, assert_never

import pandas as pd

from interp.results import (
    ProbeSweep,
    RefusalComparison,
    Result,
    TruthfulnessComparison,
)
from interp.results.truthfulness import ROLES


Value = float | int | str | None | list["Value"] | dict[str, "Value"]


def numbers(result: Result) -> dict[str, Value]:
    """The numbers of a result that a caller wants first, ready for JSON.

    An interval is a list `[estimate, low, high]`; what is not defined is None.
    """
    match result:
        case TruthfulnessComparison():
            return _truthfulness_numbers(result)
        case RefusalComparison():
            return _refusal_numbers(result)
        case ProbeSweep():
            return _sweep_numbers(result)
        case _:
            assert_never(result)


def sentences(result: Result) -> tuple[str, ...]:
    """What was found and what limits it, in sentences."""
    match result:
        case TruthfulnessComparison():
            return (result.headline(), *_truthfulness_sentences(result))
        case RefusalComparison():
            return (result.headline(), *_refusal_sentences(result))
        case ProbeSweep():
            return (result.headline(),)
        case _:
            assert_never(result)


def brief_table(result: Result) -> pd.DataFrame:
    """The table that a person wants first, a few columns of text."""
    match result:
        case TruthfulnessComparison():
            return _layer_table(result)
        case RefusalComparison():
            return _rate_table(result)
        case ProbeSweep():
            return _probe_table(result)
        case _:
            assert_never(result)


def _layer_table(result: TruthfulnessComparison) -> pd.DataFrame:
    def own(i: int, layer: int) -> str:
        low, high = result.auroc_low[i, i, layer], result.auroc_high[i, i, layer]
        return f"{result.auroc[i, i, layer]:.2f} [{low:.2f}, {high:.2f}]"

    return pd.DataFrame(
        [
            {
                "layer": int(result.layers[k]),
                "AUROC base": own(0, k),
                "AUROC post": own(1, k),
                "base in post": f"{result.auroc[0, 1, k]:.2f}",
                "cosine": f"{result.cosine[k]:.2f}",
                "of shuffled": f"{result.cosine_null_low[k]:.2f} to "
                f"{result.cosine_null_high[k]:.2f}",
            }
            for k in range(result.layers.size)
        ]
    )


def _rate_table(result: RefusalComparison) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "model": row.model,
                "asked": row.instructions,
                "done": "nothing"
                if row.intervention == "none"
                else f"{row.intervention} {row.direction}",
                "refused": f"{row.rate:.0%} [{row.low:.0%}, {row.high:.0%}]",
                "looping": row.looping,
                "n": row.n,
            }
            for row in result.conditions
        ]
    )


def _truthfulness_numbers(result: TruthfulnessComparison) -> dict[str, Value]:
    transfer: dict[str, Value] = {}
    for i, source in enumerate(ROLES):
        layer = result.best_index(source)
        for j, target in enumerate(ROLES):
            transfer[f"{source}_direction_in_{target}"] = _interval(
                result.auroc[i, j, layer],
                result.auroc_low[i, j, layer],
                result.auroc_high[i, j, layer],
            )
    index = result.best_index("base")
    return {
        "headline": result.headline(),
        "layers": list(result.best_layers),
        "auroc": transfer,
        "surface_auroc": _interval(
            result.surface_auroc, result.surface_auroc_low, result.surface_auroc_high
        ),
        "permutation_p": [_number(p) for p in result.permutation_p],
        "cosine": _number(result.cosine[index]),
        "cosine_null": [
            _number(result.cosine_null_low[index]),
            _number(result.cosine_null_high[index]),
        ],
        "interventions": [
            {
                "direction": row.direction,
                "target": row.target,
                "condition": row.condition,
                "draw": row.draw,
                "position": row.position,
                "layers": row.layers,
                "p_difference_true": _number(row.p_difference_true),
                "p_difference_false": _number(row.p_difference_false),
                "nie_gap": _interval(row.nie_gap, row.nie_gap_low, row.nie_gap_high),
                "nie_saturation": _interval(
                    row.nie_saturation, row.nie_saturation_low, row.nie_saturation_high
                ),
            }
            for row in result.interventions
        ],
        "test_statements": len(result.statements),
        "notes": list(result.notes),
    }


def _refusal_numbers(result: RefusalComparison) -> dict[str, Value]:
    chosen = result.directions[1]
    return {
        "headline": result.headline(),
        "layer": chosen.layer,
        "position": chosen.position,
        "token": chosen.token,
        "reason": chosen.reason,
        "refusal_tokens": list(chosen.refusal_tokens),
        "cosine": _number(result.cosine_chosen),
        "rates": [
            {
                "model": row.model,
                "instructions": row.instructions,
                "intervention": row.intervention,
                "direction": row.direction,
                "n": row.n,
                "refused": _interval(row.rate, row.low, row.high),
                "refused_prefix": row.refused_prefix,
                "looping": row.looping,
            }
            for row in result.conditions
        ],
        "notes": list(result.notes),
    }


def _truthfulness_sentences(result: TruthfulnessComparison) -> tuple[str, ...]:
    said = [f"The words alone give AUROC {result.surface_auroc:.2f} on the same split."]
    direct = {
        (row.direction, row.target): row
        for row in result.interventions
        if row.condition == "direction"
    }
    random = [r.nie_gap for r in result.interventions if r.condition == "random"]
    if carried := direct.get(("base", "post")):
        own = direct.get(("post", "post"))
        beside = f", beside {own.nie_gap:.2f} for its own" if own else ""
        controls = (
            f"; random vectors of that length {sum(random) / len(random):.2f}"
            if random
            else ""
        )
        said.append(
            f"Added in the post-trained model, the base model's direction moves "
            f"{carried.nie_gap:.2f} [{carried.nie_gap_low:.2f}, "
            f"{carried.nie_gap_high:.2f}] of the way from true to false{beside}"
            f"{controls}."
        )
    elif not any(row.condition == "direction" for row in result.interventions):
        said.append("Adding the direction could not be tested; the report says why.")
    return tuple(said)


def _refusal_sentences(result: RefusalComparison) -> tuple[str, ...]:
    if result.directions[1].layer is None:
        return ()
    said: list[str] = []
    if carried := result.effects_in_words("base"):
        said.append(
            f"The base model's direction (cosine {result.cosine_chosen:.2f}) in its "
            f"place: {carried}."
        )
    if random := result.effects_in_words("random"):
        said.append(f"A random vector of the same length: {random}.")
    return tuple(said)


def _interval(
    estimate: SupportsFloat, low: SupportsFloat, high: SupportsFloat
) -> list[Value]:
    return [_number(estimate), _number(low), _number(high)]


def _number(value: SupportsFloat) -> float | None:
    number = float(value)
    return round(number, 6) if math.isfinite(number) else None


def _probe_table(result: ProbeSweep) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "site": site,
                "position": result.positions[k],
                "AUROC": f"{result.auroc[k]:.2f} [{result.auroc_lo[k]:.2f}, "
                f"{result.auroc_hi[k]:.2f}]",
                "accuracy": float(result.accuracy[k]),
                "corrected p": float(result.permutation_p_corrected[k]),
            }
            for k, site in enumerate(result.sites)
        ]
    )


def _sweep_numbers(result: ProbeSweep) -> dict[str, Value]:
    best = result.best
    return {
        "best_site": result.best_site,
        "auroc": _interval(
            float(result.auroc[best]),
            float(result.auroc_lo[best]),
            float(result.auroc_hi[best]),
        ),
        "nested_auroc": _interval(
            result.nested_auroc, result.nested_auroc_lo, result.nested_auroc_hi
        ),
        "permutation_p_corrected": _number(float(result.permutation_p_corrected[best])),
        "baselines": {row.name: _number(row.auroc) for row in result.baselines},
    }
