"""What each study computes, from its settings and data: counted where that is possible.

What depends on what a model says (which directions are tried, where an answer ends) is
taken at its most, and said to be an estimate.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Int

from interp.activations.costs import PassCost, Tokens, capture_tokens, pass_cost
from interp.data import Splits, Statements, split_by_group
from interp.models.outline import Outline
from interp.neurons.readout import PROMPTS_AT_A_TIME
from interp.positions import Positions, resolve
from probes.planning.machine import budget_of
from probes.studies.confidence.spec import ConfidenceSpec
from probes.studies.confidence.texts import Texts
from probes.studies.truthfulness.negation import with_negations_together
from probes.studies.truthfulness.readings import with_datasets
from probes.studies.truthfulness.spec import TruthfulnessSpec
from probes.studies.truthfulness.spots import FINAL_TWO, Slots, slots_of, spots_of
from probes.studies.truthfulness.steering import Quiz, layers_to_try, quiz, some_of


Ids = tuple[tuple[int, ...], ...]
Pair = tuple[Outline, Outline]
# Kinds of control vectors, and of all vectors whose dose is varied.
CONTROL_KINDS = 3
DIRECTIONS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyCost:
    """What a study computes.

    Attributes:
        tokens: What enters the models.
        flops: Of its forward passes.
        examples: How many prompts it has.
        real: Their tokens, each once.
        ids: Prompts by which seconds are measured.
        estimates: What is an estimate, in sentences.
    """

    tokens: Tokens
    flops: int
    examples: int
    real: int
    ids: Ids
    estimates: tuple[str, ...]


@lru_cache(maxsize=64)
def cost_of(one: Outline, sites: str, *, every_token: bool = False) -> PassCost:
    """Counted once for each model: it takes passes of its own, without values."""
    return pass_cost(one, sites, every_token=every_token)


@dataclass(slots=True, kw_only=True)
class CostSum:
    """Passes of several kinds, added up."""

    tokens: Tokens
    flops: int = 0
    real: int = 0

    def add(
        self,
        tokens: Tokens,
        cost: PassCost,
        times: int = 1,
        *,
        depth: float = 1.0,
        real: Ids = (),
    ) -> None:
        """Some passes, which run this share of the blocks, over prompts not yet met."""
        self.tokens += tokens.times(times)
        self.flops += round(cost.flops(tokens) * times * depth)
        self.real += sum(map(len, real))


def truthfulness_cost(
    spec: TruthfulnessSpec, statements: Statements, pair: Pair
) -> StudyCost:
    """Passes over statements and questions; see `TruthfulnessSpec`.

    Args:
        spec: The settings.
        statements: The statements.
        pair: The models without their weights.

    Raises:
        InterpError: What the study raises before it runs a model.
    """
    statements = with_negations_together(with_datasets(statements, spec))
    splits = split_by_group(
        statements.groups, statements.labels, fractions=spec.fractions, seed=spec.seed
    )
    total, questions = CostSum(tokens=Tokens()), 0
    for one in pair:
        slots = slots_of(one.model, statements)
        ids = one.model.tokenize(statements.prompts).ids
        bare = capture_tokens(ids, slots.positions(), token_budget=budget_of(one))
        total.add(bare, cost_of(one, "resid_post.*"), real=ids)
        if spec.interventions:
            places = _n_places(spec, one, slots)
            questions += _ask(total, spec, one, statements, splits, places)
    return StudyCost(
        tokens=total.tokens,
        flops=total.flops,
        examples=2 * len(statements) + questions,
        real=total.real,
        ids=pair[0].model.tokenize(statements.prompts).ids,
        estimates=(
            "truthfulness: as if both models answered questions and truth could be read"
            " at every place that may be tried; probes are not counted.",
        ),
    )


def _ask(
    total: CostSum,
    spec: TruthfulnessSpec,
    one: Outline,
    statements: Statements,
    splits: Splits,
    places: int,
) -> int:
    """Add what asking one model costs, unchanged and pushed; how many questions."""
    model, budget = one.model, budget_of(one)
    plain = cost_of(one, "logits")
    # Under an edit nothing is shared or left out: whole prompts and all logits.
    edited = cost_of(one, "logits", every_token=True)

    def asked(rows: Int[np.ndarray, " n"], limit: int) -> Quiz:
        chosen = some_of(rows, statements.labels, limit, seed=spec.seed)
        return quiz(model, statements, chosen, train=splits.train, seed=spec.seed)

    val = asked(splits.val, spec.asked_validation)
    test = asked(splits.test, spec.asked_test)
    for each in (*_ids(val), *_ids(test)):
        total.add(last_tokens(each, budget), plain, real=each)
    # Each place is tried with the model's vector and a random one.
    tried = 2 * places if places > 1 else 0
    total.add(whole_tokens(_ids(val), budget), edited, tried)
    arms = DIRECTIONS + CONTROL_KINDS * spec.controls
    total.add(whole_tokens(_ids(test), budget), edited, arms)
    if spec.doses:
        kept = some_of(
            range(len(test.rows)), test.labels, spec.dose_statements, seed=spec.seed
        )
        few = whole_tokens(_ids(test.take(kept)), budget)
        arms = DIRECTIONS + CONTROL_KINDS * bool(spec.controls)
        total.add(few, edited, arms * len(spec.doses))
    return sum(len(each) for each in (*_ids(val), *_ids(test)))


def _ids(asked: Quiz) -> list[Ids]:
    return [part.questions.ids for part in asked.parts]


def _n_places(spec: TruthfulnessSpec, one: Outline, slots: Slots) -> int:
    layers = layers_to_try(one.model.n_layers) if spec.layers is None else [spec.layers]
    spots = [
        spot
        for spot in spots_of(slots)
        if spec.tokens == "chosen" or spot.name == FINAL_TWO
    ]
    return len(spots) * len(layers)


def confidence_cost(spec: ConfidenceSpec, texts: Texts, pair: Pair) -> StudyCost:
    """Passes over all texts, clean and with swaps, and the ablation of neurons.

    Args:
        spec: The settings.
        texts: The texts.
        pair: The models without their weights.

    Raises:
        InterpError: What the study raises before it runs a model.
    """
    total = CostSum(tokens=Tokens())
    ids: Ids = ()
    for one in pair:
        model = one.model
        longest = min(spec.max_tokens, model.context_length or spec.max_tokens)
        ids = tuple(row[:longest] for row in model.tokenize(texts.texts).ids)
        last = f"resid_post.{model.n_layers - 1}"
        # Streams are read some texts at a time.
        parts = [
            ids[start : start + PROMPTS_AT_A_TIME]
            for start in range(0, len(ids), PROMPTS_AT_A_TIME)
        ]
        whole = whole_tokens(parts, budget_of(one))
        some = whole_tokens([ids[: spec.effect_texts]], budget_of(one))
        # Unchanged; each swap; the other model's gain; all read by the head apart.
        times = 3 + spec.controls
        body = cost_of(one, last)
        total.add(whole, body, times)
        total.add(some, body)
        head = 2 * model.d_model * model.d_vocab
        total.flops += head * (times * whole.computed + some.computed)
    neurons = 2 * spec.candidates + spec.frequency_neurons
    return StudyCost(
        tokens=total.tokens,
        flops=total.flops,
        examples=len(ids),
        real=sum(map(len, ids)),
        ids=ids,
        estimates=(
            f"confidence: forward passes and heads; the softmaxes of {neurons} ablated"
            " neurons are not counted.",
        ),
    )


def last_tokens(ids: Ids, budget: int) -> Tokens:
    """Prompts of which the last token is read."""
    return capture_tokens(ids, resolve("last", ids), token_budget=budget)


def whole_tokens(parts: list[Ids], budget: int) -> Tokens:
    """Whole prompts of which each part runs by itself."""
    found = Tokens()
    for ids in parts:
        every = Positions(spec="last", kind="one", index=tuple((0,) for _ in ids))
        found += capture_tokens(ids, every, token_budget=budget, may_share_prefix=False)
    return found
