"""Which predictions count, and what a model says about them."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.activations.job import padded, padding_id
from interp.errors import PositionError, PromptError
from interp.heads.sequences import RepeatedTokens
from interp.models.attention import watched_attention
from interp.models.hookpoints import Callback, HookPoint, plant
from interp.models.language_model import LanguageModel
from interp.models.reading import is_followed, stated_batch


Sequences = RepeatedTokens | Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Predicted:
    """Token sequences and the tokens in them whose prediction counts.

    Attributes:
        ids: The sequences.
        counts: Whether a prediction counts; place i is about token i + 1.
    """

    ids: tuple[tuple[int, ...], ...]
    counts: Bool[np.ndarray, "sequence next"]

    def batch(self, model: LanguageModel, rows: Sequence[int]) -> "Batch":
        """Some of the sequences, padded on the right, on the model's device."""
        own = [self.ids[row] for row in rows]
        input_ids, mask = padded(own, [len(row) for row in own], padding_id(model))
        width, device = input_ids.shape[1] - 1, model.device
        return Batch(
            ids=input_ids.to(device),
            mask=None if mask is None else mask.to(device),
            counts=torch.as_tensor(self.counts[list(rows), :width], device=device),
        )

    def stated(
        self, model: LanguageModel, rows: Sequence[int]
    ) -> AbstractContextManager[None]:
        """Tells edits in force which sequence each row of the passes inside is."""
        if not is_followed(model.hf):
            return nullcontext()
        return stated_batch(
            model.hf,
            prompt_lengths=[len(self.ids[row]) for row in rows],
            rows=rows,
            n_rows=len(self.ids),
        )

    def run(
        self,
        model: LanguageModel,
        rows: Sequence[int],
        batch: "Batch",
        listeners: Iterable[tuple[HookPoint, Callback]] = (),
        *,
        watched: bool = True,
    ) -> Float[Tensor, "row pos vocab"]:
        """One forward pass with listeners, in force as long as it takes.

        Args:
            model: The model, whose lock is held.
            rows: Which sequences the rows of the batch are.
            batch: These sequences, from `batch`.
            listeners: Where to listen, and who.
            watched: Whether attention patterns are listened to.

        Returns:
            The logits.
        """
        with ExitStack() as stack:
            stack.enter_context(self.stated(model, rows))
            for point, callback in listeners:
                for remove in plant(point, callback):
                    stack.callback(remove)
            arguments = {}
            if watched:
                arguments = stack.enter_context(watched_attention(model.hf))
            return model.hf(
                input_ids=batch.ids,
                attention_mask=batch.mask,
                use_cache=False,
                **arguments,
            ).logits


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Some sequences, ready to be run.

    Attributes:
        ids: The tokens.
        mask: Which are real; None if all are.
        counts: Whether a prediction counts.
    """

    ids: Int[Tensor, "batch pos"]
    mask: Int[Tensor, "batch pos"] | None
    counts: Bool[Tensor, "batch next"]

    @property
    def real(self) -> Bool[Tensor, "batch pos"]:
        """Which tokens are not padding."""
        return (torch.ones_like(self.ids) if self.mask is None else self.mask).bool()


def predicted_tokens(
    model: LanguageModel,
    sequences: Sequences,
    *,
    targets: Sequence[Sequence[int]] | None = None,
) -> Predicted:
    """The sequences with the predictions that count.

    Args:
        model: Its vocabulary and context length bound the sequences.
        sequences: Token ids.
        targets: For each sequence the places of the tokens to be predicted, 1 or later.
            By default those which a model that remembers can know: in repeated tokens
            the second and later copies, without the very first token of the second;
            in other sequences all but the first token.

    Raises:
        PromptError: If a sequence is too short or too long, or holds foreign ids.
        PositionError: If a sequence has no such place, or none is named at all.

    Example:
        >>> from tiny import tiny_model
        >>> import interp
        >>> model = interp.load(tiny_model("llama"))
        >>> found = predicted_tokens(model, [[5, 6, 7]], targets=[[2]])
        >>> found.counts.tolist()
        [[False, True]]
    """
    given = sequences.ids if isinstance(sequences, RepeatedTokens) else sequences
    rows = [[int(token) for token in row] for row in given]
    if not rows or min(map(len, rows)) < 2:
        raise PromptError(
            "A sequence of one token predicts nothing."
            if rows
            else "No sequence was given.",
            expected="Sequences of two tokens or more.",
        )
    ids = model.tokenize(rows).ids
    counts = np.zeros((len(ids), max(map(len, ids)) - 1), dtype=bool)
    if targets is not None:
        _fill(counts, ids, targets)
    elif isinstance(sequences, RepeatedTokens):
        first = int(sequences.bos is not None)
        for row, period in enumerate(sequences.periods.tolist()):
            counts[row, first + period :] = True
    else:
        for row, tokens in enumerate(ids):
            counts[row, : len(tokens) - 1] = True
    return Predicted(ids=tuple(tuple(row) for row in ids), counts=counts)


def predictions(
    logits: Float[Tensor, "row pos vocab"],
    ids: Int[Tensor, "row pos"],
    counts: Bool[Tensor, "row next"],
) -> tuple[Float[Tensor, " row"], Float[Tensor, " row"]]:
    """Loss in nats and logit of the right token, averaged over what counts.

    Args:
        logits: What the model says after each token.
        ids: The tokens.
        counts: Which predictions count; a row without any gives NaN.
    """
    said = logits[:, :-1][counts].float()
    right = said.gather(-1, ids[:, 1:][counts][:, None]).squeeze(-1)
    loss = said.logsumexp(dim=-1) - right
    row = counts.nonzero()[:, 0]
    total = torch.zeros(2, len(ids), dtype=torch.float64, device=logits.device)
    total.index_add_(1, row, torch.stack([loss, right]).double())
    means = total / counts.sum(dim=-1)
    return means[0], means[1]


def _fill(
    counts: np.ndarray,
    ids: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
) -> None:
    if len(targets) != len(ids):
        raise PositionError(
            f"Targets were given for {len(targets)} sequences.",
            expected=f"There are {len(ids)}.",
        )
    for row, places in enumerate(targets):
        for place in places:
            if not 1 <= place < len(ids[row]):
                raise PositionError(
                    f"Sequence {row} has no token {place} to predict.",
                    expected=f"Places run from 1 to {len(ids[row]) - 1}.",
                )
            counts[row, place - 1] = True
    if not counts.any():
        raise PositionError(
            "No token to predict was named.", expected="At least one in all."
        )
