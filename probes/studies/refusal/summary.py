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
        "rule": result.rule,
        "selection": result.selection,
        "share_of_resamples": number(_share(result)),
        "share_without_direction": number(result.none_share),
        "chosen_scores": {
            row.name: interval(row.estimate, row.low, row.high)
            for row in result.chosen_scores
        },
        "rates": _rates(result),
        "doses": _doses(result),
        "side_effects": _effects(result),
        "notes": list(result.notes),
    }


def _rates(result: RefusalComparison) -> list[Value]:
    """How many answers refuse, of every condition."""
    return [
        {
            "model": row.model,
            "instructions": row.instructions,
            "intervention": row.intervention,
            "direction": row.direction,
            "n": row.n,
            "refused": interval(row.rate, row.low, row.high),
            "refused_prefix": row.refused_prefix,
            "refused_metric": row.refused_metric,
            "looping": row.looping,
        }
        for row in result.conditions
    ]


def _doses(result: RefusalComparison) -> list[Value]:
    """What each coefficient does, of the first vector of a kind."""
    return [
        {
            "model": row.model,
            "instructions": row.instructions,
            "direction": row.direction,
            "coefficient": row.coefficient,
            "score": interval(row.score, row.score_low, row.score_high),
            "refused": interval(row.rate, row.low, row.high),
        }
        for row in result.doses
        if row.draw == 0
    ]


def _effects(result: RefusalComparison) -> list[Value]:
    """What ablating each direction does beside refusal."""
    return [
        {
            "direction": row.direction,
            "loss_change": interval(
                row.loss_change, row.loss_change_low, row.loss_change_high
            ),
            "divergence": interval(
                row.divergence, row.divergence_low, row.divergence_high
            ),
            "false_refusals": interval(
                row.false_refusals, row.false_refusals_low, row.false_refusals_high
            ),
            "looping": number(row.looping),
        }
        for row in result.side_effects
    ]


def sentences(result: RefusalComparison) -> tuple[str, ...]:
    """What was found beside the headline."""
    said: list[str] = []
    if row := result.condition("post", "harmless"):
        said.append(
            f"False refusals of the unchanged model: {row.refused} of {row.n} harmless "
            f"instructions [{row.low:.0%}, {row.high:.0%}]."
        )
    if result.directions[1].layer is None:
        return tuple(said)
    if carried := result.effects_in_words("base"):
        said.append(
            f"The base model's direction (cosine {result.cosine_chosen:.2f}) in its "
            f"place: {carried}."
        )
    if random := result.effects_in_words("random"):
        said.append(f"A random vector of the same length: {random}.")
    if backward := _backward(result):
        said.append(backward)
    said += _how_surely(result)
    said += _side_effects(result)
    return tuple(said)


def _backward(result: RefusalComparison) -> str:
    """What the post-trained model's direction does in the base model."""
    plain = result.condition("base", "harmless")
    added = result.condition("base", "harmless", intervention="add", direction="post")
    if plain is None or added is None:
        return ""
    doses = [
        row
        for row in result.doses
        if (row.model, row.instructions, row.direction) == ("base", "harmless", "post")
        and row.rate > 0.5
    ]
    first = min((row.coefficient for row in doses), default=None)
    later = (
        f"; its first token turns to refusal in most answers from coefficient {first:g}"
        if first is not None
        else ""
    )
    return (
        f"Added in the base model, the post-trained model's direction makes it refuse "
        f"{added.rate:.0%} [{added.low:.0%}, {added.high:.0%}] of harmless ones "
        f"(before: {plain.rate:.0%}){later}."
    )


def _how_surely(result: RefusalComparison) -> list[str]:
    if not result.resamples:
        return []
    none = (
        f", and {result.none_share:.0%} have no usable direction"
        if result.none_share > 0
        else ""
    )
    return [
        f"{_share(result):.0%} of {result.resamples} resamples of the validation "
        f"prompts choose the same direction{none}."
    ]


def _side_effects(result: RefusalComparison) -> list[str]:
    return [
        f"Ablating it changes the loss on {row.text} by {row.loss_change:+.2f} nats a "
        f"token [{row.loss_change_low:+.2f}, {row.loss_change_high:+.2f}], and "
        f"{row.false_refusals:.0%} of harmless instructions are then refused."
        for row in result.side_effects
        if row.direction == "post"
    ]


def _share(result: RefusalComparison) -> float:
    chosen = [one.share for one in result.candidates if one.fate == "chosen"]
    return chosen[0] if chosen else float("nan")


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
                "prefix": f"{row.share('prefix').rate:.0%}",
                "metric": ""
                if row.refused_metric is None
                else f"{row.share('metric').rate:.0%}",
                "looping": row.looping,
                "n": row.n,
            }
            for row in result.conditions
        ]
    )
