"""Which keys an attention score counts, for each query of a token sequence."""

from dataclasses import dataclass
from typing import Literal, assert_never, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


PatternMetric = Literal[
    "prefix_matching",
    "previous_token",
    "previous_token_corrected",
    "duplicate_token",
    "first_token",
    "current_token",
]
PATTERN_METRICS: tuple[PatternMetric, ...] = get_args(PatternMetric)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Targets:
    """Keys that count, as a mask, and the queries that have any.

    Attributes:
        keys: Whether the attention of a query to a key counts.
        queries: Whether a query has a key that counts.
        uniform: What attention spread evenly over the visible keys would give,
            averaged over the queries that count.
    """

    keys: Bool[Tensor, "batch query key"]
    queries: Bool[Tensor, "batch query"]
    uniform: Float[Tensor, " batch"]

    def to(self, device: torch.device) -> "Targets":
        """The same where a layer's patterns are; layers may lie on several devices."""
        return Targets(
            keys=self.keys.to(device),
            queries=self.queries.to(device),
            uniform=self.uniform.to(device),
        )


def targets_of(
    metric: PatternMetric,
    ids: Int[Tensor, "batch pos"],
    real: Bool[Tensor, "batch pos"],
) -> Targets:
    """The keys that a score counts; none of them is padding or in the future.

    * `prefix_matching`: every token that followed an earlier occurrence of the query's
      own token.
    * `previous_token`, also `_corrected`: the token before.
    * `duplicate_token`: every earlier occurrence of the query's own token.
    * `first_token`: the first token, for all later queries.
    * `current_token`: the query's own position.

    Args:
        metric: Which score.
        ids: Token ids, padded on the right.
        real: Which of them are not padding.

    Source:
        Olsson et al. (2022), arXiv:2209.11895.

    Example:
        >>> ids = torch.tensor([[5, 6, 7, 5]])
        >>> targets = targets_of("prefix_matching", ids, ids > 0)
        >>> targets.keys[0].nonzero().tolist()
        [[3, 1]]
    """
    n = ids.shape[1]
    query = torch.arange(n, device=ids.device)[:, None]
    key = torch.arange(n, device=ids.device)[None, :]
    same = ids[:, :, None] == ids[:, None, :]
    match metric:
        case "prefix_matching":
            followed = torch.zeros_like(same)
            followed[:, :, 1:] = same[:, :, :-1]
            keys = followed & (key <= query)
        case "duplicate_token":
            keys = same & (key < query)
        case "previous_token" | "previous_token_corrected":
            keys = (key == query - 1).expand_as(same)
        case "first_token":
            keys = ((key == 0) & (query > 0)).expand_as(same)
        case "current_token":
            keys = (key == query).expand_as(same)
        case _:
            assert_never(metric)
    keys = keys & real[:, :, None] & real[:, None, :]
    queries = keys.any(dim=-1)
    share = _corrected(metric, keys.sum(dim=-1) / (query[:, 0] + 1))
    return Targets(keys=keys, queries=queries, uniform=_mean_over(share, queries))


def head_scores(
    metric: PatternMetric,
    pattern: Float[Tensor, "batch head query key"],
    targets: Targets,
) -> Float[Tensor, "batch head"]:
    """The attention of each head to the keys that count, averaged over queries.

    0 to 1, and NaN for a sequence in which no query has such a key. The corrected
    previous-token score takes off what the other visible keys get on average, so it is
    0 where attention is even.

    Args:
        metric: Which score.
        pattern: Attention patterns.
        targets: What `targets_of` said for the same tokens.

    Source:
        Singh et al. (2024), arXiv:2404.07129, for the correction.
    """
    mass = _mass(metric, pattern, targets).float()
    return _mean_over(_corrected(metric, mass), targets.queries[:, None])


def _mass(
    metric: PatternMetric, pattern: Tensor, targets: Targets
) -> Float[Tensor, "batch head query"]:
    """What each query gives to the keys that count; anything where it has none.

    Where that is one key at a known place it is read, not summed: a mask over the whole
    pattern costs as much as its softmax.
    """
    match metric:
        case "previous_token" | "previous_token_corrected":
            before = pattern.diagonal(offset=-1, dim1=-2, dim2=-1)
            return torch.nn.functional.pad(before, (1, 0))
        case "current_token":
            return pattern.diagonal(dim1=-2, dim2=-1)
        case "first_token":
            return pattern[..., 0]
        case "prefix_matching" | "duplicate_token":
            counted = torch.where(targets.keys[:, None], pattern, 0.0)
            return counted.sum(dim=-1, dtype=torch.float32)
        case _:
            assert_never(metric)


def _corrected(metric: PatternMetric, mass: Tensor) -> Tensor:
    """The mass on the previous token less the mean mass on the other visible keys."""
    if metric != "previous_token_corrected":
        return mass
    others = torch.arange(mass.shape[-1], device=mass.device).clamp(min=1)
    return mass - (1 - mass) / others


def _mean_over(values: Tensor, chosen: Tensor) -> Tensor:
    """The mean over the last axis of what is chosen; NaN if nothing is."""
    total = torch.where(chosen, values, 0.0).sum(dim=-1)
    return total / chosen.sum(dim=-1)
