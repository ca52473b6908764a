"""What a `KnowledgeComparison` keeps of single pairs, and of cells that were screened.

Both came after the first results of that kind: older files lack them.
"""

from dataclasses import dataclass

from interp.results.files import Number


# Tokens of so many pairs are kept, the first ones: more would be a data set.
MAX_SHOWN_PAIRS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class PairTokens:
    """The two prompts of a pair token by token, from where the patched positions begin.

    Attributes:
        clean: Tokens of the prompt with the true statement.
        corrupted: Of the one with the false statement; as many.
        columns: The column of each in the maps, -1 for none.
        answers: For base and post, the token whose logit counts for the true statement
            and the one whose logit counts against it.
    """

    clean: tuple[str, ...]
    corrupted: tuple[str, ...]
    columns: tuple[int, ...]
    answers: tuple[tuple[str, str], tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenedCell:
    """Restoration of a cell over the screened pairs, exact and estimated.

    Cells whose effect is known beforehand are left out.
    """

    layer: int
    column: str
    exact: Number
    estimate: Number
