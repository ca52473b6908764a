"""What a capture is asked to do, and ragged prompts as one batch of token ids."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from interp.models.hookpoints import HookPoint
from interp.models.language_model import LanguageModel
from interp.positions import Positions


Ids = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One capture, ready to run.

    Attributes:
        ids: The token ids of each prompt.
        points: Where to listen, in forward order.
        positions: What to keep of each prompt.
        token_budget: The most tokens of a batch, padding included.
        may_share_prefix: Whether a common prefix may be computed once.
    """

    ids: Ids
    points: Sequence[HookPoint]
    positions: Positions
    token_budget: int
    may_share_prefix: bool = True


def padding_id(model: LanguageModel) -> int:
    """A token id for padding; any would do, since padding is never attended to."""
    for owner in (model.tokenizer, model.hf.config):
        for name in ("pad_token_id", "eos_token_id"):
            token = getattr(owner, name, None)
            if isinstance(token, int) and 0 <= token < model.d_vocab:
                return token
    return 0


def padded(
    ids: Sequence[tuple[int, ...]], lengths: Sequence[int], padding: int
) -> tuple[Tensor, Tensor | None]:
    """The ids padded on the right, and the mask of real tokens if any is padded."""
    longest = max(lengths)
    if min(lengths) == longest:
        # Without a mask the model takes its faster causal kernel.
        return torch.tensor(ids), None
    input_ids = torch.tensor([[*row, *[padding] * (longest - len(row))] for row in ids])
    mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
    return input_ids, mask.long()
