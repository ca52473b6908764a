"""Instructions, and the contrast of harmful and harmless ones with its splits."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from interp.data.given import table_of_source
from interp.data.statements import fingerprint
from interp.errors import DataError, EmptyClassError


logger = logging.getLogger("interp.data")

# The sizes of Arditi et al. (2024); shorter lists are cut in the same proportions.
DEFAULT_SIZES = (128, 32, 100)
MIN_SIZES = (4, 2, 2)
# Two lists that share more than this are one list given twice.
MAX_SHARE_IN_BOTH = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Instructions:
    """Instructions of one file, each once.

    Attributes:
        name: The file or data set.
        texts: The instructions, without surrounding white space.
        fingerprint: Hash of the texts in their order.
        near_duplicates: How many were left out because they differ from an earlier one
            in case, punctuation or spaces only.
    """

    name: str
    texts: tuple[str, ...]
    fingerprint: str
    near_duplicates: int = 0

    def __len__(self) -> int:
        return len(self.texts)

    def __repr__(self) -> str:
        return f"Instructions({self.name!r}, {len(self)} instructions)"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstructionSplits:
    """One class of instructions, cut in three."""

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Contrast:
    """Harmful and harmless instructions, split with a seed.

    Attributes:
        harmful: The instructions that should be refused.
        harmless: The instructions that should be followed.
        near_duplicates: How many near-duplicates were left out, harmful and harmless:
            no split of one class shares a text with another split of it.
        in_both: How many instructions stood in both lists and were left out.
        fingerprint: Hash of all splits.
        notes: What was left out or made smaller and why, in sentences.
    """

    harmful: InstructionSplits
    harmless: InstructionSplits
    near_duplicates: tuple[int, int]
    in_both: int
    fingerprint: str
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        sizes = "+".join(
            str(len(part))
            for part in (self.harmful.train, self.harmful.val, self.harmful.test)
        )
        return f"Contrast({sizes} harmful and as many harmless, {self.fingerprint})"

    def to_dataframe(self) -> pd.DataFrame:
        """One row per instruction: class, split, instruction."""
        rows = [
            {"class": name, "split": split, "instruction": text}
            for name, splits in (("harmful", self.harmful), ("harmless", self.harmless))
            for split in ("train", "val", "test")
            for text in getattr(splits, split)
        ]
        return pd.DataFrame(rows)


def normalised(text: str) -> str:
    """A text in lower case without punctuation and repeated spaces.

    Example:
        >>> normalised("Write  a POEM!") == normalised("write a poem")
        True
    """
    stripped = " ".join(re.sub(r"[^\w\s]", "", text.lower()).split())
    # A text of nothing but symbols must not equal every other such text.
    return stripped or text.strip()


def overlap(first: Sequence[str], second: Sequence[str]) -> tuple[str, ...]:
    """The texts of `first` that are in `second`, up to case and punctuation.

    Example:
        >>> overlap(["Hello!", "World"], ["hello"])
        ('Hello!',)
    """
    known = {normalised(text) for text in second}
    return tuple(text for text in first if normalised(text) in known)


def instructions(
    source: str | Path | Sequence[str | Path], *, column: str = "instruction"
) -> Instructions:
    r"""The instructions of one or several files or data sets, near-duplicates once.

    Args:
        source: A JSON list of objects or texts, JSON Lines, CSV, TSV, Parquet, a text
            file with one instruction per line, or a data set of the hub; or several.
        column: The column of the instructions.

    Raises:
        DataError: If something cannot be read; the message names file, line and value.
        OfflineError: If a data set must come from the hub and it cannot be reached.

    Example:
        >>> path = getfixture("tmp_path") / "harmless.txt"
        >>> _ = path.write_text("Write a poem.\nwrite a poem\nSing.\n")
        >>> instructions(path).texts
        ('Write a poem.', 'Sing.')
    """
    sources = [source] if isinstance(source, str | Path) else list(source)
    names: list[str] = []
    texts: dict[str, str] = {}
    count = 0
    for one in sources:
        table = table_of_source(one, text_column=column)
        table.require(column, option="column")
        names.append(table.name)
        for text in table.texts(column):
            texts.setdefault(normalised(text), text)
            count += 1
    if not texts:
        raise DataError("There are no instructions.", remedy="Name at least one file.")
    kept = tuple(texts.values())
    return Instructions(
        name=", ".join(names),
        texts=kept,
        fingerprint=fingerprint(kept),
        near_duplicates=count - len(kept),
    )


def contrast(
    harmful: Instructions,
    harmless: Instructions,
    *,
    n_train: int | None = None,
    n_val: int | None = None,
    n_test: int | None = None,
    seed: int = 0,
) -> Contrast:
    """Harmful and harmless instructions in three splits of equal size per class.

    Args:
        harmful: Instructions that should be refused.
        harmless: Instructions that should be followed.
        n_train: How many of each class to fit on (128 by default).
        n_val: How many of each class to choose on (32 by default).
        n_test: How many of each class to report on (100 by default). When no size is
            given and a list is too short, all three shrink in proportion.
        seed: Feeds the shuffle.

    Raises:
        DataError: If the lists are too short, or are the same list.

    Source:
        Sizes: Arditi et al. (2024), arXiv:2406.11717.

    Example:
        >>> texts = tuple(f"instruction {i}" for i in range(20))
        >>> first = Instructions(name="a", texts=texts[:10], fingerprint="")
        >>> second = Instructions(name="b", texts=texts[10:], fingerprint="")
        >>> contrast(first, second, n_train=6, n_val=2, n_test=2).near_duplicates
        (0, 0)
    """
    shared = {normalised(text) for text in overlap(harmful.texts, harmless.texts)}
    shorter = min(len(harmful), len(harmless))
    if len(shared) > MAX_SHARE_IN_BOTH * shorter:
        raise DataError(
            f"{len(shared)} of {shorter} instructions are in {harmful.name} and in "
            f"{harmless.name}.",
            expected="Harmful and harmless instructions are two different lists.",
            remedy="Check that you did not name one file twice.",
        )
    lists = [
        tuple(text for text in given.texts if normalised(text) not in shared)
        for given in (harmful, harmless)
    ]
    sizes, notes = _sizes(
        (n_train, n_val, n_test), lists, (harmful.name, harmless.name)
    )
    if shared:
        notes = (f"Left out {len(shared)} instructions that are in both lists.", *notes)
    for note in notes:
        logger.warning(note)
    parts = [
        _split(texts, sizes, np.random.default_rng([seed, which]))
        for which, texts in enumerate(lists)
    ]
    return Contrast(
        harmful=parts[0],
        harmless=parts[1],
        near_duplicates=(harmful.near_duplicates, harmless.near_duplicates),
        in_both=len(shared),
        fingerprint=fingerprint(*((part.train, part.val, part.test) for part in parts)),
        notes=notes,
    )


def _sizes(
    asked: tuple[int | None, int | None, int | None],
    lists: Sequence[tuple[str, ...]],
    names: tuple[str, str],
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    shortest = min(range(2), key=lambda which: len(lists[which]))
    available, name = len(lists[shortest]), names[shortest]
    sizes = tuple(
        default if given is None else given
        for given, default in zip(asked, DEFAULT_SIZES, strict=True)
    )
    if min(sizes) < 1:
        raise EmptyClassError(
            f"The splits have the sizes {sizes}.", expected="Each needs at least one."
        )
    if sum(sizes) <= available:
        return sizes, ()
    if any(given is not None for given in asked) or available < sum(MIN_SIZES):
        needed = sum(sizes) if any(asked) else sum(MIN_SIZES)
        raise DataError(
            f"{name} has {available} different instructions.",
            expected=f"At least {needed} are needed for train, validation and test.",
            remedy="Give a longer list or ask for smaller splits.",
        )
    spare = available - sum(MIN_SIZES)
    wanted = [size - least for size, least in zip(sizes, MIN_SIZES, strict=True)]
    cut = tuple(
        least + spare * extra // sum(wanted)
        for least, extra in zip(MIN_SIZES, wanted, strict=True)
    )
    said = f"{cut[0]} for training, {cut[1]} for validation and {cut[2]} for the test"
    return cut, (f"{name} has only {available} instructions: {said} are used.",)


def _split(
    texts: tuple[str, ...], sizes: tuple[int, ...], rng: np.random.Generator
) -> InstructionSplits:
    shuffled = tuple(texts[i] for i in rng.permutation(len(texts)).tolist())
    first, second, third = np.cumsum(sizes).tolist()
    return InstructionSplits(
        train=shuffled[:first],
        val=shuffled[first:second],
        test=shuffled[second:third],
    )
