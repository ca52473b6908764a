"""Texts that stand in two splits and differ in case, punctuation or spaces only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from interp.data.instructions import normalised


@dataclass(frozen=True, slots=True, kw_only=True)
class NearDuplicate:
    """A text of one split that is in a later one too, but for case and punctuation."""

    first_split: str
    first_text: str
    second_split: str
    second_text: str


def near_duplicates(
    splits: Mapping[str, Sequence[str]],
) -> tuple[NearDuplicate, ...]:
    """The texts that stand in more than one split, up to case and punctuation.

    What is fitted on one split and tested on such a text is tested on what it was
    fitted on. Repeats within one split are not listed.

    Args:
        splits: The texts of each split, by its name.

    Returns:
        Each text of a split beside the first like it of every earlier split, in the
        order of the splits.

    Example:
        >>> splits = {"train": ["Write a poem."], "test": ["Sing!", "write a poem"]}
        >>> (found,) = near_duplicates(splits)
        >>> found.first_split, found.second_text
        ('train', 'write a poem')
    """
    seen: dict[str, dict[str, str]] = {}
    found: list[NearDuplicate] = []
    for split, texts in splits.items():
        here: dict[str, str] = {}
        for text in texts:
            key = normalised(text)
            if key not in here:
                found += [
                    NearDuplicate(
                        first_split=earlier,
                        first_text=first,
                        second_split=split,
                        second_text=text,
                    )
                    for earlier, first in seen.get(key, {}).items()
                ]
            here.setdefault(key, text)
        for key, text in here.items():
            seen.setdefault(key, {})[split] = text
    return tuple(found)
