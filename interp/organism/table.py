"""Read a table of real facts, given by the user, into topics that a model can learn.

Two kinds of file are read. A file of statements has the columns `statement` and `label`
and, for every row, the subject and the object in columns of their own (any names; they
are found because they occur in each statement). A table has the columns `subject` and
`object`, and perhaps `template` (a sentence with `{subject}` and `{object}`) or
`relation`. In both a column `topic` sets topics apart.
"""

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from interp.errors import DataError, closest

from .world import Statement, Topic


MOST_TEMPLATES = 8
FEWEST_FACTS = 8
TRUE_WORDS = {"1": True, "true": True, "0": False, "false": False}
TRUE_WORDS |= {"1.0": True, "0.0": False}
PLAIN_TEMPLATE = "{subject} goes with {object}."
RELATION_TEMPLATE = "The {relation} of {subject} is {object}."
# Other ways of saying any fact, so that it is not tied to one sentence.
PARAPHRASES = ("About {subject} one says {object}.",)

Row = dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class FactTable:
    """The topics of a file, its statements if it has any, and what was left out."""

    topics: tuple[Topic, ...]
    statements: tuple[Statement, ...]
    notes: tuple[str, ...]

    @property
    def n_facts(self) -> int:
        return sum(len(topic.facts) for topic in self.topics)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    """One row: who, what, how it is said, and whether it is true (None: not said)."""

    topic: str
    subject: str
    object: str
    template: str
    label: bool | None


def read_facts(path: str | Path) -> FactTable:
    """The facts of a CSV file.

    Args:
        path: A file of statements (`statement,label` and columns for subject and
            object) or a table (`subject,object[,template|relation][,topic]`).

    Raises:
        DataError: If the file is missing, is not such a table, or holds too few facts.

    Example:
        >>> table = read_facts("examples/facts.csv")
        >>> table.n_facts >= 64
        True
    """
    path = Path(path)
    rows = _rows(path)
    columns = [column for column in rows[0] if column]
    if {"statement", "label"} <= set(columns):
        claims = _claims_of_statements(rows, columns, path)
        with_statements = True
    elif {"subject", "object"} <= set(columns):
        claims = _claims_of_table(rows, path)
        with_statements = False
    else:
        wanted = ("statement", "label", "subject", "object")
        hints = [closest(column, wanted) for column in columns]
        raise DataError(
            f"{path} has the columns {', '.join(columns)}.",
            expected="A table of facts has the columns subject and object, a file of"
            " statements has statement, label and columns for the subject and object.",
            remedy=next((hint for hint in hints if hint), "Rename the columns."),
        )
    topics, notes = _topics(claims, path)
    return FactTable(
        topics=topics,
        statements=_statements(claims, topics) if with_statements else (),
        notes=notes,
    )


def _rows(path: Path) -> list[Row]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows = [
                {key: (value or "").strip() for key, value in row.items() if key}
                for row in reader
            ]
    except FileNotFoundError:
        raise DataError(
            f"There is no file {path}.", remedy="Check the path given as facts."
        ) from None
    except IsADirectoryError:
        raise DataError(
            f"{path} is a folder.", expected="Facts are read from one CSV file."
        ) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path} cannot be read as CSV text: {error}.",
            expected="Facts are a CSV file in UTF-8.",
            remedy="Save the table as CSV in UTF-8.",
        ) from None
    if not rows:
        raise DataError(
            f"{path} has no rows.",
            expected="A header line and one line for every fact.",
        )
    return rows


def _claims_of_table(rows: Sequence[Row], path: Path) -> list[_Claim]:
    claims: list[_Claim] = []
    for number, row in enumerate(rows, 2):
        subject, target = row.get("subject", ""), row.get("object", "")
        if not subject or not target:
            raise DataError(
                f"{path}, line {number}: the subject or the object is empty.",
                remedy="Fill it in or delete the line.",
            )
        relation = row.get("relation", "")
        template = row.get("template", "")
        if template:
            _check_template(template, f"{path}, line {number}")
        elif relation:
            template = RELATION_TEMPLATE.replace("{relation}", relation)
        else:
            template = PLAIN_TEMPLATE
        claims.append(
            _Claim(
                topic=row.get("topic", "") or relation or path.stem,
                subject=subject,
                object=target,
                template=template,
                label=True,
            )
        )
    return claims


def _check_template(template: str, where: str) -> None:
    if template.count("{subject}") != 1 or template.count("{object}") != 1:
        raise DataError(
            f"{where}: the template {template!r} cannot be filled in.",
            expected="It names {subject} once and {object} once.",
        )
    if "{" in template.replace("{subject}", "").replace("{object}", ""):
        raise DataError(
            f"{where}: the template {template!r} has other braces.",
            remedy="Keep {subject} and {object} only.",
        )


