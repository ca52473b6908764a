"""Predictions from the final residual stream in closed form, without another forward.

Logits are linear in the stream until the norm divides: a change of the stream along few
known vectors costs sums over the vocabulary, not a product with the head.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.activations import capture
from interp.edits import clamp
from interp.errors import PromptError, SelfCheckError
from interp.models.language_model import LanguageModel
from interp.models.tokens import Prompts
from interp.neurons.matrices import CHUNK_BYTES
from interp.neurons.output import Output
from interp.progress import progress_bar


# A table of predictions x vocabulary in float64 has at most so many entries.
ENTRIES = 8_000_000
PROMPTS_AT_A_TIME = 32
# Relative to the root mean square of the right value, as in the self-check.
TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-3}
ROUGH = 0.15


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stream:
    """What the last block left at every token from which another one is predicted.

    Attributes:
        residual: The residual stream behind the last block.
        activations: Of the neurons asked for.
        unnormed: The MLP's output ahead of the norm that it passes, where it does.
        targets: The token that comes next.
        groups: The prompt that each prediction is from.
        neurons: Which neurons.
    """

    residual: Float[Tensor, "token d_model"]
    activations: Float[Tensor, "token neuron"]
    unnormed: Float[Tensor, "token d_model"] | None
    targets: Int[Tensor, " token"]
    groups: Int[Tensor, " token"]
    neurons: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.targets)


def read_stream(
    model: LanguageModel,
    output: Output,
    prompts: Prompts,
    *,
    neurons: Sequence[int] = (),
    first: int = 1,
    keeps_write: bool = True,
) -> Stream:
    """The stream at the tokens `first` to last but one of every prompt.

    Args:
        model: The model; edits in force apply.
        output: Its output path.
        prompts: Texts, or rows of token ids.
        neurons: Neurons of the last MLP whose activations are kept.
        first: Earlier tokens predict nothing here: the very first one is where
            attention rests, and its stream is unlike all others.
        keeps_write: Whether what the MLP writes is kept where a norm follows.

    Raises:
        PromptError: If no prompt is long enough to predict anything.
    """
    ids = model.tokenize(prompts).ids
    kept = [index for index, row in enumerate(ids) if len(row) > first + 1]
    if not kept:
        raise _too_short(len(ids), first)
    reads_neurons = bool(neurons) or (keeps_write and output.write_norm is not None)
    names = ["resid_post", "mlp_post"] if reads_neurons else ["resid_post"]
    parts: list[list[Tensor]] = [[], [], [], [], []]
    with progress_bar("texts", len(kept), "texts") as bar:
        for start in range(0, len(kept), PROMPTS_AT_A_TIME):
            rows = kept[start : start + PROMPTS_AT_A_TIME]
            acts = capture(
                model,
                [ids[row] for row in rows],
                sites=[f"{name}.{output.layer}" for name in names],
                positions="all",
                dtype="float32",
            )
            values = [acts[f"{name}.{output.layer}"] for name in names]
            for place, row in enumerate(rows):
                own = [value[place, first : len(ids[row]) - 1] for value in values]
                parts[0].append(own[0].double())
                if reads_neurons:
                    parts[1].append(own[1][:, list(neurons)].double())
                    parts[2] += _ahead_of_norm(output, own[1])
                parts[3].append(torch.tensor(ids[row][first + 1 :]))
                parts[4].append(torch.full((len(own[0]),), row))
            bar.advance(len(rows))
    residual = torch.cat(parts[0])
    return Stream(
        residual=residual,
        activations=torch.cat(parts[1]) if parts[1] else residual[:, :0],
        unnormed=torch.cat(parts[2]) if parts[2] else None,
        targets=torch.cat(parts[3]),
        groups=torch.cat(parts[4]),
        neurons=tuple(neurons),
    )


def _too_short(n: int, first: int) -> PromptError:
    return PromptError(
        f"None of the {n} texts has more than {first + 1} tokens.",
        expected="Confidence is about the token that comes next.",
    )


def _ahead_of_norm(output: Output, activations: Tensor) -> list[Tensor]:
    if output.write_norm is None:
        return []
    # In float32, as the model does: in float64 the product would be a copy of a matrix.
    product = activations @ output.neurons.to("cpu", torch.float32)
    product = product.double()
    return [
        product if output.neuron_bias is None else product + output.neuron_bias.cpu()
    ]


def head_product(
    output: Output, vectors: Float[Tensor, "*batch d_model"]
) -> Float[Tensor, "*batch vocab"]:
    """The head's rows times vectors; the products in float32, or float64 if it is."""
    n, width = output.head.shape
    result = torch.empty(
        *vectors.shape[:-1], n, dtype=torch.float64, device=vectors.device
    )
    step = max(1, CHUNK_BYTES // (4 * width))
    for start in range(0, n, step):
        rows = output.head.rows(start, min(start + step, n)).to(vectors.device)
        rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
        result[..., start : start + step] = (vectors.to(rows.dtype) @ rows.T).double()
    return result


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Head:
    """What turns the scaled stream into logits, ready to be applied many times.

    Attributes:
        output: The output path.
        constant: What the norm's and the head's biases add to each logit.
    """

    output: Output
    constant: Float[Tensor, " vocab"]

    def linear(
        self, vectors: Float[Tensor, "*batch d_model"]
    ) -> Float[Tensor, "*batch vocab"]:
        """The part of the logits that the norm's scale divides."""
        norm = self.output.final_norm
        return head_product(self.output, norm.centred(vectors) * norm.gain)

    def finished(
        self, scaled: Float[Tensor, "*batch vocab"]
    ) -> Float[Tensor, "*batch vocab"]:
        """Logits: with biases, the architecture's factor and its soft cap."""
        logits = (scaled + self.constant) * self.output.logit_scale
        cap = self.output.softcap
        return logits if cap is None else cap * torch.tanh(logits / cap)

    def logits(
        self, residual: Float[Tensor, "*batch d_model"]
    ) -> Float[Tensor, "*batch vocab"]:
        """The logits of the final residual stream."""
        scale = self.output.final_norm.scale(residual)
        return self.finished(self.linear(residual) / scale[..., None])


def head_of(output: Output) -> Head:
    """The head of an output path."""
    constant = head_product(output, output.final_norm.bias)
    if output.head_bias is not None:
        constant = constant + output.head_bias.to(constant.device).double()
    return Head(output=output, constant=constant)


def token_chunks(stream: Stream, head: Head) -> Iterator[slice]:
    """Predictions a few at a time, so that their logits stay small."""
    step = max(1, ENTRIES // head.output.d_vocab)
    for start in range(0, len(stream), step):
        yield slice(start, min(start + step, len(stream)))


def verify(
    model: LanguageModel, head: Head, prompts: Prompts, *, neuron: int | None = None
) -> None:
    """Compare the closed form with the model itself, on the first text that will do.

    Args:
        model: The model.
        head: Its head.
        prompts: Of which one is run.
        neuron: If given, this neuron is also set to zero, by hook and in closed form.

    Raises:
        SelfCheckError: If the two disagree.
        PromptError: If every text is too short.
    """
    output = head.output
    rows = model.tokenize(prompts).ids
    ids = next((row for row in rows if len(row) > 2), None)
    if ids is None:
        raise _too_short(len(rows), 1)
    asked = () if neuron is None else (neuron,)
    stream = read_stream(model, output, [ids], neurons=asked)
    residual = stream.residual.to(head.constant.device)
    _require_alike(model, head, residual, [ids], "logits")
    if neuron is None:
        return
    change = written_change(output, stream, 0, -stream.activations[:, 0])
    ablated = residual + change.vectors(output).to(residual.device)
    with clamp(model, {f"mlp_post.{output.layer}": ([neuron], 0.0)}):
        _require_alike(model, head, ablated, [ids], f"logits without neuron {neuron}")


def _require_alike(
    model: LanguageModel,
    head: Head,
    residual: Tensor,
    ids: Prompts,
    what: str,
) -> None:
    actual = capture(model, ids, sites="logits", positions="all", dtype="float32")
    right = actual["logits"][0, 1:-1].double()
    closed = head.logits(residual).cpu()
    scale = right.square().mean().sqrt().clamp_min(1e-12)
    error = float((closed - right).abs().max() / scale)
    if not error <= TOLERANCE.get(model.dtype, ROUGH):
        raise SelfCheckError(
            f"The {what} of {model.name} differ by {error:.2g} of their size from norm "
            "and head applied to the final residual stream.",
            expected="Effects in closed form rest on the two being equal.",
            remedy="`interp doctor MODEL` tells what else does not hold; ablate with "
            "interp.clamp at mlp_post instead.",
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Change:
    """How ablating a neuron moves the stream.

    Along its vector and, where the write passes a norm, along what the MLP wrote.

    Attributes:
        along_neuron: Multiples of the neuron's vector as it is written.
        along_write: Multiples of the MLP's written output; None where they are zero.
        neuron: The neuron's vector as it is written.
        write: What the MLP wrote, before it was divided.
    """

    along_neuron: Float[Tensor, " token"]
    along_write: Float[Tensor, " token"] | None
    neuron: Float[Tensor, " d_model"]
    write: Float[Tensor, "token d_model"] | None

    def vectors(self, output: Output) -> Float[Tensor, "token d_model"]:
        """The change of the residual stream."""
        change = self.along_neuron[:, None] * self.neuron
        if self.along_write is not None and self.write is not None:
            change = change + self.along_write[:, None] * self.write
        return change


def written_change(
    output: Output, stream: Stream, place: int, delta: Float[Tensor, " token"]
) -> Change:
    """How the stream moves when a neuron's activation changes by `delta`.

    Args:
        output: The output path.
        stream: The stream, whose device everything is on.
        place: The neuron, by its place in the stream.
        delta: New minus old activation at each token.
    """
    device = stream.residual.device
    number = stream.neurons[place]
    vector = output.written(number, number + 1)[0].to(device)
    norm = output.write_norm
    if norm is None or stream.unnormed is None:
        return Change(along_neuron=delta, along_write=None, neuron=vector, write=None)
    norm = norm.to(device)
    stored = output.neurons[number].double().to(device)
    before = norm.scale(stream.unnormed)
    after = norm.scale(stream.unnormed + delta[:, None] * stored)
    return Change(
        along_neuron=delta / after,
        along_write=1 / after - 1 / before,
        neuron=vector,
        write=norm.folded_in(stream.unnormed),
    )
