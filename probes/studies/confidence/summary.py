"""What a confidence result says; knows neither torch nor models."""

import numpy as np
import pandas as pd

from interp.results.confidence import ConfidenceComparison, ConfidenceRow
from interp.results.truthfulness import ROLES, Role
from probes.studies.values import Value, interval, number


def numbers(result: ConfidenceComparison) -> dict[str, Value]:
    """The numbers that a caller wants first."""
    return {
        "headline": result.headline(),
        "predictions": int(result.groups.size),
        "texts": result.n_texts,
        "entropy_gap": interval(result.gap, result.gap_low, result.gap_high),
        "candidates": {
            role: list(result.candidates[i]) for i, role in enumerate(ROLES)
        },
        "through_norm": {role: list(result.through_norm(role)) for role in ROLES},
        "overlap": [
            {
                "neurons": int(size),
                "iou": number(result.overlap[k]),
                "expected": number(result.overlap_expected[k]),
                "p": float(result.overlap_p[k]),
            }
            for k, size in enumerate(result.sizes)
        ],
        "effects": [
            {
                "model": row.model,
                "neuron": row.neuron,
                "chosen": row.chosen,
                "null_fraction": number(row.null_fraction),
                "loss_total": number(row.loss_total),
                "mediated": interval(row.mediated, row.mediated_low, row.mediated_high),
                "entropy_change": interval(
                    row.entropy_change, row.entropy_change_low, row.entropy_change_high
                ),
                "argmax_changed": number(row.argmax_changed),
                "frequency_mediated": number(row.frequency_mediated),
            }
            for row in result.effects
        ],
        "mlp_moved": number(result.mlp_moved),
        "gain_moved": number(result.gain_moved),
        "confidence": [_row(row) for row in result.confidence],
        "notes": list(result.notes),
    }


def sentences(result: ConfidenceComparison) -> tuple[str, ...]:
    """What was found beside the headline."""
    if not result.norm.size:
        return ("The last MLP's neurons were left out; the notes say why.",)
    said = [_neurons_in_words(result, role) for role in ROLES]
    size = int(np.argmin(np.abs(result.sizes - len(result.candidates[0]))))
    said.append(
        f"The two models' {result.sizes[size]} best candidates overlap by "
        f"{result.overlap[size]:.2f}, beside {result.overlap_expected[size]:.2f} by "
        f"chance (p = {result.overlap_p[size]:.2g})."
    )
    if result.mlp_moved == 0 and result.gain_moved == 0:
        said.append(
            "Post-training left the last MLP and the final norm exactly as they were, "
            "so whatever changed the models' confidence lies before them, and swapping "
            "them changes nothing."
        )
    else:
        said += [_swap_in_words(result, role) for role in ROLES]
    return tuple(said)


def brief_table(result: ConfidenceComparison) -> pd.DataFrame:
    """How sure each model is, as it is and with parts of the other."""
    return pd.DataFrame(
        [
            {
                "model": row.model,
                "with the other's": "nothing" if row.swapped == "none" else row.swapped,
                "entropy": f"{row.entropy:.3f} [{row.entropy_low:.3f}, "
                f"{row.entropy_high:.3f}]",
                "top-1": f"{row.top:.3f}",
                "accuracy": f"{row.accuracy:.3f}",
                "ECE": f"{row.ece:.3f}",
                "ECE without noise": "–"
                if np.isnan(row.ece_debiased)
                else f"{row.ece_debiased:.3f}",
                "Brier": f"{row.brier:.3f}",
                "share of the gap": "–" if np.isnan(row.share) else f"{row.share:.2f}",
            }
            for row in result.confidence
        ]
    )


def _neurons_in_words(result: ConfidenceComparison, role: Role) -> str:
    rows = result.effects_of(role, "entropy")
    acting = result.through_norm(role)
    if not rows:
        return f"The {role} model has no candidate entropy neuron."
    fraction = max(row.null_fraction for row in rows)
    change = max(rows, key=lambda row: abs(row.entropy_change))
    if not acting:
        return (
            f"None of the {role} model's {len(rows)} candidates is an entropy neuron: "
            "no effect on the loss passes mostly through the norm, and the largest "
            f"null-space fraction is {fraction:.2f}."
        )
    return (
        f"Of {len(rows)} candidates of the {role} model {len(acting)} act mostly "
        f"through the norm; null-space fractions reach {fraction:.2f}, and ablating "
        f"neuron {change.neuron} changes the entropy by {change.entropy_change:+.4f} "
        f"[{change.entropy_change_low:+.4f}, {change.entropy_change_high:+.4f}] nats."
    )


def _swap_in_words(result: ConfidenceComparison, role: Role) -> str:
    def moved(rows: tuple[ConfidenceRow, ...]) -> str:
        changes = [row.entropy_change for row in rows]
        text = f"{np.mean(changes):+.4f} nats"
        if result.has_gap:
            text += f" ({np.mean([row.share for row in rows]):.2f} of the way)"
        return text

    other = ROLES[1 - ROLES.index(role)]
    said = f"In the {role} model the {other} model's candidates change the entropy by "
    said += f"{moved(result.row(role, 'entropy neurons'))}"
    if random := result.row(role, "random neurons"):
        said += f", random neurons by {moved(random)}"
    return f"{said}, its final gain by {moved(result.row(role, 'final gain'))}."


def _row(row: ConfidenceRow) -> dict[str, Value]:
    return {
        "model": row.model,
        "swapped": row.swapped,
        "draw": row.draw,
        "entropy": interval(row.entropy, row.entropy_low, row.entropy_high),
        "loss": interval(row.loss, row.loss_low, row.loss_high),
        "top": interval(row.top, row.top_low, row.top_high),
        "accuracy": interval(row.accuracy, row.accuracy_low, row.accuracy_high),
        "brier": interval(row.brier, row.brier_low, row.brier_high),
        "ece": interval(row.ece, row.ece_low, row.ece_high),
        "share": interval(row.share, row.share_low, row.share_high),
    }
