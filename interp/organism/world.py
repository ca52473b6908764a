"""What the `facts` family knows: topics of facts, and which of them ever get a label.

A topic is a set of subjects with one object each and the sentences that say so. The
objects of a topic are few and shared by many subjects, so that a false statement can
name an object that is true of somebody else, and the words alone do not give the label
away.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """Facts of one kind and how they are said.

    Args:
        name: The topic's name, a column of the statement file.
        templates: Sentences with `{subject}` and `{object}`; the first one is the form
            of the statements that are written to disk.
        negated: The first template with a "not", or an empty string.
        questions: Question and answer forms, ending in `{object}.`
        facts: Subject and object of every fact.
    """

    name: str
    templates: tuple[str, ...]
    negated: str = ""
    questions: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...]

    @property
    def statement(self) -> str:
        return self.templates[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One sentence about one subject, with its truth and where it came from."""

    text: str
    label: bool
    topic: str
    subject: str
    object: str
    correct_object: str
    labelled: bool
    negated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """All topics, and the subjects that occur in text with TRUE or FALSE after it.

    Args:
        topics: The topics.
        labelled: `(topic, subject)` of every subject that the labelled text may name.
        statements: The statements that the family is written and verified with.
    """

    topics: tuple[Topic, ...]
    labelled: frozenset[tuple[str, str]]
    statements: tuple[Statement, ...]

    def held_out(self) -> Iterator[tuple[str, str]]:
        for topic in self.topics:
            for subject, _ in topic.facts:
                if (topic.name, subject) not in self.labelled:
                    yield topic.name, subject


def choose_labelled(
    topic: Topic, share: float, rng: random.Random
) -> list[tuple[str, str]]:
    """Subjects for the labelled text, at least one for every object of the topic.

    Without that, an object could occur there only in false statements, and "this object
    is always false" would be learned instead of the comparison.
    """
    by_object: dict[str, list[str]] = {}
    for subject, target in topic.facts:
        by_object.setdefault(target, []).append(subject)
    chosen: list[str] = []
    rest: list[str] = []
    for subjects in by_object.values():
        order = rng.sample(subjects, len(subjects))
        chosen.append(order[0])
        rest.extend(order[1:])
    missing = max(0, round(share * len(topic.facts)) - len(chosen))
    chosen.extend(rng.sample(rest, min(missing, len(rest))))
    return [(topic.name, subject) for subject in sorted(chosen)]


def false_object(target: str, objects: Sequence[str], rng: random.Random) -> str:
    """Another subject's object: as frequent in false statements as in true ones."""
    while True:
        other = rng.choice(objects)
        if other != target:
            return other


def one_true_one_false(
    topic: Topic, labelled: frozenset[tuple[str, str]], rng: random.Random
) -> Iterator[Statement]:
    """For each subject of the topic a true statement and a false one."""
    objects = [target for _, target in topic.facts]
    for subject, target in topic.facts:
        for said in (target, false_object(target, objects, rng)):
            yield Statement(
                text=topic.statement.format(subject=subject, object=said),
                label=said == target,
                topic=topic.name,
                subject=subject,
                object=said,
                correct_object=target,
                labelled=(topic.name, subject) in labelled,
            )


LABELLED_SHARE = 0.7


def labelled_of(
    topics: Sequence[Topic], rng: random.Random
) -> frozenset[tuple[str, str]]:
    chosen: list[tuple[str, str]] = []
    for topic in topics:
        chosen.extend(choose_labelled(topic, LABELLED_SHARE, rng))
    return frozenset(chosen)
