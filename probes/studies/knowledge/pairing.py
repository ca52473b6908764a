"""The prompt pairs of a knowledge study, for both models."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from interp.data import StatementPairs, Statements, pair_statements
from interp.errors import DataError, IncompatibleError
from interp.models.language_model import LanguageModel
from interp.patching import PromptPairs, prompt_pairs, top_tokens
from interp.results.knowledge import MAX_LISTED, RuleCost
from probes.studies.knowledge.spec import KnowledgeSpec


logger = logging.getLogger("interp.studies")

SAME_ANSWER = "both prompts get the same answer from a model"
# Below this many pairs intervals say little.
FEW_PAIRS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What is traced.

    Attributes:
        pairs: The pairs of statements.
        prompts: Their prompts, with what is read in base and in post.
        read: Which tokens that are, in words.
        dropped: What each rule cost.
        notes: What the reader should know, in sentences.
    """

    pairs: StatementPairs
    prompts: tuple[PromptPairs, PromptPairs]
    read: str
    dropped: tuple[RuleCost, ...]
    notes: tuple[str, ...]


def prepare(
    base: LanguageModel,
    post: LanguageModel,
    statements: Statements,
    *,
    spec: KnowledgeSpec,
) -> Prepared:
    """The pairs of a study as prompts of both models.

    Args:
        base: The base model; its tokenizer cuts the prompts.
        post: The post-trained model.
        statements: Labelled statements.
        spec: How to pair them.

    Raises:
        DataError: If no pair can be formed.
        IncompatibleError: If the two tokenizers cut the prompts differently.
        PromptError: If a prompt is too long for the models.
    """
    pairs = pair_statements(
        statements,
        lambda texts: base.tokenize(texts, offsets=True),
        templates=spec.templates,
        form=spec.form,
        question=spec.question,
        reuse=spec.reuse,
        n_pairs=spec.n_pairs,
        cluster=spec.cluster,
        seed=spec.seed,
    )
    _require_same_tokens(base, post, pairs)
    costs = [_cost(one.source, one.rule, one.texts) for one in pairs.dropped]
    if pairs.labels is not None:
        labels = pairs.labels
        both = prompt_pairs(pairs)
        read = (
            f"LD = logit of {labels.true_text!r} (token {labels.true}) - logit of "
            f"{labels.false_text!r} (token {labels.false})"
        )
        prompts = (both, both)
    else:
        pairs, prompts, lost = _answered(base, post, pairs)
        costs += lost
        read = (
            "LD = logit of what the model that runs says after the true statement - "
            "logit of what it says after the false one"
        )
    return Prepared(
        pairs=pairs,
        prompts=prompts,
        read=read,
        dropped=tuple(costs),
        notes=_notes(pairs, costs, len(statements)),
    )


def _require_same_tokens(
    base: LanguageModel, post: LanguageModel, pairs: StatementPairs
) -> None:
    texts = [one.text for pair in pairs.pairs for one in (pair.clean, pair.corrupted)]
    if base.tokenize(texts).ids != post.tokenize(texts).ids:
        raise IncompatibleError(
            f"{base.name!r} and {post.name!r} cut the prompts into different tokens.",
            expected="Maps of two models are compared token by token.",
            remedy="Name two models with one tokenizer.",
        )


def _answered(
    base: LanguageModel, post: LanguageModel, pairs: StatementPairs
) -> tuple[StatementPairs, tuple[PromptPairs, PromptPairs], list[RuleCost]]:
    """The pairs of which both models say something else about the false statement."""
    answers = [top_tokens(model, pairs) for model in (base, post)]
    tells = np.all([one[:, 0] != one[:, 1] for one in answers], axis=0)
    kept = np.flatnonzero(tells)
    if not kept.size:
        raise DataError(
            f"The models answer alike after the true and the false statement of all "
            f"{len(pairs)} pairs.",
            expected="Without a question their own answers are read.",
            remedy="Ask the question, or take statements that the models know.",
        )
    lost: dict[str, list[str]] = {}
    for pair, both_tell in zip(pairs.pairs, tells, strict=True):
        if not both_tell:
            lost.setdefault(pair.source, []).extend((pair.true, pair.false))
    costs = [_cost(source, SAME_ANSWER, texts) for source, texts in lost.items()]
    left = replace(pairs, pairs=tuple(pairs.pairs[i] for i in kept))
    first, second = (prompt_pairs(left, answers=one[kept]) for one in answers)
    return left, (first, second), costs


def _cost(source: str, rule: str, texts: Sequence[str]) -> RuleCost:
    return RuleCost(
        source=source,
        rule=rule,
        statements=len(texts),
        texts=tuple(texts[:MAX_LISTED]),
    )


def _notes(pairs: StatementPairs, costs: list[RuleCost], total: int) -> tuple[str, ...]:
    by_rule: dict[str, int] = {}
    for one in costs:
        by_rule[one.rule] = by_rule.get(one.rule, 0) + one.statements
    said = "; ".join(f"{rule}: {count}" for rule, count in by_rule.items())
    notes = [f"{len(pairs)} pairs from {total} statements" + f" ({said})." * bool(said)]
    if not said:
        notes = [f"{len(pairs)} pairs from {total} statements."]
    if len(pairs) < FEW_PAIRS:
        notes.append(
            f"{len(pairs)} pairs are few: intervals and floors are rough guides."
        )
    for note in notes[1:]:
        logger.warning(note)
    return tuple(notes)
