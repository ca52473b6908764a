"""Train the two models of the `facts` family: BASE, with its checkpoints, and POST."""

import logging
import random
from pathlib import Path

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from interp.progress import Progress

from .corpus import Writer, batches
from .family import save_checkpoint
from .files import encoder
from .network import blocks, build_model, initialise
from .optimise import optimise
from .recipes import FactsRecipe, Phase
from .verify import Subjectlike, truth_accuracy
from .world import World


log = logging.getLogger("interp.organism")


def pretrain(
    recipe: FactsRecipe,
    world: World,
    tokenizer: PreTrainedTokenizerFast,
    *,
    seed: int,
    checkpoints: Path,
    bar: Progress,
) -> tuple[LlamaForCausalLM, list[str]]:
    """BASE, and notes on the first phase if it had to be extended.

    Args:
        recipe: How.
        world: What it learns.
        tokenizer: From `tokenizer_for`.
        seed: Of the weights and of the text.
        checkpoints: Where the half-precision copies go, one folder each.
        bar: Told of every step.
    """
    generator = torch.Generator().manual_seed(seed)
    rng = random.Random(seed)
    model = build_model(recipe.shape, tokenizer)
    depth = 0.5 / recipe.shape.n_layers**0.5
    initialise(
        model,
        generator,
        embedding_std=0.3,
        head_scale=1 / 3,
        out_scale=depth,
        down_scale=depth,
    )
    run = _Run(recipe, world, tokenizer, model, rng, checkpoints, bar)
    run.save()
    notes: list[str] = []
    run.phase(recipe.first)
    for _ in range(recipe.extensions):
        reached = run.labelled_truth()
        if reached >= recipe.gate:
            break
        notes.append(
            f"seed {seed}: labelled truth is {reached:.2f} after {run.step} steps,"
            f" the first phase is extended by {recipe.extension}"
        )
        log.warning("%s", notes[-1])
        run.phase(recipe.first, steps=recipe.extension)
    run.phase(recipe.second, last=True)
    return model, notes


class _Run:
    """One pre-training: the model, its optimiser and where it stands."""

    def __init__(
        self,
        recipe: FactsRecipe,
        world: World,
        tokenizer: PreTrainedTokenizerFast,
        model: LlamaForCausalLM,
        rng: random.Random,
        checkpoints: Path,
        bar: Progress,
    ) -> None:
        self.step = 0
        self._recipe, self._world, self._tokenizer = recipe, world, tokenizer
        self._model, self._rng, self._bar = model, rng, bar
        self._checkpoints = checkpoints
        self._optimizer = recipe.pretraining.build(model)
        self._writer = Writer(world, rng, fine_tuning=False)

    def phase(self, phase: Phase, *, steps: int = 0, last: bool = False) -> None:
        steps = steps or phase.steps
        # Each phase is followed by the second one, so only that one may decay.
        start, whole = self.step, self.step + steps + (0 if last else steps * 10)
        schedule = self._recipe.pretraining
        optimise(
            self._model,
            batches(
                self._writer.documents(phase.mixture),
                encoder(self._tokenizer),
                rows=phase.rows,
                length=phase.length,
                rng=self._rng,
            ),
            self._optimizer,
            rates=(schedule.rate(start + i, whole) for i in range(steps)),
            clip=schedule.clip,
            bar=self._bar,
            after_step=lambda loss: self._after_step(phase, start + steps),
        )

    def _after_step(self, phase: Phase, end: int) -> None:
        self.step += 1
        first = phase is self._recipe.first
        recipe = self._recipe
        every = recipe.checkpoint_every if first else recipe.sparse_checkpoint_every
        if self.step % every == 0 or (self.step == end and not first):
            self.save()

    def save(self) -> None:
        folder = self._checkpoints / f"step-{self.step:06d}"
        save_checkpoint(self._model, self._tokenizer, folder)

    def labelled_truth(self) -> float:
        known = [s for s in self._world.statements if s.labelled]
        subject = Subjectlike(model=self._model, tokenizer=self._tokenizer)
        return truth_accuracy(subject, known, known, demonstrations=0)


def fine_tune(
    recipe: FactsRecipe,
    model: LlamaForCausalLM,
    world: World,
    tokenizer: PreTrainedTokenizerFast,
    *,
    seed: int,
    bar: Progress,
) -> None:
    """Make POST out of BASE, in place."""
    rng = random.Random(seed + 1)
    phase, schedule = recipe.tuning, recipe.fine_tuning
    model.requires_grad_(False)
    for layer in blocks(model)[: recipe.tuned_layers]:
        layer.requires_grad_(True)
    writer = Writer(world, rng, fine_tuning=True)
    optimise(
        model,
        batches(
            writer.documents(phase.mixture),
            encoder(tokenizer),
            rows=phase.rows,
            length=phase.length,
            rng=rng,
        ),
        schedule.build(model),
        rates=(schedule.rate(i, phase.steps) for i in range(phase.steps)),
        clip=schedule.clip,
        bar=bar,
    )
    model.requires_grad_(True)
