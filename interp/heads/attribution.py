"""`attribute_heads`: what each head adds to the right token's logit, directly.

The logit is linear in the residual stream behind the last block once the scale of the
final norm is held as it was. So it is a sum over everything that was written: by each
head, each MLP, the embedding, and biases. What a write changes further up is counted
there, not here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from interp.activations.batching import run_batches
from interp.activations.capture import checked_budget
from interp.errors import SelfCheckError
from interp.heads.averages import sequence_mean
from interp.heads.direct_path import DirectPath, direct_path, read_pass
from interp.heads.predicted import Predicted, Sequences, predicted_tokens
from interp.models.language_model import LanguageModel
from interp.progress import progress_bar
from interp.statistics import Interval


Against = Literal["nothing", "mean"]
# Relative to the size of the right value, as in the self-check.
TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-3}
ROUGH = 0.15


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeadAttribution:
    """What every part adds to the right token's logit, by sequence.

    Averaged over the tokens that count in a sequence. All parts add up to `total`.

    Attributes:
        against: `"nothing"` for the logit itself; `"mean"` for how far it lies above
            the mean over the vocabulary.
        heads: What each head adds.
        mlps: What each MLP adds, its bias included.
        embedding: What the embedding adds, positions included.
        biases: What the attention layers' biases and those of the last norm and the
            head add.
        total: The logit, before the architecture's factor or soft cap.
        mean: What each head adds on average, with an interval over sequences.
    """

    against: Against
    heads: Float32[np.ndarray, "layer head sequence"]
    mlps: Float32[np.ndarray, "layer sequence"]
    embedding: Float32[np.ndarray, " sequence"]
    biases: Float32[np.ndarray, " sequence"]
    total: Float32[np.ndarray, " sequence"]
    mean: Interval

    def top(self, *, k: int = 5) -> tuple[str, ...]:
        """The heads that add most, as `L5H3`, highest first."""
        order = np.argsort(-self.mean.estimate, axis=None, kind="stable")[:k]
        layers, heads = np.unravel_index(order, self.mean.estimate.shape)
        return tuple(f"L{a}H{b}" for a, b in zip(layers, heads, strict=True))


def attribute_heads(
    model: LanguageModel,
    sequences: Sequences,
    *,
    against: Against = "nothing",
    targets: Sequence[Sequence[int]] | None = None,
    resamples: int = 1000,
    seed: int = 0,
    token_budget: int | None = None,
) -> HeadAttribution:
    """What each head writes towards the right token, through the final norm.

    Also called direct logit attribution. Where what attention writes passes a norm of
    its own (Gemma 2, OLMo 2), that one's scale is held too. Every batch is checked: the
    parts have to add up to the model's own logit.

    Args:
        model: The model.
        sequences: Token ids; see `interp.heads.repeated_tokens`.
        against: Whether the mean logit over the vocabulary is taken off: adding the
            same to all logits predicts nothing.
        targets: For each sequence the places of the tokens whose prediction counts; by
            default the repeated ones, or all but the first.
        resamples: Bootstrap samples of the intervals, over sequences.
        seed: Feeds the intervals.
        token_budget: The most tokens in a batch; chosen by default.

    Raises:
        SelfCheckError: If the parts do not add up to the logit.
        UnsupportedModelError: If the model has no final norm or head that can be read.
        MissingSiteError: If it lacks a site that writes.
        PromptError: If a sequence cannot be run.
        PositionError: If a sequence has no such target.

    Source:
        Elhage et al. (2021), "A Mathematical Framework for Transformer Circuits".

    Example:
        >>> from tiny import tiny_model
        >>> import interp
        >>> found = attribute_heads(interp.load(tiny_model("llama")), [[5, 6, 7, 8]])
        >>> parts = found.heads.sum() + found.mlps.sum() + found.embedding.sum()
        >>> bool(np.isclose(parts + found.biases.sum(), found.total[0], atol=1e-4))
        True
    """
    given = predicted_tokens(model, sequences, targets=targets)
    n = len(given.ids)
    n_parts = model.n_heads + 2  # of a layer: its heads, their bias, its MLP
    parts = np.full((model.n_layers, n_parts, n), np.nan, dtype=np.float32)
    rest = np.full((3, n), np.nan, dtype=np.float32)
    with (
        model.lock,
        torch.no_grad(),
        progress_bar("attribution", n, "sequences") as bar,
    ):
        path = direct_path(model)

        def step(rows: tuple[int, ...]) -> None:
            found = _attributed(model, path, given, rows, against)
            parts[:, :, rows] = found[0].float().cpu().numpy()
            rest[:, rows] = found[1].float().cpu().numpy()
            bar.advance(len(rows))

        lengths = [len(row) for row in given.ids]
        run_batches(lengths, step, token_budget=checked_budget(token_budget, model))
    heads = parts[:, : model.n_heads]
    return HeadAttribution(
        against=against,
        heads=heads,
        mlps=parts[:, -1],
        embedding=rest[0],
        biases=rest[1] + parts[:, -2].sum(axis=0),
        total=rest[2],
        mean=sequence_mean(heads, resamples=resamples, seed=seed),
    )


def _attributed(
    model: LanguageModel,
    path: DirectPath,
    given: Predicted,
    rows: Sequence[int],
    against: Against,
) -> tuple[Tensor, Tensor]:
    """Parts `[layer, part, sequence]`, and embedding, biases, total `[3, sequence]`."""
    batch = given.batch(model, rows)
    counts = batch.counts
    # What is read after a token is about the next one; the last token has none.
    last = counts.new_zeros(len(counts), 1)
    with given.stated(model, rows):
        seen = read_pass(model, batch, torch.cat([counts, last], dim=1))
    sequence = counts.nonzero()[:, 0]
    right = batch.ids[:, 1:][counts]
    vectors, constant = path.vectors(right), path.constants(right)
    scale = path.scale(seen.final)
    match against:
        case "mean":
            vectors = vectors - path.mean_vector
            constant = constant - path.mean_constant
            mean = (seen.final @ path.mean_vector) / scale + path.mean_constant
        case "nothing":
            mean = torch.zeros_like(constant)
        case _:
            assert_never(against)
    towards = vectors / scale[:, None]
    layers = []
    for layer in range(model.n_layers):
        mixed = seen.mixed[layer]
        read = path.through_write_norm(layer, towards, mixed)
        heads = path.head_writes(layer, read, mixed)
        attn = (seen.attn[layer] * towards).sum(-1)
        mlp = (seen.mlp[layer] * towards).sum(-1)
        layers.append(torch.stack([*heads.T, attn - heads.sum(-1), mlp]))
    embedding = (seen.embedding * towards).sum(-1)
    table = torch.stack(layers)
    total = table.sum(dim=(0, 1)) + embedding + constant
    own = seen.logits.double().gather(-1, right[:, None])
    _require_sum(model, path.finished(total + mean), own.squeeze(-1))
    rest = torch.stack([embedding, constant, total])
    return _by_sequence(table, sequence, counts), _by_sequence(rest, sequence, counts)


def _by_sequence(table: Tensor, sequence: Tensor, counts: Tensor) -> Tensor:
    """Means over the predictions of each sequence, on the last axis."""
    sums = table.new_zeros(*table.shape[:-1], len(counts))
    return sums.index_add_(-1, sequence, table) / counts.sum(dim=-1)


def _require_sum(model: LanguageModel, found: Tensor, right: Tensor) -> None:
    if not len(right):
        return
    size = right.square().mean().sqrt().clamp_min(1e-12)
    error = float((found - right).abs().max() / size)
    if not error <= TOLERANCE.get(model.dtype, ROUGH):
        raise SelfCheckError(
            f"What heads, MLPs and embedding of {model.name or 'the model'} write adds"
            f" up to another logit than its own: {error:.2g} of its size apart.",
            expected="Direct attribution rests on the two being equal.",
            remedy="`interp doctor MODEL` tells what does not hold; use"
            " interp.heads.ablate_heads instead.",
        )
