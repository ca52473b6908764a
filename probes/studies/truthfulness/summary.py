"""What a truthfulness result says; knows neither torch nor models."""

import numpy as np
import pandas as pd

from interp.results import (
    DatasetTransfer,
    ProbeScore,
    TruthEffect,
    TruthfulnessComparison,
)
from interp.results.transfer import ALL_OTHERS
from interp.results.truthfulness import ROLES, Control, Role
from probes.studies.values import Value, interval, number


NAMES: dict[Role, str] = {"base": "base model", "post": "post-trained model"}
CONTROLS: dict[Control, str] = {
    "random": "random vector",
    "covariance": "random, covariance",
    "shuffled": "shuffled labels",
}


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
        "best_probes": {role: _best_probe(result, role) for role in ROLES},
        "left_out": {role: _left_out(result, role) for role in ROLES},
        "interventions": [
            {
                "direction": row.direction,
                "target": row.target,
                "condition": row.condition,
                "orthogonal": row.orthogonal,
                "draw": row.draw,
                "position": row.position,
                "layers": row.layers,
                "coefficient": number(row.coefficient),
                "norm_share": number(row.norm_share),
                "cosine": number(row.cosine),
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
    found = [
        f"{best.probe} at layer {best.layer} of the {NAMES[role]} (AUROC "
        f"{best.auroc:.2f} [{best.auroc_low:.2f}, {best.auroc_high:.2f}])"
        for role in ROLES
        if (best := _best(result, role)) is not None
    ]
    if found:
        said.append(f"Chosen on validation, the best probes are {' and '.join(found)}.")
    said += _beside_random(result)
    said += _between_datasets(result)
    said += _added(result)
    return tuple(said)


def _beside_random(result: TruthfulnessComparison) -> list[str]:
    """Of which models the best probe does no better than random directions."""
    beside: list[str] = []
    for role in ROLES:
        best = _best(result, role)
        if best is None or not best.auroc_low > 0.5:
            continue
        drawn = np.array([best.random_auroc, best.covariance_auroc])
        reached = float(np.nanmax(drawn, initial=0.5))
        if reached >= best.auroc:
            beside.append(f"{reached:.3f} at layer {best.layer} of the {NAMES[role]}")
    if not beside:
        return []
    return [
        f"Of random directions one in twenty reaches {' and '.join(beside)}, as much "
        "as the probe: what statements differ in most there goes with truth, and no "
        "one direction stands out."
    ]


def _between_datasets(result: TruthfulnessComparison) -> list[str]:
    rows = [row for row in _left_out_rows(result, "base") if np.isfinite(row.auroc)]
    if not rows:
        return []
    worst = min(rows, key=lambda row: row.auroc)
    best = max(row.auroc for row in rows)
    return [
        f"Trained on all data sets but one, the base model's {worst.probe} probe "
        f"reaches AUROC {worst.auroc:.2f} ({worst.test}) to {best:.2f} on the one "
        "left out."
    ]


def _added(result: TruthfulnessComparison) -> list[str]:
    """What adding the directions did, in the post-trained model or else in base."""
    direct = {
        (row.direction, row.target): row
        for row in result.interventions
        if row.condition == "direction"
    }
    carried = direct.get(("base", "post")) or direct.get(("post", "base"))
    if carried is None:
        return ["Adding the direction could not be tested; the report says why."]
    own = direct.get((carried.target, carried.target))
    beside = f", beside {own.nie_gap:.2f} for its own" if own else ""
    said = (
        f"Added in the {NAMES[carried.target]}, the other model's direction moves "
        f"{_bounded(carried)} of the way from true to false{beside}"
    )
    control = result.strongest_control(carried.target)
    if control is None:
        return [f"{said}."]
    verdict = "beyond" if carried.nie_gap_low > control.nie_gap_high else "not beyond"
    kind = CONTROLS[control.condition] + ", truth removed" * control.orthogonal
    return [
        f"{said}; {verdict} the strongest control of that length ({kind}: "
        f"{_bounded(control)})."
    ]


def _bounded(row: TruthEffect) -> str:
    return f"{row.nie_gap:.2f} [{row.nie_gap_low:.2f}, {row.nie_gap_high:.2f}]"


def _best(result: TruthfulnessComparison, role: Role) -> ProbeScore | None:
    """The probe and layer of a model that do best on validation statements."""
    own = [row for row in result.probes if row.model == role]
    return max(own, key=lambda row: row.validation_auroc, default=None)


def _best_probe(result: TruthfulnessComparison, role: Role) -> dict[str, Value]:
    best = _best(result, role)
    if best is None:
        return {}
    return {
        "probe": best.probe,
        "layer": best.layer,
        "auroc": interval(best.auroc, best.auroc_low, best.auroc_high),
        "accuracy": interval(best.accuracy, best.accuracy_low, best.accuracy_high),
    }


def _left_out_rows(result: TruthfulnessComparison, role: Role) -> list[DatasetTransfer]:
    """Probes of a model trained on all data sets but the one they are judged on."""
    layer = result.best_layers[ROLES.index(role)]
    return [
        row
        for row in result.dataset_transfer
        if (row.model, row.layer, row.train) == (role, layer, ALL_OTHERS)
    ]


def _left_out(result: TruthfulnessComparison, role: Role) -> dict[str, Value]:
    return {
        row.test: interval(row.auroc, row.auroc_low, row.auroc_high)
        for row in _left_out_rows(result, role)
    }


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
