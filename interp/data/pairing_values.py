"""What pairing is asked for and what it gives. Knows no torch."""

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from interp.data.pairing_tokens import Encoded, Labels
from interp.data.templates import Template


Rule = Literal[
    "no template fits",
    "no partner in the next row",
    "shown, or about a subject that is shown",
    "the object stands before the subject",
    "no statement of the other label with this object and wording",
    "no partner with as many tokens",
    "no partner with the same tokens around the subject",
    "no partner left",
    "more pairs than were asked for",
]
Form = Literal["auto", "template", "free"]
Cluster = Literal["subject", "object"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How statements are paired; see `interp.data.pairing.pair_statements`."""

    templates: tuple[Template, ...]
    form: Form
    question: bool
    reuse: bool
    cluster: Cluster
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementPair:
    """A true and a false statement with their prompts.

    Attributes:
        source: The file or data set.
        group: What pairs that are not independent have in common.
        true: The true statement.
        false: The false one.
        clean: The prompt of the true statement.
        corrupted: The prompt of the false one.
    """

    source: str
    group: str
    true: str
    false: str
    clean: Encoded
    corrupted: Encoded


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """The statements of a file that one rule cost."""

    source: str
    rule: Rule
    texts: tuple[str, ...]

    @property
    def statements(self) -> int:
        """How many they are."""
        return len(self.texts)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class StatementPairs:
    """Pairs of statements ready to be run, and what was left out on the way.

    Attributes:
        pairs: The pairs.
        shown: For each file the demonstrations, as they stand in its prompts.
        labels: The label tokens; None for prompts without a question.
        total: How many statements there were.
        dropped: What each rule cost, in the order of the rules.
    """

    pairs: tuple[StatementPair, ...]
    shown: tuple[tuple[str, str], ...]
    labels: Labels | None
    total: int
    dropped: tuple[Dropped, ...]

    def __len__(self) -> int:
        return len(self.pairs)

    def __repr__(self) -> str:
        return f"StatementPairs({len(self)} pairs of {self.total} statements)"

    def to_dataframe(self) -> pd.DataFrame:
        """One row per pair."""
        return pd.DataFrame(
            {
                "source": [pair.source for pair in self.pairs],
                "group": [pair.group for pair in self.pairs],
                "true": [pair.true for pair in self.pairs],
                "false": [pair.false for pair in self.pairs],
            }
        )

    def dropped_dataframe(self) -> pd.DataFrame:
        """One row per file and rule that cost statements."""
        columns = ["source", "rule", "statements"]
        rows = [(one.source, one.rule, one.statements) for one in self.dropped]
        return pd.DataFrame(rows, columns=columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePairs:
    """The pairs of one file, its demonstrations, and whom each rule cost."""

    source: str
    pairs: tuple[StatementPair, ...]
    shown: str
    labels: Labels | None
    dropped: tuple[tuple[Rule, tuple[str, ...]], ...]
