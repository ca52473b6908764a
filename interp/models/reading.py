"""How far a forward pass has read in each prompt: past the cache, without padding.

The hooks of one forward pass see a slice of the text: everything at once, the next
piece, or one generated token. A `Reader` tells for each pass which token of its row
every slot is, and how long the prompts are.

Prompt lengths are taken from the pass that starts a cache, or a text without a cache;
single tokens that continue that cache are generated ones. Code that knows better
(shared prefixes, rows in another order, generation without a cache) says so with
`stated_batch`; then nothing is guessed.
"""

import inspect
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from interp.errors import PositionError, ShapeError


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStatement:
    """What the caller of a forward pass knows about its rows.

    Attributes:
        prompt_lengths: Tokens of each row's whole prompt, without padding, with a
            shared prefix.
        rows: Which prompt of the user each row is.
        n_rows: How many prompts the user gave.
    """

    prompt_lengths: tuple[int, ...]
    rows: tuple[int, ...]
    n_rows: int


# Changed only under the model's lock, like hooks.
_statements: "weakref.WeakKeyDictionary[nn.Module, BatchStatement]" = (
    weakref.WeakKeyDictionary()
)


# Models that are followed now: somebody edits them, row by row or place by place.
_followed: "weakref.WeakKeyDictionary[nn.Module, int]" = weakref.WeakKeyDictionary()


def is_followed(hf: nn.Module) -> bool:
    """Whether edits are in force, so that rows and positions must not be rearranged.

    A prefix that is computed once for all rows cannot be edited for each of them.
    """
    return _followed.get(hf, 0) > 0


@contextmanager
def stated_batch(
    hf: nn.Module,
    *,
    prompt_lengths: Sequence[int],
    rows: Sequence[int] | None = None,
    n_rows: int | None = None,
) -> Iterator[None]:
    """State what the rows of the forward passes inside the block are.

    The passes may have a multiple of these rows (beams, several samples): then each
    row stands for its neighbours, as `transformers` arranges them.

    Args:
        hf: The model whose passes are meant; its lock has to be held.
        prompt_lengths: Tokens of each row's whole prompt, without padding.
        rows: Which of the user's prompts each row is; by default in their order.
        n_rows: How many prompts the user gave; by default as many as rows.
    """
    before = _statements.get(hf)
    rows = tuple(range(len(prompt_lengths))) if rows is None else tuple(rows)
    _statements[hf] = BatchStatement(
        prompt_lengths=tuple(prompt_lengths),
        rows=rows,
        n_rows=len(rows) if n_rows is None else n_rows,
    )
    try:
        yield
    finally:
        if before is None:
            del _statements[hf]
        else:
            _statements[hf] = before


def statement_of(hf: nn.Module) -> BatchStatement | None:
    """What is stated of the passes of a model inside `stated_batch`."""
    return _statements.get(hf)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reading:
    """Where one forward pass stands.

    Attributes:
        index: Which token of its row each slot is, counted from 0 without padding.
        real: Which slots hold a token; None where nothing is padded.
        prompt_lengths: Tokens of each row's prompt, or None if that cannot be known.
        starts: Whether this pass reads the beginning of the text.
        rows: Which of the user's prompts each row is.
        n_rows: How many prompts the user gave.
    """

    index: Int[Tensor, "batch pos"]
    real: Bool[Tensor, "batch pos"] | None
    prompt_lengths: Int[Tensor, " batch"] | None
    starts: bool
    rows: Int[Tensor, " batch"]
    n_rows: int


def stated_reading(
    tokens: Int[Tensor, "batch pos"],
    mask: Int[Tensor, "batch all_pos"] | None,
    statement: BatchStatement,
    *,
    n_past: int = 0,
) -> Reading:
    """Where a forward pass will stand that runs where no `Reader` can follow it.

    Args:
        tokens: The tokens that it gets.
        mask: Which tokens are real, with those of the cache in front; None for all.
        statement: What its rows are.
        n_past: How many tokens, padding included, the cache holds.
    """
    real, index = _slots(mask, tokens, n_past)
    lengths, rows, n_rows = _stated(statement, len(tokens), tokens.device)
    return Reading(
        index=index,
        real=real,
        prompt_lengths=lengths,
        starts=n_past == 0,
        rows=rows,
        n_rows=n_rows,
    )


