"""How many tokens a batch may have when nobody says."""

import torch

from interp.models.language_model import LanguageModel


CPU_TOKENS = 2048
MIN_ACCELERATOR_TOKENS = 4096
MAX_ACCELERATOR_TOKENS = 131_072
# How much of the free memory a batch may be expected to take; a wrong guess costs one
# halving.
SHARE_OF_FREE_MEMORY = 0.4


def default_token_budget(
    model: LanguageModel, *, device: torch.device | None = None
) -> int:
    """The most tokens of a batch: what fills the device, not its memory.

    On a CPU more tokens than a few thousand gain nothing and leave the caches. On an
    accelerator the free memory is divided by what one token needs inside a block.

    Args:
        model: The model.
        device: Where it would run; where it is by default.
    """
    device = model.device if device is None else device
    if device.type != "cuda":
        return CPU_TOKENS
    free, _ = torch.cuda.mem_get_info(device)
    tokens = int(SHARE_OF_FREE_MEMORY * free / bytes_of_a_token(model))
    return min(max(tokens, MIN_ACCELERATOR_TOKENS), MAX_ACCELERATOR_TOKENS)


def bytes_of_a_token(model: LanguageModel) -> int:
    """About how much memory one token needs inside a block."""
    return (12 * model.d_model + 4 * model.d_mlp) * model.dtype.itemsize
