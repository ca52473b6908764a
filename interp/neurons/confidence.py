"""How sure a model is of its next tokens, and how sure it should be."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int32

from interp.models.language_model import LanguageModel
from interp.models.tokens import Prompts
from interp.neurons.effects import entropy_of, loss_of
from interp.neurons.output import Output, output_of
from interp.neurons.readout import head_of, read_stream, token_chunks, verify


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokenConfidence:
    """A model's predictions of the real next tokens of some texts.

    Attributes:
        entropy: Of each prediction, in nats.
        top: The probability of the likeliest token.
        correct: Whether that is the token that comes.
        loss: The negative log-likelihood of the token that comes, in nats.
        brier: The squared distance of the prediction from the truth, 0 to 2.
        groups: The text that each prediction is from.
    """

    entropy: Float32[np.ndarray, " token"]
    top: Float32[np.ndarray, " token"]
    correct: Bool[np.ndarray, " token"]
    loss: Float32[np.ndarray, " token"]
    brier: Float32[np.ndarray, " token"]
    groups: Int32[np.ndarray, " token"]


def token_confidence(
    model: LanguageModel,
    prompts: Prompts,
    *,
    first: int = 1,
    output: Output | None = None,
) -> TokenConfidence:
    """How sure the model is of each next token of some texts.

    Args:
        model: The model; edits in force apply.
        prompts: Texts, or rows of token ids.
        first: Predictions from earlier tokens are left out.
        output: What reads the final stream instead of the model's own norm and head.

    Raises:
        PromptError: If no text is long enough to predict anything.
        SelfCheckError: If norm and head, applied to the final stream, are not what the
            model does.

    Example:
        >>> from tiny import tiny_model
        >>> model = LanguageModel(hf=tiny_model("llama"))
        >>> token_confidence(model, [[5, 6, 7, 8]]).entropy.shape
        (2,)
    """
    own = output_of(model, with_neurons=False) if output is None else output
    head = head_of(own)
    if output is None:
        verify(model, head, prompts)
    stream = read_stream(model, own, prompts, first=first, keeps_write=False)
    device = head.constant.device
    parts: list[np.ndarray] = []
    for part in token_chunks(stream, head):
        log_p = head.logits(stream.residual[part].to(device)).log_softmax(-1)
        targets = stream.targets[part].to(device)
        p = log_p.exp()
        loss = loss_of(log_p, targets)
        top, likeliest = p.max(-1)
        brier = p.square().sum(-1) - 2 * (-loss).exp() + 1
        found = (entropy_of(log_p), top, likeliest == targets, loss, brier)
        # One copy: each waits for everything that the device has to do.
        parts.append(torch.stack([values.double() for values in found]).cpu().numpy())
    entropy, top, correct, loss, brier = np.concatenate(parts, axis=1)
    return TokenConfidence(
        entropy=entropy.astype(np.float32),
        top=top.astype(np.float32),
        correct=correct > 0,
        loss=loss.astype(np.float32),
        brier=brier.astype(np.float32),
        groups=stream.groups.numpy().astype(np.int32),
    )
