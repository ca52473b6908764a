"""What edits do to a model's predictions on ordinary text, token by token.

Every text is run once without and once with each edit. Only what goes into the head is
kept of a batch, and the head is applied to a few positions at a time: logits of all
positions at once would need more memory than the model.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.activations.batching import run_batches
from interp.activations.budget import default_token_budget
from interp.activations.job import padding_id
from interp.errors import DataError, IncompatibleError
from interp.models.language_model import LanguageModel
from interp.models.reading import is_followed, stated_batch
from interp.models.tokens import Prompts
from interp.neurons.output import logit_scale
from interp.progress import progress_bar


# An edit as a function that opens a block of edits, or another model in its place.
Condition = Callable[[], AbstractContextManager[None]] | LanguageModel
# Numbers of one piece of logits: a few pieces of 32 MiB in float64 exist at a time.
PIECE = 2**22
# The head's logits and the model's own may differ by rounding, relative to their size.
SAME = 1e-3
SAME_HALF = 5e-2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokenEffects:
    """One condition, at every token of the texts but each text's first.

    Attributes:
        text: Which text the token is in.
        loss_clean: Minus the log probability of the token without the edit, in nats.
        loss: The same with the edit.
        divergence: KL(P_clean || P_edited) of the prediction of the token, in nats.
    """

    text: Int[np.ndarray, " token"]
    loss_clean: Float[np.ndarray, " token"]
    loss: Float[np.ndarray, " token"]
    divergence: Float[np.ndarray, " token"]


def token_effects(
    model: LanguageModel,
    texts: Prompts,
    edits: Mapping[str, Condition],
    *,
    token_budget: int | None = None,
) -> dict[str, TokenEffects]:
    """Loss and divergence at every predicted token, under each edit.

    Log-probabilities are in float64 from the model's own logits.

    Args:
        model: The model.
        texts: Ordinary texts, or rows of token ids.
        edits: By name: functions that open a block of edits of the model, such as
            `lambda: interp.ablate(model, direction)`, or models with the same
            vocabulary, such as an orthogonalised one.
        token_budget: The most tokens in a batch; chosen by default.

    Raises:
        PromptError: If a text cannot be run.
        DataError: If no text has a second token.
        IncompatibleError: If another model has another vocabulary.

    Example:
        >>> import interp
        >>> from tiny import tiny_model, tiny_tokenizer
        >>> model = interp.load(tiny_model("llama"), tokenizer=tiny_tokenizer())
        >>> up = torch.ones(32)
        >>> found = token_effects(
        ...     model, ["the city of Paris"], {"up": lambda: interp.ablate(model, up)}
        ... )
        >>> bool((found["up"].divergence > 0).all())
        True
    """
    ids = model.tokenize(texts).ids
    if all(len(row) < 2 for row in ids):
        raise DataError(
            "No text has a second token.",
            expected="A loss is that of a token behind another one.",
            remedy="Give longer texts.",
        )
    for name, other in edits.items():
        _require_same_vocabulary(model, name, other)
    held: dict[int, Float[np.ndarray, "quantity token"]] = {}
    budget = default_token_budget(model) if token_budget is None else token_budget
    with progress_bar("side effects", len(ids), "texts") as bar:

        def step(rows: tuple[int, ...]) -> None:
            held.update(zip(rows, _batch(model, ids, rows, edits), strict=True))
            bar.advance(len(rows))

        run_batches([len(row) for row in ids], step, token_budget=budget)
    joined = np.concatenate([held[row] for row in range(len(ids))], axis=1)
    text = np.repeat(np.arange(len(ids)), [len(row) - 1 for row in ids])
    return {
        name: TokenEffects(
            text=text,
            loss_clean=joined[0],
            loss=joined[2 * number + 1],
            divergence=joined[2 * number + 2],
        )
        for number, name in enumerate(edits)
    }


def _batch(
    model: LanguageModel,
    ids: Sequence[tuple[int, ...]],
    rows: tuple[int, ...],
    edits: Mapping[str, Condition],
) -> list[Float[np.ndarray, "quantity token"]]:
    """Of each text of a batch: clean loss, then loss and divergence of each edit."""
    lengths = [len(ids[row]) for row in rows]
    width = max(lengths)
    padding = padding_id(model)
    tokens = torch.tensor(
        [[*ids[row], *[padding] * (width - len(ids[row]))] for row in rows]
    )
    mask = torch.arange(width) < torch.tensor(lengths)[:, None]
    batch = _Batch(rows=rows, lengths=lengths, n_texts=len(ids), ids=tokens, mask=mask)
    with torch.inference_mode():
        clean = _predictions(model, nullcontext, batch)
        edited = [
            _predictions(other, nullcontext, batch)
            if isinstance(other, LanguageModel)
            else _predictions(model, other, batch)
            for other in edits.values()
        ]
        found = _compared(clean, edited, tokens[:, 1:][mask[:, 1:]])
    return list(np.split(found, np.cumsum([n - 1 for n in lengths])[:-1], axis=1))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Batch:
    rows: tuple[int, ...]
    lengths: Sequence[int]
    n_texts: int
    ids: Int[Tensor, "batch pos"]
    mask: Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Predictions:
    """The predictions of all real tokens but the last of each text.

    Attributes:
        rows: What goes into the head, or logits if `to_logits` is the identity.
        to_logits: From some of the rows to logits.
        d_vocab: Of the logits.
    """

    rows: Float[Tensor, "token d"]
    to_logits: Callable[[Tensor], Tensor]
    d_vocab: int


def _compared(
    clean: _Predictions, edited: Sequence[_Predictions], targets: Int[Tensor, " token"]
) -> Float[np.ndarray, "quantity token"]:
    step = max(1, PIECE // clean.d_vocab)
    pieces: list[np.ndarray] = []
    for start in range(0, len(targets), step):
        part = slice(start, start + step)
        wanted = targets[part, None].to(clean.rows.device)
        right = _log_chances(clean, part)
        values = [-right.gather(1, wanted)[:, 0]]
        for one in edited:
            found = _log_chances(one, part).to(right.device)
            values.append(-found.gather(1, wanted)[:, 0])
            # A chance of exactly 0 adds nothing, although its logarithm has no end.
            gap = torch.where(right.isneginf(), 0.0, right - found)
            values.append((right.exp() * gap).sum(-1))
        pieces.append(torch.stack(values).double().cpu().numpy())
    if not pieces:
        return np.empty((1 + 2 * len(edited), 0))
    return np.concatenate(pieces, axis=1)


def _log_chances(one: _Predictions, part: slice) -> Float[Tensor, "token vocab"]:
    logits = one.to_logits(one.rows[part])
    # Apple's accelerator has no float64.
    exact = torch.float32 if logits.device.type == "mps" else torch.float64
    return torch.log_softmax(logits.to(exact), dim=-1)


def _predictions(
    model: LanguageModel,
    block: Callable[[], AbstractContextManager[None]],
    batch: _Batch,
) -> _Predictions:
    """Run a batch; of the logits themselves only those of the last tokens are made."""
    head = model.hf.get_output_embeddings()
    is_kept = batch.mask[:, 1:]
    with model.lock, block(), ExitStack() as stack:
        if is_followed(model.hf):
            stack.enter_context(
                stated_batch(
                    model.hf,
                    prompt_lengths=batch.lengths,
                    rows=batch.rows,
                    n_rows=batch.n_texts,
                )
            )
        # Whoever edits logits edits those of the whole text.
        if head is not None and not _are_logits_hooked(model):
            with _cut_head(head) as held:
                logits = _forward(model, batch)
            to_logits = _head_of(model, head)
            (rows,) = held
            if _agree(to_logits(rows[:, -1:]), logits[:, -1:], model.dtype):
                kept = rows[:, :-1][is_kept.to(rows.device)]
                width = int(logits.shape[-1])
                return _Predictions(rows=kept, to_logits=to_logits, d_vocab=width)
        logits = _forward(model, batch)
    kept = logits[:, :-1][is_kept.to(logits.device)]
    return _Predictions(
        rows=kept, to_logits=lambda part: part, d_vocab=int(logits.shape[-1])
    )


def _forward(model: LanguageModel, batch: _Batch) -> Float[Tensor, "batch pos vocab"]:
    is_padded = min(batch.lengths) < max(batch.lengths)
    mask = batch.mask.long().to(model.device) if is_padded else None
    output = model.hf(
        input_ids=batch.ids.to(model.device), attention_mask=mask, use_cache=False
    )
    return output.logits


@contextmanager
def _cut_head(head: torch.nn.Module) -> Iterator[list[Tensor]]:
    """Keep what goes into the head, and let it compute the last token only."""
    held: list[Tensor] = []

    def cut(module: torch.nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        held.append(args[0])
        return (args[0][:, -1:], *args[1:])

    handle = head.register_forward_pre_hook(cut)
    try:
        yield held
    finally:
        handle.remove()


def _head_of(model: LanguageModel, head: torch.nn.Module) -> Callable[[Tensor], Tensor]:
    """From rows to logits, with what the model does to them behind its head."""
    config = model.hf.config.get_text_config(decoder=True)
    scale = logit_scale(config)
    cap = getattr(config, "final_logit_softcapping", None)

    def to_logits(rows: Tensor) -> Tensor:
        logits = head(rows)
        if scale != 1:
            logits = logits * scale
        return cap * torch.tanh(logits / cap) if cap else logits

    return to_logits


def _agree(ours: Tensor, theirs: Tensor, dtype: torch.dtype) -> bool:
    allowed = SAME if dtype.itemsize >= torch.float32.itemsize else SAME_HALF
    ours, theirs = ours.float(), theirs.float()
    if ours.shape != theirs.shape:
        return False
    scale = theirs.square().mean().sqrt().clamp_min(1e-30)
    return bool((ours - theirs).abs().max() <= allowed * scale)


def _are_logits_hooked(model: LanguageModel) -> bool:
    return any(
        not hook.__module__.startswith("transformers.")
        for hook in model.hf._forward_hooks.values()
    )


def _require_same_vocabulary(model: LanguageModel, name: str, other: Condition) -> None:
    if isinstance(other, LanguageModel) and other.d_vocab != model.d_vocab:
        raise IncompatibleError(
            f"The model {name!r} has {other.d_vocab} tokens.",
            expected=f"The same vocabulary as the other's, of {model.d_vocab}.",
        )
