"""What a refusal study computes, from its settings, instructions and models.

What depends on what a model says (which directions are tried, where an answer ends) is
taken at its most.
"""

from dataclasses import dataclass

from interp.activations.costs import Tokens
from interp.data import Contrast
from interp.models.outline import Outline
from interp.results.refusal import Instructions
from interp.results.truthfulness import ROLES, Role
from probes.planning.machine import budget_of
from probes.planning.study_costs import (
    DIRECTIONS,
    CostSum,
    Ids,
    Pair,
    StudyCost,
    cost_of,
    last_tokens,
    whole_tokens,
)
from probes.studies.refusal.candidates import template_positions
from probes.studies.refusal.candidates_tree import (
    most_nodes_for,
    opening_of,
    plan_trees,
)
from probes.studies.refusal.chat import Template, templates
from probes.studies.refusal.completions import Condition, conditions
from probes.studies.refusal.spec import RefusalSpec


# Blocks behind one of the layers, as a share of all, where any layer is as likely.
HALF = 0.5


def refusal_cost(spec: RefusalSpec, contrast: Contrast, pair: Pair) -> StudyCost:
    """Candidates times validation prompts, answers to test prompts, and what is read.

    Args:
        spec: The settings.
        contrast: The instructions in their splits.
        pair: The models without their weights.

    Raises:
        InterpError: What the study raises before it runs a model.
    """
    sides = _sides(pair)
    total = CostSum(tokens=Tokens())
    _fitting(total, spec, contrast, sides)
    _scoring(total, spec, contrast, sides["post"])
    sources = [(role, source) for role in ROLES for source in (*ROLES, "random")]
    asked = conditions(with_ablation=ROLES, sources=sources)  # pyright: ignore
    texts: dict[Instructions, tuple[str, ...]] = {
        "harmful": contrast.harmful.test,
        "harmless": contrast.harmless.test,
    }
    for condition in asked:
        _answering(total, spec, condition, sides[condition.model], texts)
    arms = (DIRECTIONS + spec.controls) * len(spec.coefficients)
    for side in sides.values():
        prompts = [side.ids(own) for own in texts.values()]
        plain = cost_of(side.one, "logits")
        for tree in _trees(prompts, side.one):
            total.add(tree, plain, 2)
            total.add(tree, plain, arms, depth=HALF)
        for ids in prompts:
            # The projections of prompts by layer.
            read = last_tokens(ids, budget_of(side.one))
            total.add(read, cost_of(side.one, "resid_pre.*"))
    ids = sides["post"].ids((*contrast.harmful.train, *contrast.harmless.train))
    every = len(contrast.to_dataframe())
    return StudyCost(
        tokens=total.tokens,
        flops=total.flops,
        examples=every,
        real=round(sum(map(len, ids)) / len(ids) * every),
        ids=ids,
        estimates=(
            "refusal: as if every instruction was kept, every candidate scored, every"
            " answer as long as max_new_tokens, and directions lay in the middle.",
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Side:
    one: Outline
    template: Template

    def ids(self, texts: tuple[str, ...]) -> Ids:
        return self.template.ids(self.one.model, texts)


def _sides(pair: Pair) -> dict[Role, _Side]:
    written = templates(pair[0].model, pair[1].model)
    return {
        role: _Side(one=one, template=template)
        for role, one, template in zip(ROLES, pair, written, strict=True)
    }


def _fitting(
    total: CostSum, spec: RefusalSpec, contrast: Contrast, sides: dict[Role, _Side]
) -> None:
    """First tokens of training and validation prompts, means, and the mark's means."""
    base, post = sides["base"], sides["post"]
    budget, plain = budget_of(post.one), cost_of(post.one, "logits")
    own = [base, post]
    if base.template != post.template:
        own.append(_Side(one=base.one, template=post.template))
    for kind in (contrast.harmful, contrast.harmless):
        train = last_tokens(post.ids(kind.train), budget)
        total.add(train, plain, 1 + (not spec.refusal_tokens))
        total.add(last_tokens(post.ids(kind.val), budget), plain)
        for side in own:
            read = last_tokens(side.ids(kind.train), budget_of(side.one))
            total.add(read, cost_of(side.one, "resid_pre.*"))
    for side in (base, post):
        # With a mark at the end and without one.
        read = last_tokens(side.ids(contrast.harmless.train), budget_of(side.one))
        total.add(read, cost_of(side.one, "resid_pre.*"), 2)


def _scoring(
    total: CostSum, spec: RefusalSpec, contrast: Contrast, post: _Side
) -> None:
    """Three scores of every candidate; prompts that begin alike run as a tree."""
    positions = spec.positions or template_positions(
        post.one.model, post.template, contrast.harmful.train[0]
    )
    n_layers = post.one.model.n_layers
    tried = int(spec.layer_share * n_layers) if spec.scores == "needed" else n_layers
    candidates = len(positions) * tried
    plain = cost_of(post.one, "logits")
    harmful, harmless = _trees(
        [post.ids(contrast.harmful.val), post.ids(contrast.harmless.val)], post.one
    )
    total.add(harmful, plain, candidates + 1)
    total.add(harmless, plain, candidates + 1)
    # Added before one of the layers.
    total.add(harmless, plain, candidates, depth=HALF)


def _answering(
    total: CostSum,
    spec: RefusalSpec,
    condition: Condition,
    side: _Side,
    texts: dict[Instructions, tuple[str, ...]],
) -> None:
    """The first token, the answers, and the answers read by the unchanged model."""
    ids = side.ids(texts[condition.instructions])
    budget, whole = budget_of(side.one), cost_of(side.one, "logits", every_token=True)
    # Once for the score of the first token, once to go on writing.
    total.add(whole_tokens([ids], budget), whole, 2)
    steps = spec.max_new_tokens - 1
    lengths = sum(map(len, ids)) + len(ids) * spec.max_new_tokens // 2
    written = Tokens(
        computed=len(ids) * steps,
        pairs=lengths * steps,
        passes=-(-len(ids) // spec.batch_size) * steps,
    )
    total.add(written, whole)
    answered = tuple((*row, *[row[-1]] * spec.max_new_tokens) for row in ids)
    read = last_tokens(answered, budget)
    total.add(read, cost_of(side.one, "resid_pre.*"), depth=HALF)
    is_side_effect = condition.intervention in ("none", "ablate")
    if is_side_effect and (condition.model, condition.instructions) == (
        "post",
        "harmless",
    ):
        # The unchanged model, and each ablation, on ordinary text.
        total.add(whole_tokens([answered], budget), whole)


def _trees(groups: list[Ids], one: Outline) -> list[Tokens]:
    """Prompts as trees, by group: what several begin with is computed once."""
    start = opening_of(tuple(row for ids in groups for row in ids))
    found: list[Tokens] = []
    for ids in groups:
        most = most_nodes_for(one.model.d_model)
        nodes = [len(tree) for tree in plan_trees(ids, most_nodes=most, start=start)]
        found.append(
            Tokens(
                real=sum(map(len, ids)),
                computed=sum(nodes) + start,
                pairs=sum(n * (n + start) for n in nodes) + start * start,
                read=len(ids),
                passes=1 + bool(start),
            )
        )
    return found
