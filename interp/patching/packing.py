"""Rows of a patching grid packed behind each other, without padding.

Patching position t leaves everything before t as it was. So the row of a patched
position holds the tokens from t to the end; the keys and values of earlier ones come
from the unpatched run. All rows of a layer stand in one sequence, and the mask lets a
token see the prefix, the unpatched tokens before its row, and its own row up to itself:

    unpatched keys        row t=1   row t=2   row t=3
    prefix 0  1  2        1  2  3   2  3      3
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor


# Attention grows with the square of the packed length. Up to here it is small beside
# the matrices of a model of a few hundred dimensions, and calls are few enough.
MAX_PACKED = 384


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Packing:
    """Which token each slot of the packed sequence is, and what it may see.

    Attributes:
        rows: The patched grid position of each row.
        position: The grid position of each slot.
        first: The slot of each row's first token, the patched one.
        last: The slot of each row's last token.
        reach: How many unpatched grid positions are needed as keys.
        key: The position of every key, counted from the prefix' start.
        visible: Which keys belong to the text before a slot, whatever the model's mask.
    """

    rows: Int[Tensor, " row"]
    position: Int[Tensor, " slot"]
    first: Int[Tensor, " row"]
    last: Int[Tensor, " row"]
    reach: int
    key: Int[Tensor, " key"]
    visible: Bool[Tensor, "slot key"]

    @property
    def size(self) -> int:
        return len(self.position)

    def mask(self, recorded: Tensor | None) -> Tensor:
        """The model's own attention mask, for the packed slots and their keys.

        Args:
            recorded: The mask of the unpatched run, `[batch, head, pos, key]`, with one
                row for every batch entry, as nothing is padded; None for a causal one.
        """
        if recorded is None:
            return self.visible[None, None]
        recorded = recorded[:1].index_select(-2, self.position)
        recorded = recorded.index_select(-1, self.key)
        if recorded.dtype == torch.bool:
            return recorded & self.visible
        return recorded.masked_fill(~self.visible, torch.finfo(recorded.dtype).min)


def pack(
    rows: Sequence[int], *, length: int, prefix: int, device: torch.device
) -> Packing:
    """Pack the rows of some patched positions.

    Args:
        rows: The patched grid positions, ascending.
        length: How many grid positions there are.
        prefix: How many tokens stand before the grid.
        device: Where the indices are used.

    Example:
        >>> packing = pack([1, 3], length=4, prefix=2, device=torch.device("cpu"))
        >>> packing.position.tolist(), packing.first.tolist(), packing.last.tolist()
        ([1, 2, 3, 3], [0, 3], [2, 3])
        >>> packing.visible[-1].int().tolist()  # 2 of the prefix, 3 unpatched, itself
        [1, 1, 1, 1, 1, 0, 0, 0, 1]
    """
    starts = torch.tensor(list(rows))
    sizes = length - starts
    row = torch.repeat_interleave(torch.arange(len(starts)), sizes)
    last = sizes.cumsum(0) - 1
    first = last - sizes + 1
    position = torch.arange(len(row)) - first[row] + starts[row]
    reach = int(starts.max())
    before = torch.arange(reach)[None, :] < starts[row][:, None]
    own = (row[:, None] == row[None, :]) & (position[None, :] <= position[:, None])
    visible = torch.cat(
        [torch.ones(len(row), prefix, dtype=torch.bool), before, own], dim=1
    )
    key = torch.cat([torch.arange(prefix + reach), prefix + position])
    return Packing(
        rows=starts.to(device),
        position=position.to(device),
        first=first.to(device),
        last=last.to(device),
        reach=reach,
        key=key.to(device),
        visible=visible.to(device),
    )


def split_rows(rows: Sequence[int], length: int) -> list[tuple[int, ...]]:
    """Rows in pieces whose packed length stays moderate.

    Example:
        >>> split_rows(range(40), 40)[0]
        (0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
    """
    pieces: list[tuple[int, ...]] = []
    piece: list[int] = []
    size = 0
    for row in rows:
        if piece and size + length - row > MAX_PACKED:
            pieces.append(tuple(piece))
            piece, size = [], 0
        piece.append(row)
        size += length - row
    return [*pieces, tuple(piece)] if piece else pieces


def packed_size(rows: Sequence[int], length: int) -> int:
    """How many slots the largest piece of some rows has.

    Example:
        >>> packed_size([0, 1], length=3)
        5
    """
    return max(
        (sum(length - row for row in piece) for piece in split_rows(rows, length)),
        default=0,
    )
