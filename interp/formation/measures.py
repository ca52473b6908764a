"""What is measured of every replica while it trains, one number each."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.formation.batches import Batch
from interp.formation.forward import Pass, losses


Measures = dict[str, Tensor]


def measure_repeats(run: Pass, batch: Batch) -> Measures:
    """Loss, accuracy and heads on repeated tokens.

    Returns:
        For each replica: `loss` and `accuracy` where the next token can be known,
        `first_loss` where it cannot, the highest `prefix_matching` of any head (the
        attention to what followed earlier occurrences) and the highest
        `previous_token`.
    """
    assert batch.periods is not None
    length = batch.symbols.shape[-1]
    places = torch.arange(length)
    known = places >= batch.periods[..., None]
    only_known = _scored_only(batch, known)
    tokens = batch.symbols
    same = (tokens[..., :, None] == tokens[..., None, :-1]).float()
    followed = torch.nn.functional.pad(same, (1, 0)).tril()
    prefix, previous = [], []
    for name, pattern in run.sites.items():
        if name.endswith(".pattern"):
            each = (pattern * followed[:, :, None]).sum(dim=-1) * known[:, :, None]
            prefix.append(each.sum(dim=(1, 3)) / known.sum(dim=(1, 2))[:, None])
            previous.append(pattern.diagonal(-1, -2, -1).mean(dim=(1, 3)))
    right = (run.logits.argmax(dim=-1) == batch.targets) & known
    return {
        "loss": losses(run.logits, only_known),
        "first_loss": losses(run.logits, _scored_only(batch, ~known)),
        "accuracy": right.sum(dim=(1, 2)) / known.sum(dim=(1, 2)),
        "prefix_matching": torch.cat(prefix, dim=1).amax(dim=1),
        "previous_token": torch.cat(previous, dim=1).amax(dim=1),
    }


def measure_labels(run: Pass, batch: Batch) -> Measures:
    """Loss, accuracy and Reddy's progress measures where labels stand in the context.

    Returns:
        For each replica: `loss`; `accuracy`; `context_mass`, the probability of the
        labels in the context together; `CLA`, how often the likeliest label is one of
        them; `ILA1`, the attention of labels to their items in the first layer; `TLA2`
        and `TILA2`, the attention of the last position, in the last layer, to all
        labels and to the right one; `induction_strength`, the right minus the mean
        wrong one. Of several heads the highest counts.

    Source:
        Reddy (2023), arXiv:2312.03002; Singh et al. (2024), arXiv:2404.07129.
    """
    logits, targets = run.logits[:, :, -1], batch.targets[..., -1]
    labels = batch.symbols[..., 1::2]
    shown = torch.zeros(logits.shape, dtype=torch.bool).scatter(-1, labels, True)
    chosen = logits.argmax(dim=-1)
    first, last = _patterns(run)
    found = {
        "loss": losses(run.logits, batch),
        "accuracy": (chosen == targets).float().mean(dim=1),
        "context_mass": (logits.softmax(dim=-1) * shown).sum(dim=-1).mean(dim=1),
        "CLA": shown.gather(-1, chosen[..., None])[..., 0].float().mean(dim=1),
        "ILA1": _highest(first.diagonal(-1, -2, -1)[..., 0::2].mean(dim=-1)),
        "TLA2": _highest(last[..., -1, 1::2].sum(dim=-1)),
    }
    if batch.answers is not None:
        has = batch.answers >= 0
        at = batch.answers.clamp(min=0)[:, :, None, None].expand(*last.shape[:3], 1)
        right = last[..., -1, :].gather(-1, at)[..., 0]
        wrong = (last[..., -1, 1::2].sum(dim=-1) - right) / (labels.shape[-1] - 1)
        found["TILA2"] = _highest(right, has)
        found["induction_strength"] = _highest(right - wrong, has)
    return found


def accuracy(run: Pass, batch: Batch) -> Float[Tensor, " replica"]:
    """How often the likeliest label at the last position is the right one."""
    right = run.logits[:, :, -1].argmax(dim=-1) == batch.targets[..., -1]
    return right.float().mean(dim=1)


def _highest(
    each: Float[Tensor, "replica example head"],
    counts: Bool[Tensor, "replica example"] | None = None,
) -> Float[Tensor, " replica"]:
    """The mean over examples that count, of the head where it is highest."""
    if counts is None:
        return each.mean(dim=1).amax(dim=-1)
    total = (each * counts[..., None]).sum(dim=1)
    return (total / counts.sum(dim=1)[:, None]).amax(dim=-1)


def _patterns(run: Pass) -> tuple[Tensor, Tensor]:
    found = [site for name, site in run.sites.items() if name.endswith(".pattern")]
    return found[0], found[-1]


def _scored_only(
    batch: Batch, where: Bool[Tensor, "replica example position"]
) -> Batch:
    targets = torch.where(where, batch.targets, -1)
    return Batch(symbols=batch.symbols, targets=targets, periods=batch.periods)