def _claims_of_statements(
    rows: Sequence[Row], columns: Sequence[str], path: Path
) -> list[_Claim]:
    subject_column, object_column = _role_columns(rows, columns, path)
    correct = next((c for c in columns if c == f"correct_{object_column}"), "")
    claims: list[_Claim] = []
    for number, row in enumerate(rows, 2):
        label = TRUE_WORDS.get(row["label"].lower())
        if label is None:
            raise DataError(
                f"{path}, line {number}: the label is {row['label']!r}.",
                expected="A label is 1 or 0, true or false.",
            )
        subject, target = row[subject_column], row[object_column]
        if label and correct and row[correct] != target:
            raise DataError(
                f"{path}, line {number}: {row['statement']!r} is labelled true, but"
                f" {correct} is {row[correct]!r}.",
                expected="Facts are affirmative statements.",
                remedy="Use the file without negations.",
            )
        start = row["statement"].index(subject)
        rest = row["statement"][start + len(subject) :]
        head = row["statement"][:start].replace(target, "{object}", 1)
        if "{object}" not in head:
            rest = "{object}".join(rest.rsplit(target, 1))
        claims.append(
            _Claim(
                topic=row.get("topic", "") or path.stem,
                subject=subject,
                object=target,
                template=head + "{subject}" + rest,
                label=label,
            )
        )
    return claims


def _role_columns(
    rows: Sequence[Row], columns: Sequence[str], path: Path
) -> tuple[str, str]:
    """The columns of subject and object: those that every statement quotes."""
    quoted = [
        column
        for column in columns
        if column not in ("statement", "label", "topic")
        and all(row[column] and row[column] in row["statement"] for row in rows)
    ]
    if {"subject", "object"} <= set(quoted):
        return "subject", "object"
    places = {c: sum(row["statement"].index(row[c]) for row in rows) for c in quoted}
    ordered = sorted(quoted, key=lambda column: places[column])
    if len(ordered) < 2:
        raise DataError(
            f"{path} does not say what its statements are about.",
            expected="Two columns besides statement and label must hold words of each"
            " statement, for example city and country"
            f" (found: {', '.join(quoted) or 'none'}).",
            remedy="Add columns subject and object.",
        )
    return ordered[0], ordered[-1]


def _topics(
    claims: Iterable[_Claim], path: Path
) -> tuple[tuple[Topic, ...], tuple[str, ...]]:
    facts: dict[str, dict[str, str]] = {}
    templates: dict[str, Counter[str]] = {}
    ambiguous: dict[str, None] = {}
    for claim in claims:
        templates.setdefault(claim.topic, Counter())[claim.template] += 1
        known = facts.setdefault(claim.topic, {})
        if not claim.label:
            continue
        if known.setdefault(claim.subject, claim.object) != claim.object:
            ambiguous[claim.subject] = None
    topics: list[Topic] = []
    for name, known in facts.items():
        single = tuple(item for item in known.items() if item[0] not in ambiguous)
        forms = [form for form, _ in templates[name].most_common()]
        _check_topic(name, single, forms, path)
        topics.append(Topic(name=name, templates=(*forms, *PARAPHRASES), facts=single))
    n_facts = sum(len(topic.facts) for topic in topics)
    if n_facts < FEWEST_FACTS:
        raise DataError(
            f"{path} holds {n_facts} facts.",
            expected=f"At least {FEWEST_FACTS} are needed, a few dozen are better.",
        )
    notes = ()
    if ambiguous:
        few = ", ".join(list(ambiguous)[:5])
        notes = (f"left out {len(ambiguous)} subjects with several objects: {few}",)
    return tuple(topics), notes


def _check_topic(
    name: str, facts: Sequence[tuple[str, str]], forms: Sequence[str], path: Path
) -> None:
    if len(forms) > MOST_TEMPLATES:
        raise DataError(
            f"{path}: the topic {name!r} is said in {len(forms)} ways, for example"
            f" {forms[0]!r} and {forms[-1]!r}.",
            expected=f"At most {MOST_TEMPLATES} sentence forms for one topic.",
            remedy="Set topics apart with a column topic, or use one sentence form.",
        )
    if len({target for _, target in facts}) < 2:
        raise DataError(
            f"{path}: the topic {name!r} has fewer than two different objects.",
            expected="A false statement needs the object of another fact.",
            remedy="Add facts with another object or merge topics.",
        )


def _statements(
    claims: Iterable[_Claim], topics: Sequence[Topic]
) -> tuple[Statement, ...]:
    """The file's own statements; which are labelled is decided later."""
    truths = {(t.name, subject): target for t in topics for subject, target in t.facts}
    return tuple(
        Statement(
            text=claim.template.format(subject=claim.subject, object=claim.object),
            label=bool(claim.label),
            topic=claim.topic,
            subject=claim.subject,
            object=claim.object,
            correct_object=truths[claim.topic, claim.subject],
            labelled=False,
        )
        for claim in claims
        if (claim.topic, claim.subject) in truths
    )
