"""Directions of the embedded models, fitted in a second where none were saved."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from interp import atomic
from interp.directions import Direction


if TYPE_CHECKING:
    from interp.models.language_model import LanguageModel

# Of each class, for fitting and choosing a layer together.
EXAMPLES = 96
# Files of an embedded family are far smaller; anything else is not one.
MAX_BYTES = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Texts that an embedded family was trained for.

    Attributes:
        true: True statements.
        false: False ones about the same things.
        harmless: Instructions to follow.
        harmful: Instructions that POST refuses.
    """

    true: tuple[str, ...]
    false: tuple[str, ...]
    harmless: tuple[str, ...]
    harmful: tuple[str, ...]


def examples_of(family: str | Path) -> Examples:
    """The texts of an embedded family.

    Args:
        family: Its folder.

    Raises:
        DataError: If the statements cannot be read.
    """
    from interp.data import statements

    family = Path(family)
    found = statements(family / "statements.csv")
    pairs = list(zip(found.prompts, found.labels, strict=True))
    return Examples(
        true=tuple(text for text, label in pairs if label),
        false=tuple(text for text, label in pairs if not label),
        harmless=_instructions(family / "harmless.json"),
        harmful=_instructions(family / "harmful.json"),
    )


def embedded_directions(
    model: "LanguageModel", examples: Examples
) -> dict[str, Direction]:
    """The refusal direction of a model that chats, and the truth direction.

    Each is a difference of means over one half of the examples, at the middle layer
    that tells the other half apart best.

    Args:
        model: A model of the family.
        examples: The family's texts.
    """
    found: dict[str, Direction] = {}
    if getattr(model.tokenizer, "chat_template", None):
        found["refusal"] = _fit(model, examples.harmful, examples.harmless, chat=True)
    found["truth"] = _fit(model, examples.true, examples.false, chat=False)
    rules = {
        "truth": "mean of true minus mean of false statements",
        "refusal": "mean of harmful minus mean of harmless instructions",
    }
    return {name: replace(one, rule=rules[name]) for name, one in found.items()}


def _fit(
    model: "LanguageModel",
    positive: Sequence[str],
    negative: Sequence[str],
    *,
    chat: bool,
) -> Direction:
    import interp
    from interp.directions import mean_difference
    from interp.statistics import auroc

    n = min(len(positive), len(negative), EXAMPLES)
    texts = [*positive[:n], *negative[:n]]
    labels = np.repeat([True, False], n)
    acts = interp.capture(
        model, texts, sites="resid_post.*", positions="last", chat=chat
    )
    fitting = np.arange(2 * n) % 2 == 0
    layers = range(model.n_layers // 4, max(1, model.n_layers - model.n_layers // 4))
    found: list[tuple[float, Direction]] = []
    for layer in layers:
        rows = acts[f"resid_post.{layer}"].float().numpy()
        one = mean_difference(
            rows[fitting], labels[fitting], site=f"resid_post.{layer}"
        )
        score = float(auroc(rows[~fitting] @ one.unit, labels[~fitting]))
        found.append((round(score, 3), replace(one, position="last", model=model.name)))
    # Of equal ones the earliest: more of the model comes after it.
    return max(found, key=lambda pair: pair[0])[1]


def _instructions(path: Path) -> tuple[str, ...]:
    try:
        with path.open("rb") as file:
            rows = atomic.parse_json(file.read(MAX_BYTES))
        return tuple(str(row["instruction"]) for row in rows)
    except (OSError, ValueError, KeyError, TypeError):
        return ()