class Reader:
    """Follows the forward passes of one model while it is planted.

    Args:
        hf: The model.
        blocks: The dotted path of its list of blocks; the module above it gets the
            mask and the cache.
    """

    def __init__(self, hf: nn.Module, blocks: str) -> None:
        self._hf = weakref.ref(hf)
        self._trunk = hf.get_submodule(blocks.rpartition(".")[0])
        self._signature = inspect.signature(self._trunk.forward)
        self._passes = 0
        # How long the prompts behind each cache are, None where pieces hide it.
        self._known: weakref.WeakKeyDictionary[Any, Tensor | None]
        self._known = weakref.WeakKeyDictionary()
        self._reading: Reading | None = None

    def plant(self) -> Callable[[], None]:
        """Start to follow; returns the function that ends it."""
        handles = [
            self._trunk.register_forward_pre_hook(self._note, with_kwargs=True),
            self._trunk.register_forward_hook(self._note_cache),
        ]
        hf = self._hf()
        assert hf is not None
        _followed[hf] = _followed.get(hf, 0) + 1

        def remove() -> None:
            for handle in reversed(handles):
                handle.remove()
            _followed[hf] -= 1

        return remove

    @property
    def passes(self) -> int:
        """How many forward passes there have been: names the running one."""
        return self._passes

    @property
    def reading(self) -> Reading:
        """Where the running forward pass stands."""
        assert self._reading is not None, "no forward pass has been seen"
        return self._reading

    def _note(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        call = _bound(self._signature, args, kwargs)
        tokens = call.get("input_ids")
        if tokens is None:
            tokens = call["inputs_embeds"]
        batch, n_new = tokens.shape[:2]
        cache = call.get("past_key_values")
        n_past = _length(cache)
        real, index = _slots(call.get("attention_mask"), tokens, n_past)
        hf = self._hf()
        statement = None if hf is None else _statements.get(hf)
        ends = index[:, -1] + 1 if n_new else index.new_zeros(batch)
        if statement is not None:
            lengths, rows, n_rows = _stated(statement, batch, tokens.device)
        else:
            lengths = self._guessed(cache, n_past=n_past, n_new=n_new, ends=ends)
            rows, n_rows = torch.arange(batch, device=tokens.device), batch
        self._passes += 1
        self._reading = Reading(
            index=index,
            real=real,
            prompt_lengths=lengths,
            starts=n_past == 0,
            rows=rows,
            n_rows=n_rows,
        )

    def _guessed(
        self, cache: object, *, n_past: int, n_new: int, ends: Tensor
    ) -> Tensor | None:
        """The prompts' lengths, by whether this pass starts or continues a text."""
        if n_past == 0:
            lengths = ends
        elif cache not in self._known:
            # A cache from elsewhere that is continued by many tokens is a prefix.
            lengths = ends if n_new > 1 else None
        else:
            lengths = self._known[cache]
            if n_new > 1 or (lengths is not None and len(lengths) != len(ends)):
                # Pieces of a prompt, or tokens checked for a draft: no way to tell.
                lengths = None
        if cache is not None:
            self._known[cache] = lengths
        return lengths

    def _note_cache(self, module: nn.Module, args: tuple, output: Any) -> None:
        """Remember a cache that the model has made itself."""
        cache = getattr(output, "past_key_values", None)
        if cache is not None and self._reading is not None:
            self._known.setdefault(cache, self._reading.prompt_lengths)


def _bound(
    signature: inspect.Signature, args: tuple, kwargs: dict[str, Any]
) -> dict[str, Any]:
    bound = signature.bind_partial(*args, **kwargs).arguments
    return {**kwargs, **bound}


def _length(cache: Any) -> int:
    if cache is None:
        return 0
    if hasattr(cache, "get_seq_length"):
        return int(cache.get_seq_length())
    return cache[0][0].shape[-2]


def _slots(
    mask: Any, tokens: Tensor, n_past: int
) -> tuple[Bool[Tensor, "batch pos"] | None, Int[Tensor, "batch pos"]]:
    """Which slots of this pass hold a token, and which token of its row that is."""
    batch, n_new = tokens.shape[:2]
    if mask is None:
        index = torch.arange(n_past, n_past + n_new, device=tokens.device)
        return None, index.expand(batch, n_new)
    if not isinstance(mask, Tensor) or mask.dim() != 2:
        raise PositionError(
            "An edited model was run with an attention mask that is not one row per"
            " prompt.",
            expected="The mask tells which tokens are padding: [batch, pos].",
            remedy="Give such a mask, and no static cache.",
        )
    mask = mask[:, : n_past + n_new].bool()
    if mask.shape[1] < n_past + n_new:
        ones = mask.new_ones(batch, n_past + n_new - mask.shape[1])
        mask = torch.cat([ones, mask], dim=1)
    index = (mask.long().cumsum(dim=1) - 1)[:, n_past:]
    return mask[:, n_past:], index


def _stated(
    statement: BatchStatement, batch: int, device: torch.device
) -> tuple[Tensor, Tensor, int]:
    n_stated = len(statement.rows)
    if batch % n_stated:
        raise ShapeError(
            f"A forward pass has {batch} rows.",
            expected=f"{n_stated} rows were stated, or a multiple of them.",
        )
    copies = batch // n_stated
    lengths = torch.tensor(statement.prompt_lengths, device=device)
    rows = torch.tensor(statement.rows, device=device)
    return (
        lengths.repeat_interleave(copies),
        rows.repeat_interleave(copies),
        statement.n_rows,
    )
