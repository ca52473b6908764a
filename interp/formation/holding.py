"""Clamps that hold one part of an induction circuit at what it shall become.

The parts are those of Singh et al. (2024): attending to the previous token (1), copying
it (2), routing that into queries and keys (3QK) and values (3V) of the next layer,
matching (4) and copying the label (5). Each function returns a tuple of clamps.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from interp.errors import ConfigError, UnknownSiteError
from interp.formation.clamps import Clamp, ClampContext
from interp.formation.forward import forward
from interp.formation.network import NetworkConfig, Parameters


Replicas = tuple[int, ...] | None
Kept = Literal["pattern", "q", "k", "v"]


def ablate(
    layer: int, heads: Sequence[int], *, replicas: Replicas = None
) -> tuple[Clamp, ...]:
    """Heads whose results are zero, so that they write nothing."""
    return tuple(
        Clamp(
            site=f"block.{layer}.attn.z",
            index=(slice(None), head),
            value=0.0,
            replicas=replicas,
        )
        for head in heads
    )


def previous_token(
    layer: int,
    heads: Sequence[int],
    *,
    strength: float = 1.0,
    replicas: Replicas = None,
    start: int = 0,
    stop: int | None = None,
) -> tuple[Clamp, ...]:
    """Heads that attend to the previous token (1), and with the rest to their own.

    Args:
        layer: The layer.
        heads: Its heads.
        strength: The attention to the previous token.
        replicas: Which replicas; all by default.
        start: First step at which it holds.
        stop: First step at which it does not any more.
    """

    def pattern(context: ClampContext) -> Tensor:
        length = context.value.shape[-1]
        own = torch.eye(length)
        before = torch.diag(torch.ones(length - 1), -1)
        rows = strength * before + (1 - strength) * own
        rows[0] = own[0]
        return rows.expand(context.value.shape)

    return _patterns(layer, heads, pattern, replicas, start, stop)


def no_previous_token(
    layer: int, heads: Sequence[int], *, replicas: Replicas = None
) -> tuple[Clamp, ...]:
    """Heads that cannot attend to the previous token."""

    def scores(context: ClampContext) -> Tensor:
        length = context.value.shape[-1]
        before = torch.diag(torch.ones(length - 1, dtype=torch.bool), -1)
        return context.value.masked_fill(before, -1e9)

    site = f"block.{layer}.attn.scores"
    return tuple(
        Clamp(site=site, index=(head,), value=scores, replicas=replicas)
        for head in heads
    )


def match(
    layer: int,
    heads: Sequence[int],
    *,
    strength: float = 1.0,
    replicas: Replicas = None,
    start: int = 0,
    stop: int | None = None,
) -> tuple[Clamp, ...]:
    """Heads that look where the answer is (3QK and 4).

    With labels: the last position attends to the label of its item with `strength`, and
    to the other labels with the rest. With repeated tokens: every position attends to
    what followed the earlier occurrences of its token; without one it is left alone.

    Args:
        layer: The layer.
        heads: Its heads.
        strength: The attention to the right places.
        replicas: Which replicas; all by default.
        start: First step at which it holds.
        stop: First step at which it does not any more.
    """

    def pattern(context: ClampContext) -> Tensor:
        right, other = answer_masks(context)
        there = right.sum(dim=-1, keepdim=True)
        rest = other.sum(dim=-1, keepdim=True)
        share = torch.where(rest > 0, strength, 1.0)
        rows = share * right / there.clamp(min=1)
        rows = rows + (1 - share) * other / rest.clamp(min=1)
        # Before the head axis: the same rows for all heads.
        return torch.where(there[:, :, None] > 0, rows[:, :, None], context.value)

    return _patterns(layer, heads, pattern, replicas, start, stop)


def match_by_likeness(
    layer: int,
    heads: Sequence[int],
    *,
    temperature: float = 0.1,
    replicas: Replicas = None,
) -> tuple[Clamp, ...]:
    """Heads whose last position attends to labels by how like their items are.

    Args:
        layer: The layer.
        heads: Its heads.
        temperature: Divides the cosine between the item asked and each item before.
        replicas: Which replicas; all by default.
    """

    def pattern(context: ClampContext) -> Tensor:
        items = context.batch.items
        if items is None:
            raise ConfigError("match_by_likeness needs a task with items.")
        cosines = F.cosine_similarity(items[:, :, 0:-1:2], items[:, :, -1:], dim=-1)
        shares = (cosines / temperature).softmax(dim=-1)
        rows = torch.zeros(*shares.shape[:2], context.value.shape[-1])
        rows[..., 1::2] = shares
        pattern = context.value.clone()
        pattern[..., -1, :] = rows[:, :, None]
        return pattern

    return _patterns(layer, heads, pattern, replicas, 0, None)


def copy(layer: int, head: int, *, replicas: Replicas = None) -> tuple[Clamp, ...]:
    """Logits that are one head's scores at the labels in the context (3V and 5).

    Whatever label the head would attend to is the answer; labels outside the context
    are ruled out. Only the last position is held.

    Args:
        layer: The layer whose head it is.
        head: The head.
        replicas: Which replicas; all by default.
    """

    def logits(context: ClampContext) -> Tensor:
        symbols = context.batch.symbols[..., 1::2]
        scores = context.sites[f"block.{layer}.attn.scores"][:, :, head, -1, 1::2]
        shape = (*symbols.shape[:2], context.value.shape[-1])
        shown = torch.zeros(shape, dtype=torch.bool).scatter(-1, symbols, True)
        # The same label twice adds up as attention would: by its exponentials.
        top = scores.amax(dim=-1, keepdim=True).detach()
        mass = torch.zeros(shape).scatter_add(-1, symbols, (scores - top).exp())
        answer = mass.clamp(min=1e-20).log().masked_fill(~shown, -1e9)
        return answer[:, :, None].expand(context.value.shape)

    return (Clamp(site="logits", index=(-1,), value=logits, replicas=replicas),)


def perfect_previous_token_input(
    layer: int = 1, *, replicas: Replicas = None
) -> tuple[Clamp, ...]:
    """A layer that reads what perfect previous-token heads would have written (1, 2).

    Queries and keys are computed from a stream in which each position but the first and
    the last holds the embedding of the position before; values from the embedding. All
    earlier layers write nothing.

    Args:
        layer: The layer that reads.
        replicas: Which replicas; all by default.
    """

    def shifted(context: ClampContext) -> Tensor:
        own = context.sites["embedding"]
        return torch.cat([own[:, :, :1], own[:, :, :-2], own[:, :, -1:]], dim=2)

    silent = tuple(
        Clamp(site=f"block.{i}.attn.out", value=0.0, replicas=replicas)
        for i in range(layer)
    )
    read = tuple(
        Clamp(site=f"block.{layer}.attn.{part}_input", value=shifted, replicas=replicas)
        for part in ("q", "k")
    )
    return (*silent, *read)


def preserve(
    kind: Kept,
    layers: Sequence[int],
    *,
    sites: dict[str, Tensor] | None = None,
    replicas: Replicas = None,
) -> tuple[Clamp, ...]:
    """Patterns, queries, keys or values as they are without other clamps.

    With heads ablated below, preserved patterns show what the heads do through values,
    and preserved values what they do through patterns.

    Args:
        kind: What is preserved.
        layers: In which layers.
        sites: `Pass.sites` of a clean pass over the same sequences. Without it the
            clean pass is made anew each time, which also works in training.
        replicas: Which replicas; all by default.
    """

    def clean(name: str) -> Tensor | _Computed:
        return _Computed(name, None, None) if sites is None else sites[name]

    names = [f"block.{layer}.attn.{kind}" for layer in layers]
    return tuple(Clamp(site=n, value=clean(n), replicas=replicas) for n in names)


def graft(
    site: str,
    parameters: Parameters,
    config: NetworkConfig | None = None,
    *,
    replicas: Replicas = None,
    detach: bool = True,
) -> tuple[Clamp, ...]:
    """A site that holds what another network computes there on the same sequences.

    `block.0.resid_post` grafts in the other network's first layer and all below it.

    Args:
        site: The site.
        parameters: The other network's weights, with as many replicas.
        config: Its shape; that of the network itself by default.
        replicas: Which replicas receive it; all by default.
        detach: Whether the other network stays as it is.
    """
    value = _Computed(site, parameters, config)
    return (Clamp(site=site, value=value, replicas=replicas, detach=detach),)


def answer_masks(context: ClampContext) -> tuple[Tensor, Tensor]:
    """Where the answer is and where the other labels are: [replica, example, q, k]."""
    batch, length = context.batch, context.batch.symbols.shape[-1]
    shape, device = (*batch.symbols.shape, length), batch.symbols.device
    if batch.periods is not None:
        tokens = batch.symbols
        # A place counts if the token before it is the one at the query.
        same = tokens[..., :, None] == tokens[..., None, :-1]
        earlier = torch.ones(length, length, device=device).bool().tril()
        right = F.pad(same, (1, 0)) & earlier
        return right, torch.zeros(shape, dtype=torch.bool, device=device)
    if batch.answers is None:
        raise ConfigError("match needs a task that knows where its answers are.")
    places = torch.arange(length, device=device)
    asked = batch.answers[..., None]
    last = torch.zeros(shape, dtype=torch.bool, device=device)
    right, other = last.clone(), last.clone()
    right[..., -1, :] = places == asked
    other[..., -1, :] = (places != asked) & (places % 2 == 1) & (asked >= 0)
    return right, other


class _Computed:
    """A site of another pass over the same sequences, free of clamps."""

    def __init__(
        self, site: str, parameters: Parameters | None, config: NetworkConfig | None
    ) -> None:
        self.site, self.parameters, self.config = site, parameters, config

    def __call__(self, context: ClampContext) -> Tensor:
        weights = self.parameters or context.parameters
        in_lab = bool(context.parameters)
        if not in_lab and (self.parameters is None or self.config is None):
            raise ConfigError(
                f"On a language model {self.site!r} cannot be computed anew in a clean"
                " pass of the lab.",
                remedy="Give preserve(..., sites=...) or graft(..., config=...).",
            )
        run = forward(weights, self.config or context.config, context.batch)
        if self.site not in run.sites:
            raise UnknownSiteError(f"The other network has no site {self.site!r}.")
        return run.sites[self.site]


def _patterns(
    layer: int,
    heads: Sequence[int],
    value: Callable[[ClampContext], Tensor],
    replicas: Replicas,
    start: int,
    stop: int | None,
) -> tuple[Clamp, ...]:
    return tuple(
        Clamp(
            site=f"block.{layer}.attn.pattern",
            index=(head,),
            value=value,
            replicas=replicas,
            start=start,
            stop=stop,
        )
        for head in heads
    )
