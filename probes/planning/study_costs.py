"""What each study computes, from its settings and data: counted where that is possible.

What depends on what a model says (which directions are tried, where an answer ends) is
taken at its most, and said to be an estimate.
"""

from dataclasses import dataclass
from functools import lru_cache

from interp.activations.costs import PassCost, Tokens, capture_tokens, pass_cost
from interp.data import Statements, split_by_group
from interp.models.outline import Outline
from interp.neurons.readout import PROMPTS_AT_A_TIME
from interp.positions import Positions, resolve
from probes.planning.machine import budget_of
from probes.studies.confidence.spec import ConfidenceSpec
from probes.studies.confidence.texts import Texts
from probes.studies.truthfulness.negation import with_negations_together
from probes.studies.truthfulness.spec import TruthfulnessSpec
from probes.studies.truthfulness.spots import FINAL_TWO, slots_of, spots_of
from probes.studies.truthfulness.steering import layers_to_try, quiz, some_of
from probes.studies.truthfulness.study import with_datasets


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

    def add(
        self, tokens: Tokens, cost: PassCost, times: int = 1, *, depth: float = 1.0
    ) -> None:
        """Some passes, which run this share of the blocks."""
        self.tokens += tokens.times(times)
        self.flops += round(cost.flops(tokens) * times * depth)


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
    total = CostSum(tokens=Tokens())
    real, questions = 0, 0
    for one in pair:
        model, budget = one.model, budget_of(one)
        slots = slots_of(model, statements)
        ids = model.tokenize(statements.prompts).ids
        bare = capture_tokens(ids, slots.positions(), token_budget=budget)
        total.add(bare, cost_of(one, "resid_post.*"))
        real += sum(map(len, ids))
        if not spec.interventions:
            continue
        plain = cost_of(one, "logits")
        # Under an edit nothing is shared or left out: whole prompts and all logits.
        edited = cost_of(one, "logits", every_token=True)
        places = len(_places(spec, one, slots_of(model, statements)))
        few = None
        for split, limit in (
            ("val", spec.asked_validation),
            ("test", spec.asked_test),
        ):
            rows = some_of(
                getattr(splits, split), statements.labels, limit, seed=spec.seed
            )
            asked = quiz(model, statements, rows, train=splits.train, seed=spec.seed)
            parts = [part.questions.ids for part in asked.parts]
            for each in parts:
                total.add(last_tokens(each, budget), plain)
                real += sum(map(len, each))
                questions += len(each)
            whole = whole_tokens(parts, budget)
            if split == "val":
                # Each place is tried with the model's vector and a random one.
                times = 2 * places if places > 1 else 0
            else:
                times = DIRECTIONS + CONTROL_KINDS * spec.controls
                kept = some_of(
                    range(len(rows)), asked.labels, spec.dose_statements, seed=spec.seed
                )
                few = [part.questions.ids for part in asked.take(kept).parts]
            total.add(whole, edited, times)
        if few and spec.doses:
            arms = DIRECTIONS + CONTROL_KINDS * bool(spec.controls)
            total.add(whole_tokens(few, budget), edited, arms * len(spec.doses))
    return StudyCost(
        tokens=total.tokens,
        flops=total.flops,
        examples=2 * len(statements) + questions,
        real=real,
        ids=pair[0].model.tokenize(statements.prompts).ids,
        estimates=(
            "truthfulness: as if both models answered questions and truth could be read"
            " at every place that may be tried; probes are not counted.",
        ),
    )


def _places(spec: TruthfulnessSpec, one: Outline, slots: object) -> list[object]:
    layers = layers_to_try(one.model.n_layers) if spec.layers is None else [spec.layers]
    spots = spots_of(slots)  # pyright: ignore[reportArgumentType]
    chosen = [s for s in spots if spec.tokens == "chosen" or s.name == FINAL_TWO]
    return [(spot, pair) for spot in chosen for pair in layers]


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
