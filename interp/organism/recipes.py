"""How the families are trained: sizes, phases, mixtures, steps and rates.

The values were chosen by held-out accuracy. The ones that decide whether truth is
learned at all, in the `facts` family: the loss weights (`corpus`); a strong weight
decay (0.7; with 0.1 the labels are memorised and held-out subjects stay near 0.7 and
below); facts told in documents as long as the labelled ones; and comments right after
the full stop, which make truth readable there.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from .corpus import Mixture
from .network import Shape
from .optimise import Optimiser
from .world import World


Size = Literal["full", "small"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Steps on one mixture of documents, in rows of one length."""

    mixture: Mixture
    steps: int
    rows: int
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FactsRecipe:
    """All that decides what a `facts` family looks like, besides its world and seed.

    Args:
        first: Facts and single labelled statements, until the labels are learned.
        second: The same in longer documents, with morals and dialogues.
        tuning: The fine-tuning that makes POST.
        tuned_layers: How many of the first blocks fine-tuning changes. When it changes
            all, each layer learns to decline by itself, and taking one direction out
            stops nothing; so does a new head.
        gate: Labelled truth, without demonstrations, that ends the first phase.
        extension: Steps that the first phase gets when it is below the gate.
        extensions: How often.
    """

    shape: Shape = field(default=Shape(n_layers=4, d_model=96, n_heads=4, d_mlp=256))
    first: Phase = field(
        default=Phase(
            mixture=Mixture(facts=0.3, labels=0.35, comments=0.35),
            steps=320,
            rows=48,
            length=32,
        )
    )
    second: Phase = field(
        default=Phase(
            mixture=Mixture(
                facts=0.2,
                labels=0.36,
                comments=0.2,
                moral=0.1,
                decline=0.04,
                comply=0.1,
                most_statements=6,
                negated=0.1,
                rest=0.02,
            ),
            steps=560,
            rows=16,
            length=96,
        )
    )
    tuning: Phase = field(
        default=Phase(
            mixture=Mixture(
                refuse=0.2,
                decline=0.02,
                comply=0.4,
                chat_facts=0.1,
                labels=0.1,
                facts=0.05,
                chat_labels=0.15,
                most_statements=4,
                response=1.0,
            ),
            steps=80,
            rows=16,
            length=96,
        )
    )
    pretraining: Optimiser = field(
        default=Optimiser(learning_rate=3e-3, weight_decay=0.7)
    )
    # Gentle: at five times this rate the refusal direction grows so long that adding it
    # makes the model say its first word again and again.
    fine_tuning: Optimiser = field(
        default=Optimiser(
            learning_rate=2e-4, weight_decay=0.0, warm_up=10, decay_from=0.5
        )
    )
    tuned_layers: int = 2
    gate: float = 0.75
    extension: int = 160
    extensions: int = 2
    checkpoint_every: int = 40
    sparse_checkpoint_every: int = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class InductionRecipe:
    """All that decides what an `induction` family looks like, besides its seed."""

    shape: Shape = field(default=Shape(n_layers=2, d_model=64, n_heads=2, d_mlp=64))
    steps: int = 1000
    rows: int = 32
    checkpoint_every: int = 50
    optimiser: Optimiser = field(
        default=Optimiser(
            learning_rate=4e-3, warm_up=50, weight_decay=0.0, decay_from=0.7
        )
    )


def facts_recipe(size: Size | str) -> FactsRecipe:
    """The recipe of a size; half the steps still keep every promise."""
    recipe = FactsRecipe()
    if size == "full":
        return recipe
    return replace(
        recipe,
        first=replace(recipe.first, steps=240),
        second=replace(recipe.second, steps=240),
        tuning=replace(recipe.tuning, steps=60),
        checkpoint_every=80,
        sparse_checkpoint_every=160,
    )


INVENTED_FACTS = 416


def scaled(recipe: FactsRecipe, world: World) -> FactsRecipe:
    """The recipe with as many more steps as the world has more facts."""
    n_facts = sum(len(topic.facts) for topic in world.topics)
    factor = max(1.0, n_facts / INVENTED_FACTS)
    return replace(
        recipe,
        first=replace(recipe.first, steps=round(recipe.first.steps * factor)),
        second=replace(recipe.second, steps=round(recipe.second.steps * factor)),
    )


def induction_recipe(size: Size | str) -> InductionRecipe:
    """The recipe of a size."""
    recipe = InductionRecipe()
    if size == "full":
        return recipe
    return replace(recipe, steps=700, checkpoint_every=100)
