"""What an edit does beside what it is for: to ordinary text and harmless requests."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import pandas as pd

from interp.errors import DataError, closest
from interp.models.generation import BATCH_SIZE
from interp.models.language_model import LanguageModel
from interp.models.tokens import Prompts
from interp.progress import progress_bar
from interp.statistics import Interval, Proportion, mean_interval
from probes.studies.refusal.phrases import Mode, refusal_rates
from probes.studies.refusal.repetition import Repetition, repetition
from probes.studies.refusal.token_effects import Condition, token_effects


# Under this name stand the answers of the model as it is.
NO_EDIT = "none"
RESAMPLES = 1000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SideEffects:
    """What one edit does to a model on ordinary text and harmless requests.

    Losses and divergences are means over tokens, in nats; their intervals come from
    resampling whole texts.

    Attributes:
        condition: The name of the edit.
        n_texts: Texts with at least one predicted token.
        n_tokens: Predicted tokens: all but the first of each text.
        loss_clean: Cross-entropy without the edit; Hugging Face's own loss.
        loss: Cross-entropy with it.
        loss_change: The second minus the first, paired token by token.
        divergence: KL(P_clean || P_edited) per token.
        false_refusals: How many harmless requests are refused under the edit, or None.
        repetition: How much the answers to them repeat themselves, or None.
    """

    condition: str
    n_texts: int
    n_tokens: int
    loss_clean: Interval
    loss: Interval
    loss_change: Interval
    divergence: Interval
    false_refusals: Proportion | None = None
    repetition: Repetition | None = None


def side_effects(
    model: LanguageModel,
    texts: Prompts,
    edits: Mapping[str, Condition],
    *,
    answers: Mapping[str, Sequence[str]] | None = None,
    token_budget: int | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[SideEffects, ...]:
    """What each edit does to a model, in the order of the edits.

    Args:
        model: The model.
        texts: Ordinary texts, or rows of token ids.
        edits: By name: functions that open a block of edits, or models in place of the
            edited one; see `token_effects`.
        answers: By name of the edit the answers to harmless requests; see
            `harmless_answers`, or give stored ones.
        token_budget: The most tokens in a batch; chosen by default.
        resamples: Of the bootstrap over texts.
        seed: Feeds the bootstrap; the same texts are drawn for every edit.

    Raises:
        PromptError: If a text cannot be run.
        DataError: If no text has a second token, or answers are of an unknown edit.
        IncompatibleError: If another model has another vocabulary.

    Source:
        Arditi et al. (2024), arXiv:2406.11717, section 4.3 (CE loss, KL).

    Example:
        >>> import interp, torch
        >>> from tiny import tiny_model, tiny_tokenizer
        >>> model = interp.load(tiny_model("llama"), tokenizer=tiny_tokenizer())
        >>> up = torch.ones(32)
        >>> (found,) = side_effects(
        ...     model, ["the city", "is in"], {"up": lambda: interp.ablate(model, up)}
        ... )
        >>> found.n_tokens > 2, bool(found.divergence.estimate > 0)
        (True, True)
    """
    answers = {} if answers is None else answers
    for name in answers:
        if name not in (*edits, NO_EDIT):
            raise DataError(
                f"There are answers under {name!r}.",
                expected=f"Edits: {', '.join(edits)}.",
                remedy=closest(name, edits),
            )
    found = token_effects(model, texts, edits, token_budget=token_budget)
    rows: list[SideEffects] = []
    for name, one in found.items():
        table = np.stack(
            [one.loss_clean, one.loss, one.loss - one.loss_clean, one.divergence]
        )
        spread = mean_interval(table, groups=one.text, resamples=resamples, seed=seed)
        clean, loss, change, divergence = (_row(spread, i) for i in range(len(table)))
        given = answers.get(name)
        rows.append(
            SideEffects(
                condition=name,
                n_texts=len(np.unique(one.text)),
                n_tokens=one.text.size,
                loss_clean=clean,
                loss=loss,
                loss_change=change,
                divergence=divergence,
                false_refusals=None if given is None else false_refusals(given),
                repetition=None if given is None else repetition(given),
            )
        )
    return tuple(rows)


def harmless_answers(
    model: LanguageModel,
    prompts: Prompts,
    edits: Mapping[str, Condition],
    *,
    max_new_tokens: int = 64,
    chat: bool = False,
    batch_size: int = BATCH_SIZE,
) -> dict[str, list[str]]:
    """What a model answers to harmless requests, as it is and under each edit.

    Args:
        model: The model.
        prompts: The requests, or rows of token ids of the finished prompts.
        edits: By name; see `token_effects`.
        max_new_tokens: Where answers are cut.
        chat: Whether each text is to be put into the chat template.
        batch_size: How many prompts run together.

    Returns:
        Greedy answers by the name of the edit; those of the model as it is come first,
        under `"none"`.

    Raises:
        PromptError: If a prompt cannot be run, or there is no tokenizer.

    Example:
        >>> import interp
        >>> from tiny import tiny_model, tiny_tokenizer
        >>> model = interp.load(tiny_model("llama"), tokenizer=tiny_tokenizer())
        >>> list(harmless_answers(model, ["the city"], {}, max_new_tokens=2))
        ['none']
    """
    conditions: dict[str, Condition] = {NO_EDIT: nullcontext, **edits}
    answers: dict[str, list[str]] = {}
    with progress_bar("answer", len(conditions), "conditions") as bar:
        for name, one in conditions.items():
            asked = one if isinstance(one, LanguageModel) else model
            with nullcontext() if isinstance(one, LanguageModel) else one():
                answers[name] = asked.generate(
                    prompts,
                    max_new_tokens=max_new_tokens,
                    chat=chat,
                    batch_size=batch_size,
                )
            bar.advance(note=name)
    return answers


def false_refusals(answers: Sequence[str], *, mode: Mode = "substring") -> Proportion:
    """How many answers to harmless requests refuse, with a Wilson interval.

    An answer that loops is broken and counts under `repetition`, not here.

    Raises:
        DataError: If the answers are no sequence of texts.

    Example:
        >>> false_refusals(["Sure.", "I'm sorry."]).successes
        1
    """
    return refusal_rates(answers, mode=mode)


def side_effects_table(rows: Sequence[SideEffects]) -> pd.DataFrame:
    """One row per edit: condition, n_texts, n_tokens, and each figure with its bounds.

    Columns of answers are missing values where no answers were given.
    """
    return pd.DataFrame([_flat(row) for row in rows])


def _flat(row: SideEffects) -> dict[str, float | int | str | None]:
    flat: dict[str, float | int | str | None] = {
        "condition": row.condition,
        "n_texts": row.n_texts,
        "n_tokens": row.n_tokens,
    }
    for name in ("loss_clean", "loss", "loss_change", "divergence"):
        held: Interval = getattr(row, name)
        flat[name] = float(held.estimate)
        flat[f"{name}_low"] = float(held.low)
        flat[f"{name}_high"] = float(held.high)
    refused, repeated = row.false_refusals, row.repetition
    flat["answers"] = None if refused is None else refused.n
    flat["false_refusals"] = None if refused is None else refused.rate
    flat["false_refusals_low"] = None if refused is None else refused.low
    flat["false_refusals_high"] = None if refused is None else refused.high
    flat["looping"] = None if repeated is None else repeated.looping.rate
    for n in range(3):
        flat[f"distinct_{n + 1}"] = None if repeated is None else repeated.distinct[n]
    return flat


def _row(spread: Interval, index: int) -> Interval:
    return Interval(
        estimate=np.asarray(spread.estimate[index]),
        low=np.asarray(spread.low[index]),
        high=np.asarray(spread.high[index]),
    )
