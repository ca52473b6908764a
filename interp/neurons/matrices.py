"""Matrices that are read a few rows at a time, from memory or from files."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from safetensors import safe_open
from torch import Tensor


# A chunk of rows in float64 stays below this.
CHUNK_BYTES = 64 * 2**20


@runtime_checkable
class Matrix(Protocol):
    """A matrix of which some rows can be had."""

    @property
    def shape(self) -> tuple[int, int]: ...

    def rows(self, start: int, stop: int) -> Float[Tensor, "row column"]: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldMatrix:
    """A matrix in memory."""

    weight: Float[Tensor, "row column"]

    @property
    def shape(self) -> tuple[int, int]:
        return self.weight.shape[0], self.weight.shape[1]

    def rows(self, start: int, stop: int) -> Float[Tensor, "row column"]:
        return self.weight[start:stop].detach()


@dataclass(frozen=True, slots=True, kw_only=True)
class FiledMatrix:
    """A matrix in a safetensors file.

    The file is opened for each chunk: what a mapping has touched counts as memory of
    this process until it is closed.
    """

    file: Path
    key: str
    shape: tuple[int, int]

    def rows(self, start: int, stop: int) -> Float[Tensor, "row column"]:
        with safe_open(self.file, framework="pt") as opened:
            return opened.get_slice(self.key)[start:stop].clone()


def chunks(
    matrix: Matrix, *, device: torch.device | None = None, copies: int = 1
) -> Iterator[tuple[int, int, Float[Tensor, "row column"]]]:
    """The rows of a matrix in float64, some at a time, with where they begin and end.

    Args:
        matrix: The matrix.
        device: Where the rows are wanted; where they are by default.
        copies: How many arrays of that size the caller will hold.

    Example:
        >>> held = HeldMatrix(weight=torch.eye(3))
        >>> [(start, stop) for start, stop, _ in chunks(held)]
        [(0, 3)]
    """
    n, width = matrix.shape
    step = max(1, CHUNK_BYTES // (8 * max(width, 1) * copies))
    for start in range(0, n, step):
        stop = min(start + step, n)
        yield start, stop, matrix.rows(start, stop).to(device=device).double()
