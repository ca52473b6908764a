"""What the unchanged model makes of some prompts, as trees where that is exact."""

import itertools
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import DynamicCache

from interp.activations import capture
from interp.activations.batching import plan_batches
from interp.activations.budget import default_token_budget
from interp.activations.forward import has_hooks
from interp.models.language_model import LanguageModel
from interp.models.reading import is_followed
from interp.models.selfcheck import TOLERANCE
from probes.studies.refusal.candidates_forward import Clean, Forest, evened
from probes.studies.refusal.candidates_pass import (
    batch_of,
    new_cache,
    picked,
    tree_streams,
)
from probes.studies.refusal.candidates_plain import Measure, PlainBatches
from probes.studies.refusal.candidates_tree import (
    PromptTree,
    most_nodes_for,
    opening_of,
    opening_tree,
    plan_trees,
)
from probes.studies.refusal.chat import Ids
from probes.studies.refusal.score import KL_EPSILON


logger = logging.getLogger("interp.studies")

# Allowed difference of logits in a dtype that the self-check does not list: float64.
EXACT = 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class CleanRun:
    """Some prompts, their logits in the unchanged model, and how to run them edited.

    `run` is a `Forest` where trees of prompts are exact in the model.
    """

    logits: Float[Tensor, "prompt vocab"]
    run: Forest | PlainBatches

    def measured(self, measure: Measure) -> Float[np.ndarray, " prompt"]:
        """A number for each prompt in the unchanged model."""
        return measure(range(len(self.logits)), self.logits).numpy()

    def change(
        self, prompts: Sequence[int], logits: Float[Tensor, "prompt vocab"]
    ) -> Float[Tensor, " prompt"]:
        """How far the answers are from those of the unchanged model."""
        edited = _weights(logits)
        edited /= edited.sum(-1, keepdim=True)
        clean, entropy = self._clean
        clean = clean[list(prompts)].to(edited.device)
        cross = torch.einsum("pv,pv->p", clean, edited.add_(KL_EPSILON).log_())
        return entropy[list(prompts)].to(edited.device) - cross

    @cached_property
    def _clean(
        self,
    ) -> tuple[Float[Tensor, "prompt vocab"], Float[Tensor, " prompt"]]:
        """The distributions, and the part of the change that is theirs alone."""
        clean = _weights(self.logits)
        clean /= clean.sum(-1, keepdim=True)
        logs = (clean + KL_EPSILON).log_()
        return clean, torch.einsum("pv,pv->p", clean, logs)


def clean_runs(model: LanguageModel, *groups: Ids) -> tuple[CleanRun, ...]:
    """Each group of prompts, run once in the unchanged model.

    Args:
        model: The model.
        groups: Token ids.
    """
    # Somebody else's edits and hooks expect whole prompts.
    is_free = not (is_followed(model.hf) or has_hooks(model.hf))
    forests = grown(model, groups) if is_free else None
    if forests is not None:
        return tuple(CleanRun(logits=one.logits, run=one) for one in forests)
    return tuple(_plain(model, ids) for ids in groups)


def chance_measure(tokens: Sequence[int]) -> Measure:
    """The summed probability of some tokens, as a measure of logits."""
    chosen = list(tokens)

    def chance(
        prompts: Sequence[int], logits: Float[Tensor, "prompt vocab"]
    ) -> Float[Tensor, " prompt"]:
        weights = _weights(logits)
        return weights[:, chosen].sum(-1) / weights.sum(-1)

    return chance


def grown(model: LanguageModel, groups: Sequence[Ids]) -> tuple[Forest, ...] | None:
    """Each group of prompts as trees, or None if the model gives other logits then.

    Args:
        model: The model.
        groups: Token ids; the groups share what runs once, and the trial.
    """
    every = tuple(row for group in groups for row in group)
    starts = dict.fromkeys((opening_of(every), 0))
    for start, cuts in itertools.product(starts, (True, False)):
        try:
            with model.lock, torch.inference_mode():
                forests = _planted_forests(model, groups, start=start, cuts=cuts)
            wrong = _error(*_tried(forests))
        except Exception as error:  # what a model makes of such a mask is its own
            logger.debug("trees of prompts failed: %s", error)
            continue
        if wrong <= TOLERANCE.get(model.dtype, EXACT):
            return forests
    return None


