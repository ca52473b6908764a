"""Pairs of prompts that differ in a few tokens: what activation patching works on."""

from dataclasses import dataclass, replace

import numpy as np

from interp import atomic
from interp.errors import PositionError, PromptError, ShapeError
from interp.positions import common_start


Ids = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptPairs:
    """Clean and corrupted prompts as token ids, and what is read of them.

    The two prompts of a pair have the same number of tokens; pairs may differ in
    length. What is read is LD = logit[positive] - logit[negative] at the last position.

    Attributes:
        clean_ids: The prompt of each pair whose behaviour is to be explained.
        corrupted_ids: The same prompt with a few tokens exchanged.
        positive: The token whose logit counts for the clean answer.
        negative: The token whose logit counts against it.
        start: The first position of the grid of each pair. Everything before it, such
            as the demonstrations, is the same in both prompts.
        roles: What each position from `start` to the end is, as `"subject[0]"`.
        groups: What each pair is about; pairs of one group are not independent.
        name: What the pairs are, as a data set's name.

    Example:
        >>> pairs = PromptPairs(
        ...     clean_ids=((5, 6, 7),), corrupted_ids=((5, 9, 7),), positive=(1,),
        ...     negative=(2,), start=(1,), roles=(("subject[0]", "question 0"),),
        ...     groups=("Paris",),
        ... )
        >>> len(pairs), pairs.first_difference
        (1, (1,))
    """

    clean_ids: Ids
    corrupted_ids: Ids
    positive: tuple[int, ...]
    negative: tuple[int, ...]
    start: tuple[int, ...]
    roles: tuple[tuple[str, ...], ...]
    groups: tuple[str, ...]
    name: str = "pairs"

    def __post_init__(self) -> None:
        n_pairs = len(self.clean_ids)
        if not n_pairs:
            raise PromptError("There are no pairs.", expected="At least one is needed.")
        fields = ("corrupted_ids", "positive", "negative", "start", "roles", "groups")
        for name in fields:
            if len(getattr(self, name)) != n_pairs:
                raise ShapeError(
                    f"There are {n_pairs} clean prompts and"
                    f" {len(getattr(self, name))} entries of {name}.",
                    expected="Every field has one entry per pair.",
                )
        for pair in range(n_pairs):
            self._check(pair)

    def _check(self, pair: int) -> None:
        clean, corrupted = self.clean_ids[pair], self.corrupted_ids[pair]
        start = self.start[pair]
        if len(clean) != len(corrupted):
            raise PromptError(
                f"The prompts of pair {pair} have {len(clean)} and {len(corrupted)}"
                " tokens.",
                expected="Patching moves values between equal positions.",
                remedy="Pair prompts of the same length.",
            )
        if not 0 <= start < len(clean):
            raise PositionError(
                f"The grid of pair {pair} starts at position {start}.",
                expected=f"Its prompts have {len(clean)} tokens.",
            )
        if clean[:start] != corrupted[:start]:
            raise PromptError(
                f"The prompts of pair {pair} differ before position {start}.",
                expected="Everything before the grid is the same in both.",
                remedy="Let the grid start at the first token that differs, or before.",
            )
        if clean == corrupted:
            raise PromptError(
                f"The two prompts of pair {pair} are the same.",
                remedy="Leave the pair out: there is nothing to trace.",
            )
        if len(self.roles[pair]) != len(clean) - start:
            raise ShapeError(
                f"Pair {pair} has {len(self.roles[pair])} roles.",
                expected=f"One for each of its {len(clean) - start} grid positions.",
            )
        if self.positive[pair] == self.negative[pair]:
            raise PromptError(
                f"Pair {pair} has the token {self.positive[pair]} as positive and"
                " negative.",
                expected="Their logit difference would always be 0.",
            )

    def __len__(self) -> int:
        return len(self.clean_ids)

    @property
    def lengths(self) -> tuple[int, ...]:
        """How many grid positions each pair has."""
        return tuple(len(roles) for roles in self.roles)

    @property
    def first_difference(self) -> tuple[int, ...]:
        """The first token in which the two prompts of each pair differ."""
        return tuple(
            common_start(both)
            for both in zip(self.clean_ids, self.corrupted_ids, strict=True)
        )

    @property
    def fingerprint(self) -> str:
        """A hash of everything that decides the numbers."""
        return atomic.json_hash(
            [
                self.clean_ids,
                self.corrupted_ids,
                self.positive,
                self.negative,
                self.start,
                self.roles,
                self.groups,
            ]
        )

    def subset(self, rows: list[int] | np.ndarray) -> "PromptPairs":
        """Some of the pairs, in the order given."""
        chosen = [int(row) for row in rows]
        return replace(
            self,
            clean_ids=tuple(self.clean_ids[row] for row in chosen),
            corrupted_ids=tuple(self.corrupted_ids[row] for row in chosen),
            positive=tuple(self.positive[row] for row in chosen),
            negative=tuple(self.negative[row] for row in chosen),
            start=tuple(self.start[row] for row in chosen),
            roles=tuple(self.roles[row] for row in chosen),
            groups=tuple(self.groups[row] for row in chosen),
        )
