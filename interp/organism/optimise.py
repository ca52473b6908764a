"""The training loop that both families share."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from transformers import LlamaForCausalLM

from interp.progress import Progress
from interp.stopping import stop_if_requested

from .corpus import Batch
from .network import logits_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimiser:
    """AdamW with a warm-up and a linear decay."""

    learning_rate: float
    warm_up: int = 30
    decay_from: float = 0.6
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0

    def rate(self, step: int, steps: int) -> float:
        """The learning rate at a step of so many."""
        warm = min(1.0, (step + 1) / self.warm_up)
        left = (steps - step) / max(1.0, steps * (1 - self.decay_from))
        return self.learning_rate * warm * min(1.0, left)

    def build(self, model: LlamaForCausalLM) -> torch.optim.AdamW:
        trained = [p for p in model.parameters() if p.requires_grad]
        matrices = [p for p in trained if p.ndim == 2]
        others = [p for p in trained if p.ndim != 2]
        return torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": self.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=self.learning_rate,
            betas=self.betas,
            fused=True,
        )


def loss_on(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    """The weighted mean of the cross-entropy at the kept positions."""
    logits = logits_at(model, batch.tokens, batch.mask, batch.kept)
    losses = F.cross_entropy(logits, batch.targets, reduction="none")
    return (losses * batch.weights).sum() / batch.weights.sum()


def optimise(
    model: LlamaForCausalLM,
    batches: Iterator[Batch],
    optimizer: torch.optim.Optimizer,
    *,
    rates: Iterator[float],
    clip: float,
    bar: Progress,
    after_step: Callable[[float], None] = lambda loss: None,
) -> None:
    """Take one step for each learning rate; `after_step` is told the loss of each.

    Raises:
        StoppedError: If a signal asked for it: a family is whole or absent.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    for rate in rates:
        stop_if_requested("the family was not whole and nothing of it is kept")
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        loss = loss_on(model, next(batches))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
        value = loss.item()
        bar.advance(1, note=f"loss {value:.3f}")
        after_step(value)