def _planted_forests(
    model: LanguageModel, groups: Sequence[Ids], *, start: int, cuts: bool
) -> tuple[Forest, ...]:
    most = most_nodes_for(model.d_model)
    planned = [
        (number, tree)
        for number, prompts in enumerate(groups)
        for tree in plan_trees(prompts, most_nodes=most, start=start)
    ]
    logits: list[dict[int, Tensor]] = [{} for _ in groups]
    trees: list[list[Clean]] = [[] for _ in groups]
    opening = cache = None
    with _kinds_of_outputs(model.architecture.blocks[0]) as kinds:
        if start:
            cache = new_cache(model)
            tree = opening_tree(groups[0][0][:start])
            (opening,) = _clean_pass(model, [tree], cuts=cuts, cache=cache).trees
        budget = default_token_budget(model)
        lengths = evened([len(tree) for _, tree in planned])
        for rows in plan_batches(lengths, token_budget=budget):
            here = [planned[row] for row in rows]
            held = picked(cache, [0] * len(rows))
            found = _clean_pass(model, [t for _, t in here], cuts=cuts, cache=held)
            rest = iter(found.ends)
            for (number, tree), clean in zip(here, found.trees, strict=True):
                trees[number].append(clean)
                logits[number] |= {prompt: next(rest) for prompt in tree.prompts}
    return tuple(
        Forest(
            model=model,
            prompts=prompts,
            opening=opening,
            trees=tuple(own),
            logits=torch.stack([found[i] for i in range(len(prompts))]),
            cuts=cuts,
            blocks_give_tuples=kinds == {True},
        )
        for prompts, own, found in zip(groups, trees, logits, strict=True)
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _CleanPass:
    """The streams of some trees, and the logits where their prompts end."""

    trees: list[Clean]
    ends: Float[Tensor, "end vocab"]


def _clean_pass(
    model: LanguageModel,
    trees: Sequence[PromptTree],
    *,
    cuts: bool,
    cache: DynamicCache | None,
) -> _CleanPass:
    batch = batch_of(model, trees)
    values, ends = tree_streams(model, batch, cuts=cuts, cache=cache)
    cleans = [
        Clean(tree=tree, stream=values[:, row, : len(tree)].clone())
        for row, tree in enumerate(trees)
    ]
    return _CleanPass(trees=cleans, ends=ends.float().cpu())


@contextmanager
def _kinds_of_outputs(block: nn.Module) -> Iterator[set[bool]]:
    """Whether a block's outputs are tuples, as far as it has run."""
    kinds: set[bool] = set()

    def note(module: nn.Module, args: tuple, output: object) -> None:
        kinds.add(isinstance(output, tuple))

    handle = block.register_forward_hook(note)
    try:
        yield kinds
    finally:
        handle.remove()


def _tried(forests: Sequence[Forest]) -> tuple[Forest, Clean, tuple[int, ...]]:
    """A tree, and some of its prompts: the longest of all, since windows cut those.

    The others are the first and the last ones in the tree.
    """
    forest = max(forests, key=lambda one: max(map(len, one.prompts)))
    longest = max(range(len(forest.prompts)), key=lambda i: len(forest.prompts[i]))
    tried = next(clean for clean in forest.trees if longest in clean.tree.prompts)
    held = tried.tree.prompts
    return forest, tried, tuple(dict.fromkeys((longest, held[0], held[-1])))


def _error(forest: Forest, tried: Clean, which: Sequence[int]) -> float:
    """The largest difference of logits of some prompts from those by themselves.

    Once in the clean pass over the tree, and once where a clean row enters at a block.
    """
    model = forest.model
    acts = capture(
        model,
        [forest.prompts[prompt] for prompt in which],
        sites="logits",
        positions="last",
        dtype="float32",
    )
    right = acts["logits"]
    differences = [(forest.logits[list(which)] - right).abs().max()]

    def measure(prompts: Sequence[int], logits: Tensor) -> Tensor:
        for prompt, row in zip(prompts, logits, strict=True):
            if prompt in which:
                wanted = right[which.index(prompt)]
                differences.append((row.float().cpu() - wanted).abs().max())
        return torch.zeros(len(prompts))

    part = replace(forest, trees=(tried,))
    part.added([model.n_layers // 2], torch.zeros(1, model.d_model), measure)
    scale = right.square().mean().sqrt().clamp_min(1e-12)
    return float(torch.stack(differences).max()) / float(scale)


def _plain(model: LanguageModel, ids: Ids) -> CleanRun:
    acts = capture(model, ids, sites="logits", positions="last", dtype="float32")
    run = PlainBatches(model=model, prompts=ids)
    return CleanRun(logits=acts["logits"], run=run)


def _weights(
    logits: Float[Tensor, "prompt vocab"],
) -> Float[Tensor, "prompt vocab"]:
    """The exponentials of the logits, the largest being 1, in double precision."""
    # Apple's accelerator has no float64.
    held = logits.cpu() if logits.device.type == "mps" else logits
    # A copy also of float64 logits, which belong to somebody else.
    held = held.to(torch.float64, copy=True)
    return held.sub_(held.amax(-1, keepdim=True)).exp_()
