"""Which rows of a store are meant: a number, a slice, a list or a mask."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from interp.errors import DataError


RowChoice = (
    int
    | slice
    | Sequence[int]
    | Sequence[bool]
    | np.ndarray
    | Shaped[Tensor, " row"]
    | pd.Series
)


def row_numbers(rows: RowChoice, n_rows: int) -> Int[np.ndarray, " chosen"]:
    """The chosen rows as numbers from 0, in the order asked.

    Raises:
        DataError: If a row does not exist or the choice cannot be read.
    """
    if isinstance(rows, slice):
        return np.arange(n_rows)[rows]
    index = np.atleast_1d(np.asarray(rows))
    if index.dtype == bool and index.shape != (n_rows,):
        raise DataError(
            f"A mask of the shape {index.shape} for a store of {n_rows} rows.",
            expected="A mask has one entry for each row.",
        )
    if index.dtype == bool:
        return np.flatnonzero(index)
    if index.size == 0:
        return np.empty(0, dtype=np.int64)
    if index.ndim != 1 or not np.issubdtype(index.dtype, np.integer):
        raise DataError(
            f"Cannot choose rows with {rows!r}.",
            expected="Rows are a number, a slice, a list of numbers or a mask.",
        )
    outside = index[(index < -n_rows) | (index >= n_rows)]
    if len(outside):
        raise DataError(
            f"There is no row {outside[0]} in a store of {n_rows} rows.",
            expected=f"Rows are counted from 0 to {n_rows - 1}.",
        )
    return np.where(index < 0, index + n_rows, index).astype(np.int64)


def compact(index: Int[np.ndarray, " row"]) -> "slice | Int[Tensor, ' row']":
    """The same rows as a slice where they follow each other: copied at once."""
    first, last = int(index[0]), int(index[-1])
    if last - first + 1 == len(index) and bool((np.diff(index) == 1).all()):
        return slice(first, last + 1)
    return torch.from_numpy(index)
