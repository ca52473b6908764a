"""Prompts as trees: what they have in common at their beginning is computed once.

A causal model's values at a token depend on nothing but what stands before it. So
prompts that begin alike share these tokens as nodes of a tree, each token sees its
ancestors only (a mask says so), and the tree is one row of a batch. There is no
padding, and every row of a batch can be the same tree under another edit. What all
prompts begin with is a tree of its own, the opening, whose keys and values the others
see: then they may be small.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from interp.positions import common_start
from probes.studies.refusal.chat import Ids


# Attention within a tree costs its nodes squared, beside matrices whose cost grows with
# the width; small trees repeat more of what prompts share.
NODES_PER_WIDTH = 1 / 4
LEAST_NODES, MOST_NODES = 64, 1024
# Below this a pass of its own costs more than the few tokens that it saves.
LEAST_OPENING = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PromptTree:
    """Some prompts as one row of tokens.

    Attributes:
        prompts: Which of the given prompts it holds.
        ids: The token of each node, parents before their children.
        parents: The node before each node; -1 where a prompt begins.
        depths: Which token of its prompts each node is.
        sees: Which nodes (columns) each node sees: its ancestors and itself.
        last: The node of each prompt's last token, in the order of `prompts`; that of
            an opening is its own last one.
        start: How many tokens of an opening stand before it; every node sees them.
    """

    prompts: tuple[int, ...]
    ids: Int[Tensor, " node"]
    parents: tuple[int, ...]
    depths: Int[Tensor, " node"]
    sees: Bool[Tensor, "node node"]
    last: Int[Tensor, " end"]
    start: int = 0

    def __len__(self) -> int:
        return len(self.parents)

    def nodes_at(self, position: int) -> Int[Tensor, " prompt"]:
        """The node of each prompt at a position counted from its end, such as -1."""
        nodes = self.last.tolist()
        for _ in range(-1 - position):
            nodes = [self.parents[node] for node in nodes]
        return torch.tensor(nodes)

    def is_apart(self, position: int) -> bool:
        """Whether a position is in the tree, and no other token of a second prompt."""
        if int(self.depths[self.last].min()) - self.start < -1 - position:
            return False
        on_path = self.sees[self.last][:, self.nodes_at(position).unique()]
        return bool((on_path.sum(dim=1) == 1).all())


def opening_of(prompts: Ids) -> int:
    """How many tokens all prompts begin with, at least one of each being left.

    Example:
        >>> opening_of(((*range(9), 20), (*range(9), 21, 22)))
        9
    """
    if len(prompts) < 2:
        return 0
    length = min(common_start(prompts), min(map(len, prompts)) - 1)
    return length if length >= LEAST_OPENING else 0


def opening_tree(ids: Sequence[int]) -> PromptTree:
    """What all prompts begin with, as a tree that holds no prompt."""
    growing = _Growing()
    growing.add(0, ids)
    return replace(growing.done(), prompts=())


def plan_trees(
    prompts: Ids, *, most_nodes: int, start: int = 0
) -> tuple[PromptTree, ...]:
    """Trees that hold every prompt once, neighbours in the alphabet together.

    Args:
        prompts: Token ids.
        most_nodes: No tree has more, except that of one longer prompt; those that this
            takes are of even size.
        start: Leave out so many tokens, which all prompts begin with.

    Example:
        >>> (tree,) = plan_trees(((5, 6, 7), (5, 6, 8), (5, 9)), most_nodes=10)
        >>> tree.ids.tolist(), tree.parents, tree.last.tolist()
        ([5, 6, 7, 8, 9], (-1, 0, 1, 1, 0), [2, 3, 4])
    """
    ordered = sorted(range(len(prompts)), key=lambda i: prompts[i])
    rests = [prompts[number][start:] for number in ordered]
    # In this order a prompt shares no more with any earlier one than with the last.
    shared = [0, *(common_start(pair) for pair in pairwise(rests))]
    sizes = [len(rest) for rest in rests]
    trees: list[PromptTree] = []
    for part in _even_parts(sizes, shared, most_nodes):
        growing = _Growing(start)
        for at in part:
            growing.add(ordered[at], rests[at])
        trees.append(growing.done())
    return tuple(trees)


def _even_parts(
    sizes: Sequence[int], shared: Sequence[int], most: int
) -> list[list[int]]:
    """Neighbours in as few trees as `most` allows, and these of even size.

    Trees stand in one batch, which is padded to the largest.
    """
    parts = _parts(sizes, shared, most)
    low, high = 1, most
    while low < high:
        middle = (low + high) // 2
        tried = _parts(sizes, shared, middle)
        if len(tried) > len(parts):
            low = middle + 1
        else:
            parts, high = tried, middle
    return parts


def _parts(sizes: Sequence[int], shared: Sequence[int], most: int) -> list[list[int]]:
    parts: list[list[int]] = []
    nodes = 0
    for at, (size, common) in enumerate(zip(sizes, shared, strict=True)):
        if not parts or nodes + size - common > most:
            parts.append([])
            nodes = size
        else:
            nodes += size - common
        parts[-1].append(at)
    return parts


def most_nodes_for(width: int) -> int:
    """How large trees may be in a model of this width."""
    return min(max(int(width * NODES_PER_WIDTH), LEAST_NODES), MOST_NODES)


class _Growing:
    def __init__(self, start: int = 0) -> None:
        self.prompts: list[int] = []
        self._start = start
        self._tokens: list[int] = []
        self._parents: list[int] = []
        self._depths: list[int] = []
        self._last: list[int] = []
        self._children: dict[tuple[int, int], int] = {}

    def add(self, number: int, ids: Sequence[int]) -> None:
        node = -1
        for depth, token in enumerate(ids):
            key = (node, token)
            if key not in self._children:
                self._children[key] = len(self._tokens)
                self._tokens.append(token)
                self._parents.append(node)
                self._depths.append(depth)
            node = self._children[key]
        self.prompts.append(number)
        self._last.append(node)

    def done(self) -> PromptTree:
        n = len(self._tokens)
        sees = torch.eye(n, dtype=torch.bool)
        for node, parent in enumerate(self._parents):
            if parent >= 0:
                sees[node] |= sees[parent]
        return PromptTree(
            prompts=tuple(self.prompts),
            ids=torch.tensor(self._tokens),
            parents=tuple(self._parents),
            depths=torch.tensor(self._depths) + self._start,
            sees=sees,
            last=torch.tensor(self._last),
            start=self._start,
        )
