"""What a truthfulness result says; knows neither torch nor models."""

import pandas as pd

from interp.results import TruthfulnessComparison
from interp.results.truthfulness import ROLES
from probes.studies.values import Value, interval, number


def numbers(result: TruthfulnessComparison) -> dict[str, Value]:
    """The numbers that a caller wants first."""
    transfer: dict[str, Value] = {}
    for i, source in enumerate(ROLES):
        layer = result.best_index(source)
        for j, target in enumerate(ROLES):
            transfer[f"{source}_direction_in_{target}"] = interval(
                result.auroc[i, j, layer],
                result.auroc_low[i, j, layer],
                result.auroc_high[i, j, layer],
            )
    index = result.best_index("base")
    return {
        "headline": result.headline(),
        "layers": list(result.best_layers),
        "auroc": transfer,
        "surface_auroc": interval(
            result.surface_auroc, result.surface_auroc_low, result.surface_auroc_high
        ),
        "permutation_p": [number(p) for p in result.permutation_p],
        "cosine": number(result.cosine[index]),
        "cosine_null": [
            number(result.cosine_null_low[index]),
            number(result.cosine_null_high[index]),
        ],
        "interventions": [
            {
                "direction": row.direction,
                "target": row.target,
                "condition": row.condition,
                "draw": row.draw,
                "position": row.position,
                "layers": row.layers,
                "p_difference_true": number(row.p_difference_true),
                "p_difference_false": number(row.p_difference_false),
                "nie_gap": interval(row.nie_gap, row.nie_gap_low, row.nie_gap_high),
                "nie_saturation": interval(
                    row.nie_saturation, row.nie_saturation_low, row.nie_saturation_high
                ),
            }
            for row in result.interventions
        ],
        "test_statements": len(result.statements),
        "notes": list(result.notes),
    }


def sentences(result: TruthfulnessComparison) -> tuple[str, ...]:
    """What was found beside the headline."""
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


def layer_table(result: TruthfulnessComparison) -> pd.DataFrame:
    """How well each layer tells true from false, and how alike the directions are."""

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
