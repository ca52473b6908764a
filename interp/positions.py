"""Which tokens of a prompt are read, as names that know nothing of padding.

Positions are resolved once, over the real tokens of each prompt, to plain integers:

    "last"            the last token                    one position
    3, -2             an index; negative from the end   one position
    "subject_last"    last token of a named span        one position
    "template[-3]"    a token of the template's tail    one position
    "all"             every token                       several
    "mean"            the mean over every token         one value
    "subject"         every token of a named span       several
    "template", "template[-3:]"                         several
    ["subject_last", -1]                                several, in this order
    Spans([(2, 5), ...])                                several, a span per prompt

The template tail is the longest run of tokens in which all prompts end: what a chat
template writes after the instruction. Knows no torch.
"""

import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, cast

from interp.errors import PositionError, closest


Span = tuple[int, int]
Ids = Sequence[Sequence[int]]
Sequences = TypeVar("Sequences", str, tuple[int, ...])
Kind = Literal["one", "several", "mean"]
NAMES = ("last", "all", "mean", "template")
_ENDS = ("_first", "_last")
_TAIL = re.compile(r"template(?:\[(-?\d*)(:?)(-?\d*)\])?")
_NUMBER = re.compile(r"-?\d+")
_QUOTED_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class Spans:
    """For each prompt the tokens `start` to `stop` (excluded), in order.

    Example:
        >>> resolve(Spans(((1, 3), (0, 1))), [[5, 6, 7], [8]]).index
        (range(1, 3), range(0, 1))
    """

    spans: tuple[Span, ...]

    def __init__(self, spans: Iterable[Sequence[int]]) -> None:
        pairs = []
        for number, span in enumerate(spans):
            try:
                start, stop = (operator.index(end) for end in span)
            except (TypeError, ValueError) as error:
                raise PositionError(
                    f"The span of prompt {number} is {span!r}.",
                    expected="A span is a pair (start, stop) of token indices.",
                ) from error
            pairs.append((start, stop))
        object.__setattr__(self, "spans", tuple(pairs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Positions:
    """Positions resolved for given prompts; can be given wherever a name can.

    Attributes:
        spec: What was asked for, as text.
        kind: `"one"` position per prompt, `"several"`, or the `"mean"` over several.
        index: For each prompt the token indices that are read, counted from 0.
    """

    spec: str
    kind: Kind
    index: tuple[Sequence[int], ...]

    def __len__(self) -> int:
        return len(self.index)

    @property
    def n_slots(self) -> int:
        """The largest number of positions that any prompt has."""
        return max((len(places) for places in self.index), default=0)

    def select(self, rows: Iterable[int]) -> "Positions":
        """The positions of some of the prompts, for work that is done in parts."""
        return Positions(
            spec=self.spec,
            kind=self.kind,
            index=tuple(self.index[row] for row in rows),
        )


PositionSpec = str | int | Spans | Positions | Sequence[str | int] | Sequence[Span]


def resolve(
    spec: PositionSpec,
    ids: Ids,
    *,
    texts: Sequence[str | None] | None = None,
    spans: Mapping[str, Sequence[Span]] | None = None,
    tail: int | None = None,
) -> Positions:
    """The token indices that a specification names in each prompt.

    Args:
        spec: What to read; see the module's text.
        ids: The token ids of each prompt, without padding.
        texts: The texts, quoted in messages.
        spans: Named spans of tokens, one `(start, stop)` per prompt.
        tail: How many tokens the template's tail has, if that is known; else it is
            read off the prompts.

    Raises:
        PositionError: If a name is unknown, or a prompt lacks a position.

    Example:
        >>> resolve("last", [[5, 6, 7], [8]]).index
        (range(2, 3), range(0, 1))
        >>> resolve([0, -1], [[5, 6, 7], [8, 9]]).index
        ((0, 2), (0, 1))
    """
    if isinstance(spec, Positions):
        return _checked(spec, ids)
    spans = spans or {}
    _check_spans(spans, ids)
    prompts = _Prompts(ids, texts or [None] * len(ids), spans, tail)
    if isinstance(spec, Sequence) and not isinstance(spec, str):
        if not spec:
            raise PositionError(
                "No position was asked for.", remedy="Name one, for example 'last'."
            )
        if not any(isinstance(part, str | int) for part in spec):
            spec = Spans(cast(Sequence[Span], spec))
    if isinstance(spec, Spans):
        return _from_spans(spec, prompts)
    if isinstance(spec, str | int):
        kind, index = prompts.find(spec)
        return Positions(spec=str(spec), kind=kind, index=tuple(index))
    parts = [prompts.find(cast(str | int, part), inside_list=True)[1] for part in spec]
    return Positions(
        spec=", ".join(map(str, spec)),
        kind="several",
        index=tuple(
            tuple(place for places in row for place in places)
            for row in zip(*parts, strict=True)
        ),
    )


def common_start(sequences: Sequence[Sequences]) -> int:
    """How many elements all sequences have in common at their start.

    Example:
        >>> common_start(["Paris is", "Paris was", "Par"])
        3
    """
    # What the smallest and the largest share, all in between share too.
    first, last = min(sequences), max(sequences)
    pairs = zip(first, last, strict=False)
    return next(
        (i for i, (a, b) in enumerate(pairs) if a != b), min(len(first), len(last))
    )


def template_tail(ids: Ids) -> int:
    """The number of tokens in which all prompts end alike.

    Raises:
        PositionError: If that cannot be told, or there is none.

    Example:
        >>> template_tail([[1, 2, 8, 9], [3, 8, 9]])
        2
    """
    tail = common_start([tuple(reversed(row)) for row in ids])
    if tail == min(map(len, ids)):
        raise PositionError(
            "The end of the template cannot be told from these prompts.",
            expected="It is what prompts with different endings have in common.",
            remedy="Add a prompt that ends differently, or give indices such as [-2].",
        )
    if tail == 0:
        raise PositionError(
            "The prompts have no common ending, so there is no template tail.",
            remedy="Use chat=True, or positions='last'.",
        )
    return tail


def token_spans(
    name: str,
    characters: Sequence[Span],
    offsets: Sequence[Sequence[Span]],
    texts: Sequence[str | None],
) -> list[Span]:
    """The tokens that cover a span of characters of each prompt.

    Args:
        name: What the span is called, for messages.
        characters: For each prompt the first character and the one after the last.
        offsets: For each token of each prompt the characters that it covers.
        texts: The texts, quoted in messages.

    Raises:
        PositionError: If a span lies outside its prompt or covers no token.

    Example:
        >>> token_spans("city", [(4, 9)], [[(0, 3), (3, 6), (6, 9)]], ["in  Paris"])
        [(1, 3)]
    """
    if len(characters) != len(offsets):
        raise PositionError(
            f"The span {name!r} is given for {len(characters)} prompts.",
            expected=f"There are {len(offsets)} prompts.",
            remedy="Give one (start, stop) for each.",
        )
    found = []
    for number, ((start, stop), tokens) in enumerate(
        zip(characters, offsets, strict=True)
    ):
        # Special tokens cover no characters.
        covered = [i for i, (a, b) in enumerate(tokens) if a < stop and b > start]
        if start >= stop or start < 0 or not covered:
            raise PositionError(
                f"The span {name!r} of {_named(number, texts[number])} is characters"
                f" {start} to {stop}, and no token lies there.",
                expected=f"The text has {len(texts[number] or '')} characters.",
                remedy="Give the first character and the one after the last.",
            )
        found.append((covered[0], covered[-1] + 1))
    return found


class _Prompts:
    """The prompts whose positions are being resolved."""

    def __init__(
        self,
        ids: Ids,
        texts: Sequence[str | None],
        spans: Mapping[str, Sequence[Span]],
        tail: int | None,
    ) -> None:
        self.ids = ids
        self.texts = texts
        self._spans = spans
        self._tail = tail

    def find(
        self, part: str | int, *, inside_list: bool = False
    ) -> tuple[Kind, list[range]]:
        """What one name or index means in each prompt."""
        if isinstance(part, str) and _NUMBER.fullmatch(part):
            part = int(part)
        if isinstance(part, int) and not isinstance(part, bool):
            return "one", [self._one(number, part) for number in range(len(self.ids))]
        if not isinstance(part, str):
            raise self._unknown(part)
        if part == "last":
            return "one", [range(len(row) - 1, len(row)) for row in self.ids]
        if part in ("all", "mean") and not inside_list:
            kind = "several" if part == "all" else "mean"
            return kind, [range(len(row)) for row in self.ids]
        if match := _TAIL.fullmatch(part):
            return self._in_tail(part, match)
        return self._in_span(part)

    def _one(self, number: int, place: int) -> range:
        length = len(self.ids[number])
        if not -length <= place < length:
            raise PositionError(
                f"{_named(number, self.texts[number])} has no position {place}:"
                f" it has {length} tokens.",
                expected=f"Positions run from 0 to {length - 1}, or -{length} to -1.",
                remedy="Leave the prompt out, or read 'last'.",
            )
        place %= length
        return range(place, place + 1)

    def _in_tail(self, part: str, match: re.Match[str]) -> tuple[Kind, list[range]]:
        if self._tail is None:
            self._tail = template_tail(self.ids)
        tail = range(self._tail)
        first, colon, last = match[1], match[2], match[3]
        if not colon and first:
            if not -len(tail) <= int(first) < len(tail):
                raise self._outside_tail(part)
            tail = tail[int(first) :][:1]
        elif part != "template":
            if not colon:
                raise self._unknown(part)
            bounds = [int(end) if end else None for end in (first, last)]
            if any(end is not None and abs(end) > len(tail) for end in bounds):
                raise self._outside_tail(part)
            tail = tail[slice(*bounds)]
        if not tail:
            raise self._outside_tail(part)
        ends = [len(row) - self._tail for row in self.ids]
        kind: Kind = "one" if first and not colon else "several"
        return kind, [range(e + tail.start, e + tail.stop) for e in ends]

    def _outside_tail(self, part: str) -> PositionError:
        return PositionError(
            f"{part!r} is outside the template's tail.",
            expected=f"The prompts have their last {self._tail} tokens in common.",
            remedy=f"Write 'template[-{self._tail}]' to 'template[-1]'.",
        )

    def _in_span(self, part: str) -> tuple[Kind, list[range]]:
        name, end = part, ""
        if part not in self._spans:
            for ending in _ENDS:
                if part.removesuffix(ending) in self._spans:
                    name, end = part.removesuffix(ending), ending
        if name not in self._spans:
            raise self._unknown(part)
        pairs = self._spans[name]
        if end == "_first":
            return "one", [range(start, start + 1) for start, _ in pairs]
        if end == "_last":
            return "one", [range(stop - 1, stop) for _, stop in pairs]
        return "several", [range(*pair) for pair in pairs]

    def _unknown(self, part: object) -> PositionError:
        names = [f"{name}{end}" for name in self._spans for end in ("", *_ENDS)]
        known = [*NAMES, *names]
        return PositionError(
            f"No position is called {part!r}.",
            expected=f"Known: an index, {', '.join(known)}, template[-3].",
            remedy=closest(str(part), known)
            or "A named span is given as spans={name: [(start, stop), ...]}.",
        )


def _from_spans(spec: Spans, prompts: _Prompts) -> Positions:
    _check_spans({"": spec.spans}, prompts.ids)
    index = tuple(range(*span) for span in spec.spans)
    return Positions(spec="spans", kind="several", index=index)


def _check_spans(spans: Mapping[str, Sequence[Span]], ids: Ids) -> None:
    for name, pairs in spans.items():
        called = f"The span {name!r}" if name else "The span"
        if name in NAMES:
            raise PositionError(
                f"A span may not be called {name!r}.",
                expected="That name has a meaning of its own.",
                remedy="Choose another one.",
            )
        if len(pairs) != len(ids):
            raise PositionError(
                f"{called} is given for {len(pairs)} prompts.",
                expected=f"There are {len(ids)} prompts.",
                remedy="Give one (start, stop) for each.",
            )
        for number, ((start, stop), row) in enumerate(zip(pairs, ids, strict=True)):
            if not 0 <= start < stop <= len(row):
                raise PositionError(
                    f"{called} of prompt {number} is the tokens {start} to {stop}.",
                    expected=f"The prompt has {len(row)} tokens, a span at least 1.",
                    remedy="Give the first token and the one after the last.",
                )


def _checked(positions: Positions, ids: Ids) -> Positions:
    if len(positions) != len(ids):
        raise PositionError(
            f"The positions were resolved for {len(positions)} prompts.",
            expected=f"There are {len(ids)} prompts.",
            remedy="Use positions.select(rows) for some of them.",
        )
    for number, (places, row) in enumerate(zip(positions.index, ids, strict=True)):
        if not places or min(places) < 0 or max(places) >= len(row):
            raise PositionError(
                f"Prompt {number} has {len(row)} tokens, not the positions"
                f" {list(places)[:5]}.",
                remedy="Resolve the positions on the same prompts.",
            )
    return positions


def _named(number: int, text: str | None) -> str:
    if text is None:
        return f"Prompt {number}"
    if len(text) > _QUOTED_CHARACTERS:
        text = text[:_QUOTED_CHARACTERS] + "…"
    return f"Prompt {number} {text!r}"
