"""`effects`: what mean-ablating neurons of the last MLP does, in closed form."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.errors import ConfigError, ShapeError
from interp.models.language_model import LanguageModel
from interp.models.tokens import Prompts
from interp.neurons.output import output_of
from interp.neurons.readout import (
    Head,
    Stream,
    head_of,
    read_stream,
    token_chunks,
    verify,
    written_change,
)
from interp.progress import progress_bar
from interp.results.neurons import NeuronEffects


def effects(
    model: LanguageModel,
    prompts: Prompts,
    neurons: Sequence[int],
    *,
    unigram: Float[Tensor, " vocab"] | None = None,
    first: int = 1,
) -> NeuronEffects:
    """Total and direct effects of setting each neuron to its mean, one at a time.

    Setting neuron `i` of the last MLP to its mean adds `(m_i - a_i) w_i` to the final
    residual stream, so one forward pass is enough for all neurons. Where the MLP's
    output passes a norm on its way, that norm is re-applied exactly. Before anything
    is reported, the closed form is compared with a hooked forward pass of the model.

    Args:
        model: The model; it is left as it was.
        prompts: Texts, or rows of token ids.
        neurons: Numbers of neurons of the last MLP.
        unigram: The direction of token frequency in logits; see `unigram_direction`.
        first: Predictions from earlier tokens are left out.

    Raises:
        PromptError: If no prompt predicts anything.
        ConfigError: If there is no such neuron.
        ShapeError: If the direction does not fit the vocabulary.
        SelfCheckError: If the closed form is not what the model does.
        UnsupportedModelError: If the last MLP is a mixture of experts.

    Source:
        Stolfo et al. (2024), arXiv:2406.16254.

    Example:
        >>> from tiny import tiny_model
        >>> model = LanguageModel(hf=tiny_model("llama"))
        >>> done = effects(model, [[5, 6, 7, 8], [9, 10, 11]], [3, 7])
        >>> done.loss_total.shape
        (2, 3)
    """
    output = output_of(model)
    _check(neurons, unigram, n_neurons=output.n_neurons, d_vocab=output.d_vocab)
    head = head_of(output)
    verify(model, head, prompts, neuron=neurons[0])
    stream = read_stream(model, output, prompts, neurons=neurons, first=first)
    stream = _on(stream, head.constant.device)
    mean = stream.activations.mean(0)
    direction = None if unigram is None else _unit(unigram.to(head.constant.device))
    by_neuron: list[list[Tensor]] = [[] for _ in neurons]
    # One row of logits for each neuron: what a unit of it adds, before the norm.
    rows = head.linear(
        torch.stack([output.written(n, n + 1)[0] for n in neurons]).to(mean.device)
    )
    with progress_bar("effects", len(stream), "predictions") as bar:
        for part in token_chunks(stream, head):
            piece = _taken(stream, part)
            clean = _Clean.of(head, piece)
            for place, found in enumerate(by_neuron):
                delta = mean[place] - piece.activations[:, place]
                found.append(
                    _ablated(head, piece, clean, (place, delta), rows[place], direction)
                )
            bar.advance(len(piece))
    table = torch.stack([torch.cat(parts, dim=1) for parts in by_neuron])
    samples = table.permute(1, 0, 2).cpu().numpy().astype(np.float32)
    return NeuronEffects(
        model=model.name,
        layer=output.layer,
        neurons=np.asarray(neurons, np.int32),
        mean=mean.cpu().numpy().astype(np.float32),
        loss_total=samples[0],
        loss_direct=samples[1],
        entropy_total=samples[2],
        entropy_direct=samples[3],
        kl=samples[4],
        argmax_changed=samples[5] > 0,
        loss_without_frequency=samples[6],
        groups=stream.groups.cpu().numpy().astype(np.int32),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Clean:
    """The unchanged predictions of some tokens."""

    linear: Float[Tensor, "token vocab"]
    written: Float[Tensor, "token vocab"] | None
    scale: Float[Tensor, " token"]
    logits: Float[Tensor, "token vocab"]
    log_p: Float[Tensor, "token vocab"]
    loss: Float[Tensor, " token"]
    entropy: Float[Tensor, " token"]

    @classmethod
    def of(cls, head: Head, stream: Stream) -> "_Clean":
        linear = head.linear(stream.residual)
        scale = head.output.final_norm.scale(stream.residual)
        logits = head.finished(linear / scale[:, None])
        log_p = logits.log_softmax(-1)
        norm = head.output.write_norm
        written = None
        if norm is not None and stream.unnormed is not None:
            norm = norm.to(linear.device)
            written = head.linear(norm.folded_in(stream.unnormed))
        return cls(
            linear=linear,
            written=written,
            scale=scale,
            logits=logits,
            log_p=log_p,
            loss=loss_of(log_p, stream.targets),
            entropy=entropy_of(log_p),
        )


def _ablated(
    head: Head,
    stream: Stream,
    clean: _Clean,
    neuron: tuple[int, Tensor],
    row: Float[Tensor, " vocab"],
    direction: Float[Tensor, " vocab"] | None,
) -> Float[Tensor, "seven token"]:
    """The samples of `NeuronEffects` for one neuron, in the order of its fields."""
    place, delta = neuron
    change = written_change(head.output, stream, place, delta)
    linear = clean.linear + change.along_neuron[:, None] * row
    if change.along_write is not None and clean.written is not None:
        linear += change.along_write[:, None] * clean.written
    moved = stream.residual + change.vectors(head.output)
    logits = head.finished(linear / head.output.final_norm.scale(moved)[:, None])
    total = logits.log_softmax(-1)
    direct = head.finished(linear / clean.scale[:, None]).log_softmax(-1)
    restored = torch.full_like(clean.loss, torch.nan)
    if direction is not None:
        lost = (clean.logits - logits) @ direction
        whole = logits + lost[:, None] * direction
        restored = loss_of(whole.log_softmax(-1), stream.targets) - clean.loss
    kl = (clean.log_p.exp() * (clean.log_p - total)).sum(-1).clamp_min(0.0)
    return torch.stack(
        [
            loss_of(total, stream.targets) - clean.loss,
            loss_of(direct, stream.targets) - clean.loss,
            entropy_of(total) - clean.entropy,
            entropy_of(direct) - clean.entropy,
            kl,
            (logits.argmax(-1) != clean.logits.argmax(-1)).double(),
            restored,
        ]
    )


def loss_of(
    log_p: Float[Tensor, "token vocab"], targets: Int[Tensor, " token"]
) -> Float[Tensor, " token"]:
    """The negative log-likelihood of the right tokens, in nats."""
    return -log_p.gather(-1, targets[:, None])[:, 0]


def entropy_of(log_p: Float[Tensor, "token vocab"]) -> Float[Tensor, " token"]:
    """The entropy of predictions, in nats.

    Example:
        >>> float(entropy_of(torch.zeros(1, 4).log_softmax(-1))[0].exp())
        4.0
    """
    return -(log_p.exp() * log_p).sum(-1)


def _check(
    neurons: Sequence[int], unigram: Tensor | None, *, n_neurons: int, d_vocab: int
) -> None:
    wrong = [number for number in neurons if not 0 <= number < n_neurons]
    if wrong or not len(neurons):
        raise ConfigError(
            f"There is no neuron {wrong[0]}." if wrong else "No neuron was named.",
            expected=f"The last MLP has the neurons 0 to {n_neurons - 1}.",
        )
    if unigram is not None and unigram.numel() != d_vocab:
        raise ShapeError(
            f"The unigram direction has {unigram.numel()} entries.",
            expected=f"The vocabulary has {d_vocab}.",
        )


def _unit(direction: Tensor) -> Tensor:
    direction = direction.double() - direction.double().mean()
    return direction / direction.norm().clamp_min(torch.finfo().tiny)


def _on(stream: Stream, device: torch.device) -> Stream:
    moved = {
        field.name: getattr(stream, field.name).to(device)
        for field in fields(stream)
        if isinstance(getattr(stream, field.name), Tensor)
    }
    return replace(stream, **moved)


def _taken(stream: Stream, part: slice) -> Stream:
    taken = {
        field.name: getattr(stream, field.name)[part]
        for field in fields(stream)
        if isinstance(getattr(stream, field.name), Tensor)
    }
    return replace(stream, **taken)
