"""Where in a statement something is read and added: token slots counted from its end.

A slot is the same token in the bare statement and in a few-shot prompt, because it is
counted from the statement's last token; it comes from the tokenizer's offsets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from interp.data import Statements
from interp.models.language_model import LanguageModel
from interp.positions import Positions, token_spans


LAST, BEFORE = "last token", "token before the last"
FINAL_TWO = "final two tokens"
# Columns of a statement file that name a part of the statement.
PART_COLUMNS = ("object", "subject")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """Where a direction is read, and where its vector is added.

    Attributes:
        name: For people.
        read: The slot whose activations give the direction.
        add: The slots at which the vector is added.
    """

    name: str
    read: str
    add: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """Named tokens of each statement, as negative places from its end."""

    places: Mapping[str, tuple[int, ...]]
    lengths: tuple[int, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.places)

    def positions(self) -> Positions:
        """The slots of the bare statements, in the order of their names."""
        rows = zip(*self.places.values(), strict=True)
        return Positions(
            spec=", ".join(self.names),
            kind="several",
            index=tuple(
                tuple(length + place for place in row)
                for row, length in zip(rows, self.lengths, strict=True)
            ),
        )

    def inside(
        self,
        spot: Spot,
        rows: Sequence[int],
        spans: Sequence[tuple[int, int]],
    ) -> tuple[tuple[int, ...], ...]:
        """The tokens of longer prompts at which a spot's vector is added.

        Args:
            spot: The spot.
            rows: Which statement each prompt asks about.
            spans: Where in its prompt that statement stands.
        """
        return tuple(
            tuple(sorted({stop + self.places[name][row] for name in spot.add}))
            for row, (_, stop) in zip(rows, spans, strict=True)
        )


def slots_of(model: LanguageModel, statements: Statements) -> Slots:
    """The last two tokens of each statement, and the last ones of its named parts.

    A part is known when the data has a column `object` or `subject` whose text occurs
    in every statement. The final token of a statement is usually its period.
    """
    tokenized = model.tokenize(statements.prompts, offsets=True)
    assert tokenized.offsets is not None
    # A token without characters (end of text) is no part of the statement.
    counts = tuple(
        max(i + 1 for i, (start, stop) in enumerate(row) if stop > start)
        for row in tokenized.offsets
    )
    skipped = [len(ids) - n for ids, n in zip(tokenized.ids, counts, strict=True)]
    places: dict[str, tuple[int, ...]] = {
        LAST: tuple(-1 - skip for skip in skipped),
        BEFORE: tuple(
            max(-2 - skip, -n)
            for skip, n in zip(skipped, tokenized.lengths, strict=True)
        ),
    }
    for column in PART_COLUMNS:
        spans = _part_spans(statements, column)
        if spans is None:
            continue
        tokens = token_spans(column, spans, tokenized.offsets, tokenized.texts)
        found = tuple(
            stop - n
            for (_, stop), n in zip(
                [(start, stop - 1) for start, stop in tokens],
                tokenized.lengths,
                strict=True,
            )
        )
        if found not in places.values():
            places[f"last token of the {column}"] = found
    return Slots(places=places, lengths=tokenized.lengths)


def spots_of(slots: Slots) -> tuple[Spot, ...]:
    """The spots that are tried: the last two tokens together, and every slot alone."""
    both = Spot(name=FINAL_TWO, read=LAST, add=(BEFORE, LAST))
    alone = (Spot(name=name, read=name, add=(name,)) for name in slots.names)
    return (both, *alone)


def _part_spans(statements: Statements, column: str) -> list[tuple[int, int]] | None:
    if column not in statements.columns.columns:
        return None
    spans: list[tuple[int, int]] = []
    for text, part in zip(
        statements.prompts, statements.columns[column].astype(str), strict=True
    ):
        # The object stands last, the subject first.
        start = text.rfind(part) if column == "object" else text.find(part)
        if not part or start < 0:
            return None
        spans.append((start, start + len(part)))
    return spans
