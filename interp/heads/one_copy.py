"""What the layers of a pass found, brought from the device together."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor


def in_one_copy(
    found: Sequence[Float[Tensor, "..."]],
) -> Float32[np.ndarray, "layer ..."]:
    """The values of all layers in one array, by one copy from each device.

    A copy waits for everything that the device has to do. One in the hook of every
    layer would let the device idle between layers; this is called behind the pass.

    Args:
        found: What each layer found; layers may lie on several devices.

    Example:
        >>> in_one_copy([torch.zeros(2), torch.ones(2)]).tolist()
        [[0.0, 0.0], [1.0, 1.0]]
    """
    by_device: dict[torch.device, list[int]] = {}
    for layer, values in enumerate(found):
        by_device.setdefault(values.device, []).append(layer)
    made = np.empty((len(found), *found[0].shape), dtype=np.float32)
    for layers in by_device.values():
        together = torch.stack([found[layer].float() for layer in layers])
        made[layers] = together.cpu().numpy()
    return made
