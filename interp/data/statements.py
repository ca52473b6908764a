"""Statements with truth labels, checked strictly, each with the entity it is about."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int8


# The subject is what stands before the first of these words.
_VERB = (
    r"(?:is|are|was|were|has|have|had|does|do|did|can)(?:n['’]t)?|cannot|can['’]t"
    r"|means|lived|lives"
)
_SUBJECT = re.compile(rf"^(.+?)[\s,]+(?:{_VERB})\b", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Statements:
    """Statements, their labels and the groups by which they must be split.

    Attributes:
        name: The file or data set they come from.
        prompts: The statements, without surrounding white space.
        labels: Which are true.
        groups: What each is about; statements of one group belong in one split.
        group_rule: Where the groups come from, in words.
        polarity: 1 for affirmative, -1 for negated statements, if the data says so.
        sources: The file or data set of each statement.
        columns: The other columns, one row per statement.
        fingerprint: Hash of the statements and labels in their order.
        notes: What was left out and why, in sentences.
    """

    name: str
    prompts: tuple[str, ...]
    labels: Bool[np.ndarray, " example"]
    groups: tuple[str, ...]
    group_rule: str
    polarity: Int8[np.ndarray, " example"] | None
    sources: tuple[str, ...]
    columns: pd.DataFrame
    fingerprint: str
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.prompts)

    def __repr__(self) -> str:
        return (
            f"Statements({self.name!r}, {len(self)} statements, "
            f"{int(self.labels.sum())} true, {len(set(self.groups))} groups)"
        )

    def take(self, index: Sequence[int] | np.ndarray) -> "Statements":
        """The statements at these places, in this order."""
        rows = [int(i) for i in index]
        prompts = tuple(self.prompts[i] for i in rows)
        labels = self.labels[rows]
        return Statements(
            name=self.name,
            prompts=prompts,
            labels=labels,
            groups=tuple(self.groups[i] for i in rows),
            group_rule=self.group_rule,
            polarity=None if self.polarity is None else self.polarity[rows],
            sources=tuple(self.sources[i] for i in rows),
            columns=self.columns.iloc[rows].reset_index(drop=True),
            fingerprint=fingerprint(prompts, labels.tolist()),
            notes=self.notes,
        )

    def to_dataframe(self) -> pd.DataFrame:
        """One row per statement: statement, label, group, source, the other columns."""
        own = {
            "statement": self.prompts,
            "label": self.labels,
            "group": self.groups,
            "source": self.sources,
        }
        rest = self.columns.drop(columns=list(own), errors="ignore")
        return pd.concat([pd.DataFrame(own), rest], axis=1)


def fingerprint(*values: object) -> str:
    """A hash of plain values: equal content has equal fingerprints in any file format.

    Example:
        >>> fingerprint(["a"], [True]) == fingerprint(("a",), (True,))
        True
    """
    text = json.dumps(values, ensure_ascii=True, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()[:16]


def subject(statement: str) -> str:
    """The words before the first verb of a short list, in lower case.

    A rule of thumb for data without a column of entities: it keeps the true and the
    false statement about one thing in one split. A statement without such a verb is a
    group of its own.

    Example:
        >>> subject("The city of Lodz is in Poland."), subject("Rain falls.")
        ('the city of lodz', 'rain falls.')
    """
    match = _SUBJECT.match(statement)
    return " ".join((match[1] if match else statement).lower().split())
