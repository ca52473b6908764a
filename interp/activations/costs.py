"""What forward passes cost: tokens, passes and FLOPs, before any of them is run.

The tokens follow from the lengths of the prompts, by the same planning of batches and
prefixes that a capture does. FLOPs are counted once, by running the model's own code on
shapes alone, at lengths that tell its parts: what each token costs, each pair of query
and key, and each row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from interp.activations.batching import plan_batches
from interp.activations.capture import Sites, capture
from interp.activations.prefix import SharedPrefix, plan_prefix
from interp.models.language_model import LanguageModel
from interp.models.outline import Outline, ShapesOnly
from interp.positions import Positions


# Three lengths for three unknowns; short, as only their differences count.
_STEP = 8
Ids = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PassCost:
    """The FLOPs of a forward pass, counting a multiplication and an addition as two.

    Attributes:
        token: Of each token: twice the weights that it is multiplied with.
        pair: Of each pair of a query and a key, in all layers together.
        row: Of each position that is read, where the head is computed only there.
    """

    token: int
    pair: int
    row: int

    @property
    def parameters(self) -> int:
        """The weights that each token is multiplied with."""
        return self.token // 2

    def flops(self, tokens: "Tokens") -> int:
        """The FLOPs of some forward passes."""
        read = self.row * tokens.read
        return self.token * tokens.computed + self.pair * tokens.pairs + read


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """How much forward passes have to compute.

    Attributes:
        real: Tokens of the prompts.
        computed: Tokens that enter the model: with padding, a shared prefix once.
        pairs: Queries times keys, with padding, over all rows.
        read: Positions at which the head is computed if it is asked for.
        passes: Forward passes.
    """

    real: int = 0
    computed: int = 0
    pairs: int = 0
    read: int = 0
    passes: int = 0

    def __add__(self, other: "Tokens") -> "Tokens":
        return Tokens(
            real=self.real + other.real,
            computed=self.computed + other.computed,
            pairs=self.pairs + other.pairs,
            read=self.read + other.read,
            passes=self.passes + other.passes,
        )

    def times(self, n: int) -> "Tokens":
        """The same so many times over.

        Example:
            >>> Tokens(real=3, computed=4).times(2).computed
            8
        """
        return Tokens(
            real=self.real * n,
            computed=self.computed * n,
            pairs=self.pairs * n,
            read=self.read * n,
            passes=self.passes * n,
        )


def pass_cost(outline: Outline, sites: Sites, *, every_token: bool = False) -> PassCost:
    """What a forward pass costs that ends behind the last of some sites.

    Args:
        outline: The model without its weights.
        sites: What is read; nothing behind the last site is computed, and the head only
            for `"logits"`.
        every_token: Whether logits are computed for all tokens instead of the last.

    Example:
        >>> from tiny import saved_tiny_model
        >>> from interp.models.outline import outline
        >>> found = outline(saved_tiny_model(getfixture("tmp_path") / "m"))
        >>> whole = pass_cost(found, "logits", every_token=True)
        >>> pass_cost(found, "resid_post.0").parameters < whole.parameters
        True
    """
    first, second, third = (
        _counted(outline.counted, sites, n * _STEP, every_token) for n in (1, 2, 3)
    )
    # FLOPs of a row of n steps are `row + token * n + pair * n^2`.
    pair = (third - 2 * second + first) // 2
    token = second - first - 3 * pair
    row = first - token - pair
    return PassCost(token=token // _STEP, pair=pair // _STEP**2, row=row)


def _counted(model: LanguageModel, sites: Sites, length: int, every_token: bool) -> int:
    # The order matters: the counter has to see what is computed, not what is asked.
    with ShapesOnly(), FlopCounterMode(display=False) as counter:
        capture(
            model,
            [[0] * length],
            sites=sites,
            positions="all" if every_token else "last",
            device="meta",
        )
    return counter.get_total_flops()


def capture_tokens(
    ids: Ids, positions: Positions, *, token_budget: int, may_share_prefix: bool = True
) -> Tokens:
    """What one capture of prompts computes.

    Args:
        ids: The token ids of the prompts.
        positions: What is read of each.
        token_budget: The most tokens of a batch.
        may_share_prefix: Whether a common beginning may be computed once; not under
            edits, and not where the model's cache cannot be shared.

    Example:
        >>> from interp.positions import resolve
        >>> prompts = ((5, 6, 7), (5, 6))
        >>> capture_tokens(prompts, resolve("last", prompts), token_budget=64)
        Tokens(real=5, computed=6, pairs=18, read=4, passes=1)
    """
    skip = plan_prefix(ids, positions) if may_share_prefix else 0
    lengths = [len(row) - skip for row in ids]
    found = Tokens(real=sum(map(len, ids)))
    if skip:
        found += Tokens(computed=skip, pairs=skip**2, read=skip, passes=1)
    for rows in plan_batches(lengths, token_budget=token_budget):
        # The head is computed for a batch where any of its prompts is read.
        places = {place for row in rows for place in positions.index[row]}
        read = Tokens(read=len(rows) * len(places))
        found += batch_tokens([lengths[row] for row in rows], skip=skip) + read
    return found


def batch_tokens(lengths: Sequence[int], *, skip: int = 0) -> Tokens:
    """What one batch computes beside its share of real tokens.

    Args:
        lengths: How many tokens each row has, without what a cache holds.
        skip: How many tokens the cache holds.
    """
    longest = max(lengths)
    n = len(lengths)
    return Tokens(computed=n * longest, pairs=n * longest * (longest + skip), passes=1)


def shares_prefix(outline: Outline) -> bool:
    """Whether the model's cache of keys and values can be shared among prompts."""

    def forward(
        input_ids: Tensor, mask: Tensor | None, arguments: Mapping[str, object]
    ) -> None:
        ids = input_ids.to("meta")
        outline.counted.hf(input_ids=ids, attention_mask=mask, **arguments)

    with torch.inference_mode(), ShapesOnly():
        return SharedPrefix.compute(outline.counted, (0,) * _STEP, forward) is not None
