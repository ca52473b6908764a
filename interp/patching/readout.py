"""LD from the last block's output, reading two rows of the unembedding only."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from interp.models.language_model import LanguageModel
from interp.models.selfcheck import TOLERANCE
from interp.patching.block_call import CannotEnterError
from interp.patching.recording import Recording


def relative_tolerance(dtype: torch.dtype) -> float:
    """How far two ways to compute LD may differ, relative to the size of logits."""
    known = TOLERANCE | {torch.float64: TOLERANCE[torch.float32]}
    return known.get(dtype, TOLERANCE[torch.bfloat16])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Readout:
    """The final norm, the unembedding, and what the model does to its logits.

    Attributes:
        norm: The final norm, None if the model has none.
        weight: The unembedding.
        bias: Its bias, or None.
        scale: What logits are multiplied by.
        softcap: The bound that they are squeezed into, or None.
    """

    norm: nn.Module | None
    weight: Float[Tensor, "vocab d_model"]
    bias: Float[Tensor, " vocab"] | None
    scale: float
    softcap: float | None

    def __call__(
        self,
        final: Float[Tensor, "*row d_model"],
        positive: Int[Tensor, "*row"],
        negative: Int[Tensor, "*row"],
    ) -> Float[Tensor, "*row"]:
        """LD of the last block's outputs at the last position."""
        hidden = final if self.norm is None else self.norm(final)
        hidden = hidden.to(torch.promote_types(hidden.dtype, torch.float32))
        return self._logit(hidden, positive) - self._logit(hidden, negative)

    def _logit(self, hidden: Tensor, token: Tensor) -> Tensor:
        # Norm and unembedding may lie on two devices.
        hidden, token = hidden.to(self.weight.device), token.to(self.weight.device)
        logit = (hidden * self.weight[token].to(hidden.dtype)).sum(-1)
        if self.bias is not None:
            logit = logit + self.bias[token].to(hidden.dtype)
        logit = logit * self.scale
        if self.softcap is None:
            return logit
        return self.softcap * torch.tanh(logit / self.softcap)


def readout_of(model: LanguageModel) -> Readout:
    """How a model turns its final residual stream into logits, by its config.

    `agrees` tells whether that is all the model does.

    Raises:
        CannotEnterError: If its unembedding is no plain matrix.
    """
    unembed = model.hf.get_output_embeddings()
    if type(unembed) is not nn.Linear:
        raise CannotEnterError("its unembedding is no plain matrix")
    config: Any = model.hf.config.get_text_config()
    path = model.architecture.map.final_norm
    scale = getattr(config, "logit_scale", None) or 1.0
    divisor = getattr(config, "logits_scaling", None) or 1.0
    return Readout(
        norm=None if path is None else model.hf.get_submodule(path),
        weight=unembed.weight,
        bias=unembed.bias,
        scale=scale / divisor,
        softcap=getattr(config, "final_logit_softcapping", None),
    )


def agrees(
    readout: Readout,
    recording: Recording,
    positive: Int[Tensor, " row"],
    negative: Int[Tensor, " row"],
    *,
    logit_scale: float,
) -> bool:
    """Whether a readout gives what the model itself made of the unpatched runs."""
    weight = readout.weight
    if recording.final.shape[-1] != weight.shape[1]:
        return False
    found = readout(recording.final, positive, negative)
    error = (found - recording.final_ld.to(found.device)).abs().max()
    tolerance = 2 * relative_tolerance(weight.dtype) * max(logit_scale, 1e-12)
    return bool(error <= tolerance)
