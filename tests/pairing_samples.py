"""Two transparent tokenizers and a made-up file, for tests of pairing."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import interp
from interp.data import Statements


@dataclass(frozen=True)
class Tokens:
    ids: tuple[tuple[int, ...], ...]
    offsets: tuple[tuple[tuple[int, int], ...], ...] | None


def characters(texts: list[str]) -> Tokens:
    """One token for each character, after a token that stands for no character."""
    return Tokens(
        ids=tuple((0, *map(ord, text)) for text in texts),
        offsets=tuple(
            ((0, 0), *((i, i + 1) for i in range(len(text)))) for text in texts
        ),
    )


def words() -> Callable[[list[str]], Tokens]:
    """One token for each word with the blank before it, and for each other sign."""
    known: dict[str, int] = {}

    def tokenize(texts: list[str]) -> Tokens:
        found = [list(re.finditer(r" ?\w+|[^\w]", text)) for text in texts]
        return Tokens(
            ids=tuple(
                tuple(known.setdefault(one[0], len(known)) for one in row)
                for row in found
            ),
            offsets=tuple(tuple(one.span() for one in row) for row in found),
        )

    return tokenize


def written(folder: Path, name: str, rows: list[str], head: str = "") -> Statements:
    path = folder / name
    path.write_text("\n".join([head or "statement,label", *rows]) + "\n")
    return interp.data.statements(path)


def towns(folder: Path, n: int = 24, name: str = "cities.csv") -> Statements:
    """Towns in three lands, each with a true and a false statement."""
    lands = ("Ab", "Bcd", "Ce")
    rows = []
    for i in range(n):
        town = "Town" + chr(97 + i % 26) * (1 + i % 2)
        for land in (lands[i % 3], lands[(i + 1) % 3]):
            label = int(land == lands[i % 3])
            rows.append(f"The city of {town} is in {land}.,{label}")
    return written(folder, name, rows)
