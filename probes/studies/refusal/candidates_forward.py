"""Trees of prompts under many candidate directions, one candidate a row.

A batch is one tree of prompts many times, each row under another candidate. Adding a
vector before a block changes nothing in the blocks before it, so such a pass enters at
that block with the clean values. Both are exact, and both depend on how a model treats
masks and blocks: `grown` tries them on the unchanged model first.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.activations.batching import run_batches
from interp.activations.budget import default_token_budget
from interp.models.hookpoints import HookPoint, plant
from interp.models.language_model import LanguageModel
from interp.models.selfcheck import TOLERANCE
from interp.sites import Site
from probes.studies.refusal.candidates_plain import (
    Measure,
    PlainBatches,
    Scores,
    Vectors,
)
from probes.studies.refusal.candidates_tree import (
    Ids,
    PromptTree,
    most_nodes_for,
    plan_trees,
)


logger = logging.getLogger("interp.studies")

# Allowed difference of logits in a dtype that the self-check does not list: float64.
EXACT = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forest:
    """Prompts as trees, with the clean residual stream before every block.

    Attributes:
        model: The model.
        prompts: Token ids.
        trees: The same as trees.
        streams: For each tree the clean values before every block.
        cuts: Whether the last MLP runs at the ends of prompts only.
        blocks_give_tuples: Whether a block returns its value inside a tuple.
    """

    model: LanguageModel
    prompts: Ids
    trees: tuple[PromptTree, ...]
    streams: tuple[Float[Tensor, "layer node d_model"], ...]
    cuts: bool
    blocks_give_tuples: bool

    def ablated(self, units: Vectors, measure: Measure) -> Scores:
        """A number for each candidate and prompt, each direction ablated everywhere."""
        points = [self._point(site) for site in self.model.architecture.write_sites]

        @contextmanager
        def edited(number: int, rows: Sequence[int]) -> Iterator[None]:
            chosen = units[list(rows)]

            def project_out(value: Tensor) -> Tensor:
                along = chosen.to(value.device, _at_least_float32(value))
                held = value.to(along.dtype)
                inside = held @ along[:, :, None]
                new = torch.baddbmm(held, inside, along[:, None, :], alpha=-1)
                return new.to(value.dtype)

            with _planted(points, project_out):
                yield

        return self._run(len(units), edited, measure)

    def added(self, layer: int, vectors: Vectors, measure: Measure) -> Scores:
        """The same with each vector added before a block, at every token."""

        def value(tree: PromptTree, stream: Tensor, rows: Sequence[int]) -> Tensor:
            step = vectors[list(rows)].to(stream.device, stream.dtype)
            return stream + step[:, None]

        return self._entered(layer, value, len(vectors), measure)

    def levelled(
        self,
        layer: int,
        position: int,
        units: Vectors,
        levels: Float[Tensor, " candidate"],
        measure: Measure,
    ) -> Scores:
        """The same with the projection at one token before a block set to a level."""
        if not all(tree.is_apart(position) for tree in self.trees):
            # What is that token of one prompt is another token of a second one.
            plain = PlainBatches(model=self.model, prompts=self.prompts)
            return plain.levelled(layer, position, units, levels, measure)

        def value(tree: PromptTree, stream: Tensor, rows: Sequence[int]) -> Tensor:
            nodes = tree.nodes_at(position).unique().to(stream.device)
            along = units[list(rows)].to(stream.device, stream.dtype)
            wanted = levels[list(rows)].to(stream.device, stream.dtype)
            there = stream[nodes]
            step = wanted[:, None] - along @ there.T
            new = stream.expand(len(along), *stream.shape).clone()
            new[:, nodes] += step[:, :, None] * along[:, None]
            return new

        return self._entered(layer, value, len(units), measure)

    def _entered(
        self,
        layer: int,
        value: Callable[[PromptTree, Tensor, Sequence[int]], Tensor],
        n: int,
        measure: Measure,
    ) -> Scores:
        point = self._point(Site("resid_pre", layer))
        blocks = self.model.architecture.blocks[:layer]

        @contextmanager
        def edited(number: int, rows: Sequence[int]) -> Iterator[None]:
            tree, stream = self.trees[number], self.streams[number][layer]
            new = value(tree, stream.to(_at_least_float32(stream)), rows)
            with (
                _skipped(blocks, in_tuples=self.blocks_give_tuples),
                _planted([point], lambda old: new.to(old.device, old.dtype)),
            ):
                yield

        return self._run(n, edited, measure)

    def _run(
        self,
        n: int,
        edited: Callable[[int, Sequence[int]], AbstractContextManager[None]],
        measure: Measure,
    ) -> Scores:
        found = np.empty((n, sum(len(tree.prompts) for tree in self.trees)))
        with self.model.lock, torch.inference_mode():
            for number, tree in enumerate(self.trees):

                def step(rows: tuple[int, ...], number: int = number) -> None:
                    tree = self.trees[number]
                    with edited(number, rows):
                        logits = _tree_logits(self.model, tree, len(rows), self.cuts)
                    for row, held in zip(rows, logits, strict=True):
                        numbers = measure(tree.prompts, held)
                        found[row, list(tree.prompts)] = numbers.cpu().numpy()

                budget = default_token_budget(self.model)
                run_batches([len(tree)] * n, step, token_budget=budget)
        return found

    def _point(self, site: Site) -> HookPoint:
        return self.model.architecture.point(site)


def grown(
    model: LanguageModel, prompts: Ids, clean: Float[Tensor, "prompt vocab"]
) -> Forest | None:
    """The prompts as trees, or None if the model gives other logits for them.

    Args:
        model: The model.
        prompts: Token ids.
        clean: The logits after each prompt in the unchanged model.
    """
    attempts = (_tried(model, prompts, clean, cuts=cuts) for cuts in (True, False))
    return next((forest for forest in attempts if forest is not None), None)


def _tried(
    model: LanguageModel,
    prompts: Ids,
    clean: Float[Tensor, "prompt vocab"],
    *,
    cuts: bool,
) -> Forest | None:
    trees = plan_trees(prompts, most_nodes=most_nodes_for(model.d_model))
    kinds: set[bool] = set()

    def note(module: nn.Module, args: tuple, output: object) -> None:
        kinds.add(isinstance(output, tuple))

    handle = model.architecture.blocks[0].register_forward_hook(note)
    try:
        with model.lock, torch.inference_mode():
            streams = tuple(_stream(model, tree) for tree in trees)
        forest = Forest(
            model=model,
            prompts=prompts,
            trees=trees,
            streams=streams,
            cuts=cuts,
            blocks_give_tuples=kinds == {True},
        )
        # Tries both: the first half ran under the mask, and now it is left out.
        wrong = _error(forest, model.n_layers // 2, clean)
    except Exception as error:  # what a model makes of such a mask is its own
        logger.debug("trees of prompts failed: %s", error)
        return None
    finally:
        handle.remove()
    return forest if wrong <= TOLERANCE.get(model.dtype, EXACT) else None


def _error(forest: Forest, layer: int, clean: Float[Tensor, "prompt vocab"]) -> float:
    """The largest difference of logits when a clean pass enters at a block."""
    zero = torch.zeros(1, forest.model.d_model)
    differences = torch.zeros(len(clean), dtype=torch.float64)

    def measure(prompts: Sequence[int], logits: Tensor) -> Tensor:
        right = clean[list(prompts)].to(logits.device)
        differences[list(prompts)] = (
            (logits.float() - right.float()).abs().amax(-1).double().cpu()
        )
        return differences[list(prompts)]

    forest.added(layer, zero, measure)
    scale = clean.float().square().mean().sqrt().clamp_min(1e-12)
    return float(differences.max()) / float(scale)


def _stream(
    model: LanguageModel, tree: PromptTree
) -> Float[Tensor, "layer node d_model"]:
    """The clean residual stream before every block at every node."""
    held: dict[int, Tensor] = {}
    with ExitStack() as stack:
        for layer in range(model.n_layers):
            point = model.architecture.point(Site("resid_pre", layer))

            def keep(value: Tensor, layer: int = layer) -> None:
                held[layer] = value[0].clone()

            stack.enter_context(_planted([point], keep))
        _tree_logits(model, tree, 1, cuts=False)
    return torch.stack([held[layer] for layer in range(model.n_layers)])


def _tree_logits(
    model: LanguageModel, tree: PromptTree, n_rows: int, cuts: bool
) -> Float[Tensor, "row prompt vocab"]:
    """The logits at the ends of the prompts, the tree being run `n_rows` times."""
    device, n = model.device, len(tree)
    least = torch.finfo(model.dtype).min
    mask = torch.zeros(n, n, dtype=model.dtype).masked_fill(~tree.sees, least)
    last = tree.last.to(device)
    with _cut_to(model, last) if cuts else ExitStack():
        logits = model.hf(
            input_ids=tree.ids.to(device).expand(n_rows, n),
            attention_mask=mask.to(device)[None, None],
            position_ids=tree.depths.to(device).expand(n_rows, n),
            use_cache=False,
            logits_to_keep=last,
        ).logits
    # A model that does not know `logits_to_keep` gives all.
    return logits if logits.shape[1] == len(last) else logits[:, last]


@contextmanager
def _cut_to(model: LanguageModel, nodes: Tensor) -> Iterator[None]:
    """Run the last MLP at some nodes only: nothing reads the others' output."""
    path = model.architecture.map.mlp
    if path is None:
        yield
        return
    module = model.architecture.blocks[-1].get_submodule(path)
    whole: list[torch.Size] = []

    def cut(module: nn.Module, args: tuple) -> tuple:
        whole.append(args[0].shape)
        return (args[0][:, nodes], *args[1:])

    def widened(module: nn.Module, args: tuple, output: Any) -> Any:
        value = output[0] if isinstance(output, tuple) else output
        new = value.new_zeros(whole.pop()).index_copy(1, nodes, value)
        return (new, *output[1:]) if isinstance(output, tuple) else new

    handles = [
        module.register_forward_pre_hook(cut),
        # Ahead of edits, which expect all nodes.
        module.register_forward_hook(widened, prepend=True),
    ]
    try:
        yield
    finally:
        for handle in reversed(handles):
            handle.remove()


@contextmanager
def _planted(
    points: Sequence[HookPoint], callback: Callable[[Tensor], Tensor | None]
) -> Iterator[None]:
    with ExitStack() as stack:
        for point in points:
            for remove in plant(point, callback):
                stack.callback(remove)
        yield


@contextmanager
def _skipped(blocks: Sequence[nn.Module], *, in_tuples: bool) -> Iterator[None]:
    """Let some blocks return what they get.

    There is no hook that keeps a module from running, so its `forward` is covered by
    one of the instance, as long as the model's lock is held.
    """

    def unchanged(
        hidden_states: Tensor, *args: object, **kwargs: object
    ) -> Tensor | tuple[Tensor]:
        return (hidden_states,) if in_tuples else hidden_states

    for block in blocks:
        block.forward = unchanged
    try:
        yield
    finally:
        for block in blocks:
            del block.forward


def _at_least_float32(value: Tensor) -> torch.dtype:
    return torch.promote_types(value.dtype, torch.float32)
