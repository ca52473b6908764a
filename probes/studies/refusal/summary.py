"""What a refusal result says; knows neither torch nor models."""

import pandas as pd

from interp.results import RefusalComparison
from probes.studies.values import Value, interval, number


def numbers(result: RefusalComparison) -> dict[str, Value]:
    """The numbers that a caller wants first."""
    chosen = result.directions[1]
    return {
        "headline": result.headline(),
        "layer": chosen.layer,
        "position": chosen.position,
        "token": chosen.token,
        "reason": chosen.reason,
        "refusal_tokens": list(chosen.refusal_tokens),
        "cosine": number(result.cosine_chosen),
        "rates": [
            {
                "model": row.model,
                "instructions": row.instructions,
                "intervention": row.intervention,
                "direction": row.direction,
                "n": row.n,
                "refused": interval(row.rate, row.low, row.high),
                "refused_prefix": row.refused_prefix,
                "looping": row.looping,
            }
            for row in result.conditions
        ],
        "notes": list(result.notes),
    }


def sentences(result: RefusalComparison) -> tuple[str, ...]:
    """What was found beside the headline."""
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


def rate_table(result: RefusalComparison) -> pd.DataFrame:
    """How many answers refuse, by condition."""
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
