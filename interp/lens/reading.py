"""`logit_lens`: what every layer would predict, if it were the last."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.activations.capture import capture
from interp.errors import ConfigError, SelfCheckError
from interp.lens.tokens import token_id
from interp.models.language_model import LanguageModel
from interp.models.one_prompt import Prompt, prompt_ids
from interp.models.reading import is_followed
from interp.models.words import token_words
from interp.neurons.output import output_of
from interp.neurons.readout import ROUGH, TOLERANCE, Head, head_of
from interp.positions import PositionSpec
from interp.results.lens import LensReading


# A table of positions x vocabulary in float64 has at most so many entries; there are
# never more than a few such tables, and none with an axis of layers.
ENTRIES = 8_000_000


def logit_lens(
    model: LanguageModel,
    prompt: Prompt,
    *,
    target: str | int | None = None,
    distractor: str | int | None = None,
    positions: PositionSpec = "all",
    k: int = 5,
    chat: bool = False,
) -> LensReading:
    """What every layer would predict at every position, if it were the last.

    The residual stream behind each block goes through the model's own final norm and
    head, with the architecture's factor and soft cap. Inside `interp.edit` the edited
    model is read. Before any number is given, the last layer read like this is compared
    with what the model says.

    Args:
        model: The model.
        prompt: A text, or token ids.
        target: A token to follow, as text or id.
        distractor: A token to compare it with.
        positions: At which tokens; see `interp.positions`.
        k: How many of the likeliest tokens are kept in each cell.
        chat: Whether the text is a user message to be put into the chat template.

    Raises:
        PromptError: If the prompt cannot be read, or a word is not one token.
        ConfigError: If there is a distractor without a target, or `k` is below 1.
        UnsupportedModelError: If the model has no final norm or head that can be read.
        SelfCheckError: If norm and head of the last layer are not what the model says.

    Source:
        nostalgebraist (2020), "interpreting GPT: the logit lens"; Belrose et al.
        (2023), arXiv:2303.08112, for the quantities.

    Example:
        >>> from tiny import tiny_model
        >>> import interp
        >>> reading = logit_lens(interp.load(tiny_model("llama")), [5, 6, 7, 8])
        >>> reading.layers, reading.top_ids.shape
        (('embed', '0', '1', '2', 'output'), (5, 4, 5))
    """
    if distractor is not None and target is None:
        raise ConfigError(
            f"The distractor {distractor!r} was given without a target.",
            expected="A distractor is what a target is compared with.",
        )
    if k < 1:
        raise ConfigError(f"k is {k}.", expected="At least 1 token in each cell.")
    ids = prompt_ids(model, prompt, chat=chat)
    asked = [token_id(model, word) for word in (target, distractor) if word is not None]
    with model.lock, torch.inference_mode():
        head = head_of(output_of(model, with_neurons=False))
        stream = _read(model, head, ids, positions)
        cells = _cells(head, stream, asked, min(k, model.d_vocab))
    return _reading(model, ids, stream, asked, cells)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Stream:
    """The residual stream at every layer, and what the model said."""

    residual: Float[Tensor, "layer pos d_model"]
    logits: Float[Tensor, "pos vocab"]
    following: Int[Tensor, " pos"]
    positions: tuple[int, ...]


def _read(
    model: LanguageModel, head: Head, ids: tuple[int, ...], positions: PositionSpec
) -> _Stream:
    acts = capture(
        model,
        [ids],
        sites=["resid_pre.0", "resid_post.*", "logits"],
        positions=positions,
        # Where norm and head are: layers may lie on several devices.
        device=head.constant.device,
    )
    places = acts.resolved.index[0]
    shape = (-1, len(places), model.d_model)
    parts = [acts["resid_pre.0"].reshape(shape), acts["resid_post"].reshape(shape)]
    residual = torch.cat(parts)
    logits = acts["logits"].reshape(len(places), -1)
    following = [*ids, -1]
    if not is_followed(model.hf):
        # An edit of the logits is not seen by norm and head: then nothing is compared.
        _require_alike(model, head.logits(residual[-1, -1].double()), logits[-1])
    return _Stream(
        residual=residual,
        logits=logits,
        following=torch.tensor(
            [following[place + 1] for place in places], device=residual.device
        ),
        positions=tuple(places),
    )


def _require_alike(model: LanguageModel, found: Tensor, right: Tensor) -> None:
    right = right.double()
    size = right.square().mean().sqrt().clamp_min(1e-12)
    error = float((found - right).abs().max() / size)
    if not error <= TOLERANCE.get(model.dtype, ROUGH):
        raise SelfCheckError(
            f"Norm and head applied to the last layer of {model.name or 'the model'}"
            f" give other logits than its own: {error:.2g} of their size apart.",
            expected="The logit lens rests on the two being equal.",
            remedy="`interp doctor MODEL` tells what else does not hold.",
        )


class _Cells:
    """Tables of cells that are filled one layer and some positions at a time."""

    def __init__(self, layers: int, pos: int, k: int, n_asked: int) -> None:
        self.top_ids = np.zeros((layers, pos, k), dtype=np.int32)
        self.top = np.zeros((layers, pos, k), dtype=np.float32)
        self.entropy = np.zeros((layers, pos), dtype=np.float32)
        self.kl = np.zeros((layers, pos), dtype=np.float32)
        # What comes next, then the target, then the distractor.
        self.log_probability = np.zeros((1 + n_asked, layers, pos), dtype=np.float32)
        self.rank = np.zeros((1 + n_asked, layers, pos), dtype=np.int32)


def _cells(head: Head, stream: _Stream, asked: list[int], k: int) -> _Cells:
    n_layers, n_positions = stream.residual.shape[:2]
    cells = _Cells(n_layers + 1, n_positions, k, len(asked))
    step = max(1, ENTRIES // head.output.d_vocab)
    for start in range(0, n_positions, step):
        chosen = slice(start, start + step)
        own = stream.logits[chosen].double().log_softmax(-1)
        followed = [stream.following[chosen]]
        followed += [torch.full_like(followed[0], token) for token in asked]
        tokens = torch.stack(followed, dim=1)
        for layer in range(n_layers):
            logits = head.logits(stream.residual[layer, chosen].double())
            _fill(cells, layer, chosen, logits.log_softmax(-1), own, tokens)
        _fill(cells, n_layers, chosen, own, own, tokens)
    return cells


def _fill(
    cells: _Cells,
    layer: int,
    chosen: slice,
    said: Float[Tensor, "pos vocab"],
    own: Float[Tensor, "pos vocab"],
    tokens: Int[Tensor, "pos asked"],
) -> None:
    """One layer's distributions as numbers; `own` is the model's."""
    k = cells.top.shape[-1]
    top, top_ids = said.topk(k, dim=-1)
    found = said.gather(-1, tokens.clamp_min(0))
    missing = tokens < 0
    columns = [
        -(said.exp() * said).sum(-1),
        (own.exp() * (own - said)).sum(-1).clamp_min(0),
        *top.T,
        *top_ids.T,
    ]
    for number in range(tokens.shape[1]):
        rank = 1 + (said > found[:, number, None]).sum(-1)
        columns.append(rank.masked_fill(missing[:, number], 0))
        columns.append(found[:, number].masked_fill(missing[:, number], float("nan")))
    # One copy: each waits for everything that the device has to do. Numbers of tokens
    # are exact in float64.
    table = torch.stack([column.double() for column in columns]).cpu().numpy()
    cells.entropy[layer, chosen], cells.kl[layer, chosen] = table[:2]
    cells.top[layer, chosen] = table[2 : 2 + k].T
    cells.top_ids[layer, chosen] = table[2 + k : 2 + 2 * k].T
    asked = table[2 + 2 * k :]
    cells.rank[:, layer, chosen] = asked[::2]
    cells.log_probability[:, layer, chosen] = asked[1::2]


def _reading(
    model: LanguageModel,
    ids: tuple[int, ...],
    stream: _Stream,
    asked: list[int],
    cells: _Cells,
) -> LensReading:
    n_layers = cells.entropy.shape[0]
    numbers = (str(layer) for layer in range(n_layers - 2))
    seen = sorted({*np.unique(cells.top_ids).tolist(), *asked, *ids})
    words = token_words(model.tokenizer, seen)
    log_probability, rank = cells.log_probability, cells.rank
    empty = np.zeros((n_layers, 0), dtype=np.float32)
    return LensReading(
        model=model.name,
        layers=("embed", *numbers, "output"),
        positions=stream.positions,
        tokens=token_words(model.tokenizer, ids),
        token_ids=ids,
        top_ids=cells.top_ids,
        top_log_probabilities=cells.top,
        entropy=cells.entropy,
        kl=cells.kl,
        next_log_probability=log_probability[0],
        next_rank=rank[0],
        target=asked[0] if asked else None,
        distractor=asked[1] if len(asked) > 1 else None,
        target_log_probability=log_probability[1] if asked else empty,
        target_rank=rank[1] if asked else empty.astype(np.int32),
        difference=log_probability[1] - log_probability[2] if len(asked) > 1 else empty,
        vocabulary=dict(zip(seen, words, strict=True)),
    )
