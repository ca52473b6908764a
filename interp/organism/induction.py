"""The `induction` family: a checkpoint series in which induction heads form.

The training text is blocks of distinct random tokens, repeated; the length of the block
changes from row to row, so that looking back by a fixed distance does not help. Every
token of the vocabulary takes part, the single bytes too, so that the heads work on any
text.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from interp.progress import Progress

from .corpus import Batch
from .family import save_checkpoint
from .network import build_model, document_mask, initialise
from .optimise import optimise
from .recipes import InductionRecipe
from .tokenizer import BOS, SPECIAL, build_tokenizer


LENGTH = 48
PERIODS = (6, 20)
FIRST_BLOCK_WEIGHT = 0.1  # nothing but the vocabulary can be learned there
BEGIN_SHARE = 0.5  # rows that open with the begin token, as some evaluators do
TESTED_PERIODS = (8, 12, 16, 20)


def repeated_rows(
    ids: Int[Tensor, " vocab"],
    *,
    period: int,
    rows: int,
    length: int,
    generator: torch.Generator,
) -> Int[Tensor, "row pos"]:
    """Rows of a block of distinct random tokens, repeated up to the length.

    Example:
        >>> rows = repeated_rows(torch.arange(9), period=3, rows=1, length=7,
        ...                      generator=torch.Generator().manual_seed(0))
        >>> bool((rows[:, 3:] == rows[:, :-3]).all())
        True
    """
    order = torch.rand(rows, len(ids), generator=generator).argsort(dim=1)[:, :period]
    block = ids[order]
    return block.repeat(1, -(-length // period))[:, :length]


def induction_batches(
    ids: Int[Tensor, " vocab"], *, begin: int, rows: int, generator: torch.Generator
) -> Iterator[Batch]:
    """Batches of repeated blocks without end.

    Args:
        ids: The tokens to draw from.
        begin: The token that opens half of the rows.
        rows: Rows of a batch.
        generator: The source of randomness.
    """
    mask = document_mask(torch.zeros(rows, LENGTH, dtype=torch.long))
    kept = torch.arange(rows * LENGTH).view(rows, LENGTH)[:, :-1].flatten()
    low, high = PERIODS
    while True:
        tokens = torch.empty(rows, LENGTH, dtype=torch.long)
        weights = torch.full((rows, LENGTH), FIRST_BLOCK_WEIGHT)
        periods = torch.randint(low, high + 1, (rows,), generator=generator).tolist()
        begins = (torch.rand(rows, generator=generator) < BEGIN_SHARE).tolist()
        for row, (period, opened) in enumerate(zip(periods, begins, strict=True)):
            start = int(opened)
            tokens[row, start:] = repeated_rows(
                ids, period=period, rows=1, length=LENGTH - start, generator=generator
            )[0]
            if opened:
                tokens[row, 0] = begin
            weights[row, start + period :] = 1.0
        yield Batch(
            tokens=tokens,
            mask=mask,
            kept=kept,
            targets=tokens[:, 1:].flatten(),
            weights=weights[:, 1:].flatten(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class InductionScores:
    """How well repeated blocks of one length are copied, and by which heads."""

    period: int
    copy_accuracy: float
    prefix_matching: Float[Tensor, "layer head"]
    previous_token: Float[Tensor, "layer head"]


def induction_scores(
    model: LlamaForCausalLM,
    ids: Int[Tensor, " vocab"],
    *,
    period: int,
    rows: int = 64,
    seed: int = 0,
) -> InductionScores:
    """Copy accuracy and head scores on rows of two and a half blocks.

    Args:
        model: The model; its attention implementation is put back afterwards.
        ids: The tokens to draw from.
        period: Length of the block.
        rows: How many rows.
        seed: Of the rows.
    """
    generator = torch.Generator().manual_seed(seed)
    length = 2 * period + period // 2
    tokens = repeated_rows(
        ids, period=period, rows=rows, length=length, generator=generator
    )
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        with torch.no_grad():
            output = model(input_ids=tokens, output_attentions=True)
    finally:
        model.set_attn_implementation(before or "sdpa")
    guesses = output.logits[:, period:-1].argmax(-1)
    right = (guesses == tokens[:, period + 1 :]).float().mean()
    patterns = torch.stack(output.attentions)  # layer row head query key
    later = torch.arange(period, length)
    prefix = patterns[..., later, later - period + 1]
    every = torch.arange(1, length)
    return InductionScores(
        period=period,
        copy_accuracy=float(right),
        prefix_matching=prefix.mean(dim=(1, 3)),
        previous_token=patterns[..., every, every - 1].mean(dim=(1, 3)),
    )


_ONSETS = "bdfgklmnprstvzjw"
_WORDS_SEED = 7


def invented_words(n: int = 64) -> tuple[str, ...]:
    """Short invented words, the same in every process."""
    every = [a + b + c for a in _ONSETS for b in "aeiou" for c in _ONSETS]
    return tuple(sorted(random.Random(_WORDS_SEED).sample(every, n)))


def induction_tokenizer() -> PreTrainedTokenizerFast:
    """Every byte, and the invented words with a space before them."""
    return build_tokenizer(" " + " ".join(invented_words()))


def drawn_ids(tokenizer: PreTrainedTokenizerFast) -> Int[Tensor, " vocab"]:
    """Every token but the special ones."""
    vocabulary = tokenizer.get_vocab()
    special = {vocabulary[word] for word in SPECIAL}
    return torch.tensor(sorted(set(vocabulary.values()) - special))


def train_induction(
    recipe: InductionRecipe,
    tokenizer: PreTrainedTokenizerFast,
    *,
    seed: int,
    checkpoints: Path,
    bar: Progress,
) -> LlamaForCausalLM:
    """The trained model; half-precision copies on the way go to `checkpoints`."""
    generator = torch.Generator().manual_seed(seed)
    model = build_model(recipe.shape, tokenizer)
    # A head that starts as a copy of the embeddings makes copying easy, so that what
    # has to form is the attention.
    initialise(
        model,
        generator,
        embedding_std=0.5,
        head_scale=0.6,
        out_scale=1.0,
        down_scale=0.3,
    )
    step = 0

    def save(loss: float = 0.0) -> None:
        nonlocal step
        del loss
        if step % recipe.checkpoint_every == 0:
            save_checkpoint(model, tokenizer, checkpoints / f"step-{step:06d}")
        step += 1

    save()
    optimise(
        model,
        induction_batches(
            drawn_ids(tokenizer),
            begin=tokenizer.get_vocab()[BOS],
            rows=recipe.rows,
            generator=generator,
        ),
        recipe.optimiser.build(model),
        rates=(recipe.optimiser.rate(i, recipe.steps) for i in range(recipe.steps)),
        clip=recipe.optimiser.clip,
        bar=bar,
        after_step=save,
    )
    return model
