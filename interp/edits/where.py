"""Which tokens an edit concerns: the words of the user, resolved in a forward pass."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from interp.errors import ConfigError, PositionError
from interp.models.reading import Reader, Reading
from interp.positions import Positions, Spans


When = Literal["both", "prompt", "generated"]
# Of texts only "all" and "last" are known; others get a message that says so.
PositionsAsked = str | int | Sequence[int] | Sequence[Sequence[int]] | Positions | Spans
# Stands for "no position" in rows that name fewer than others.
_NOWHERE = -(2**62)


@dataclass(frozen=True, slots=True)
class Indices:
    """Token indices in the prompt, negative ones from its end.

    Attributes:
        rows: One tuple for each prompt, or a single one.
        shared: Whether the single one holds for every prompt.
    """

    rows: tuple[tuple[int, ...], ...]
    shared: bool


# None: every token.
Places = Indices | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Where:
    """The part of a site's value that an edit concerns in the running forward pass.

    Attributes:
        chosen: Which slots are edited; None for every slot, padding included.
        order: Which of the edit's positions each slot is; with `"all"`, which token of
            its row. Arbitrary in slots that are not chosen.
        rows: Which of the user's prompts each row is.
        n_rows: How many prompts there are.
        site: The site, for messages.
    """

    chosen: Bool[Tensor, "batch pos"] | None
    order: Int[Tensor, "batch pos"]
    rows: Int[Tensor, " batch"]
    n_rows: int
    site: str = ""

    def last(self, n: int) -> "Where":
        """The same for the last `n` slots only."""
        chosen = None if self.chosen is None else self.chosen[:, -n:]
        return replace(self, chosen=chosen, order=self.order[:, -n:])

    def on(self, device: torch.device) -> "Where":
        """The same on another device."""
        if self.order.device == device:
            return self
        return replace(
            self,
            chosen=None if self.chosen is None else self.chosen.to(device),
            order=self.order.to(device),
            rows=self.rows.to(device),
        )


def read_places(positions: object, when: str) -> Places:
    """The positions in their one spelling.

    Raises:
        PositionError: If they are none of the accepted kinds.
        ConfigError: If `when` does not exist, or does not go with the positions.
    """
    if when not in get_args(When):
        raise ConfigError(
            f"when={when!r} is unknown.", expected=f"One of {get_args(When)}."
        )
    places = _places(positions)
    if when == "generated" and places is not None:
        raise ConfigError(
            f"positions={positions!r} was given with when='generated'.",
            expected="Positions are places in the prompt.",
            remedy="Use positions='all' to edit the generated tokens.",
        )
    return places


class Locator:
    """Answers "which slots?" once per forward pass for all edits that ask the same."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._pass = -1
        self._found: dict[tuple[Places, When], Where] = {}

    def find(self, places: Places, when: When, *, site: str) -> Where:
        """The slots of the running forward pass, as `locate` tells them."""
        if self._pass != self._reader.passes:
            self._pass = self._reader.passes
            self._found.clear()
        asked = (places, when)
        if asked not in self._found:
            self._found[asked] = locate(self._reader.reading, places, when)
        return replace(self._found[asked], site=site)


def locate(reading: Reading, places: Places, when: When) -> Where:
    """Which slots of the running forward pass the places are.

    Raises:
        PositionError: If a prompt has no such position, or if it cannot be told where
            the prompts end.
    """
    if places is None:
        chosen, order = None, reading.index
        if when != "both":
            in_prompt = reading.index < _lengths(reading, f"when={when!r}")[:, None]
            chosen = in_prompt if when == "prompt" else ~in_prompt
            chosen = chosen if reading.real is None else chosen & reading.real
    else:
        wanted = _indices(reading, places)
        matches = reading.index[:, :, None] == wanted[:, None, :]
        if reading.real is not None:
            matches &= reading.real[:, :, None]
        chosen, order = matches.any(-1), matches.long().argmax(-1)
    return Where(chosen=chosen, order=order, rows=reading.rows, n_rows=reading.n_rows)


def _places(positions: object) -> Places:
    match positions:
        case "all":
            return None
        case "last":
            return Indices(((-1,),), shared=True)
        case Positions(kind="mean"):
            raise PositionError(
                "An edit was asked for at positions='mean'.",
                expected="A mean over positions can be read but not edited.",
                remedy="Use 'all', 'last' or indices.",
            )
        case Positions():
            return Indices(tuple(map(tuple, positions.index)), shared=False)
        case Spans():
            rows = tuple(tuple(range(*span)) for span in positions.spans)
            return Indices(rows, shared=False)
    found = _from_numbers(positions)
    if found is None:
        raise PositionError(
            f"Cannot edit at positions={positions!r}.",
            expected="Known: 'all', 'last', an index, a list of indices, such a list"
            " for each prompt, Spans, or what interp.positions.resolve returns.",
        )
    return found


def _from_numbers(positions: object) -> Indices | None:
    if isinstance(positions, str):
        return None
    try:
        if not isinstance(positions, Sequence):
            return Indices(((operator.index(positions),),), shared=True)  # type: ignore[arg-type]
        if all(isinstance(row, Sequence) for row in positions):
            rows = tuple(tuple(map(operator.index, row)) for row in positions)
            return Indices(rows, shared=False) if any(rows) else None
        return Indices((tuple(map(operator.index, positions)),), shared=True)
    except TypeError:
        return None


def _indices(reading: Reading, places: Indices) -> Int[Tensor, "batch place"]:
    """The places as token indices of each row of the batch."""
    if not places.shared and len(places.rows) != reading.n_rows:
        raise PositionError(
            f"Positions were given for {len(places.rows)} prompts.",
            expected=f"There are {reading.n_rows} prompts in this forward pass.",
        )
    most = max(map(len, places.rows))
    padded = [[*row, *[_NOWHERE] * (most - len(row))] for row in places.rows]
    wanted = torch.tensor(padded, device=reading.index.device)
    wanted = (
        wanted.expand(len(reading.rows), -1) if places.shared else wanted[reading.rows]
    )
    negative = (wanted < 0) & (wanted > _NOWHERE)
    if reading.prompt_lengths is None:
        if bool(negative.any()):
            _lengths(reading, "a position that counts from the end")
        return wanted
    lengths = reading.prompt_lengths[:, None]
    absolute = torch.where(negative, wanted + lengths, wanted)
    if reading.starts:
        outside = (wanted > _NOWHERE) & ((absolute < 0) | (absolute >= lengths))
        _refuse_outside(outside, wanted, reading)
    return absolute


def _refuse_outside(outside: Tensor, wanted: Tensor, reading: Reading) -> None:
    found = outside.nonzero()
    if not len(found):
        return
    row, place = found[0].tolist()
    assert reading.prompt_lengths is not None
    length = int(reading.prompt_lengths[row])
    raise PositionError(
        f"Prompt {int(reading.rows[row])} has no position {int(wanted[row, place])} to"
        f" edit: it has {length} tokens.",
        expected=f"Positions run from 0 to {length - 1}, or -{length} to -1.",
    )


def _lengths(reading: Reading, asked: str) -> Int[Tensor, " batch"]:
    if reading.prompt_lengths is None:
        raise PositionError(
            f"An edit with {asked} does not know where the prompt ends.",
            expected="This forward pass continues a cache by a piece of unknown kind.",
            remedy="Say so with interp.models.reading.stated_batch(...).",
        )
    return reading.prompt_lengths
