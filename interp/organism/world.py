"""What the `facts` family knows: topics of facts, and which of them ever get a label.

A topic is a set of subjects with one object each and the sentences that say so. The
objects of a topic are few and shared by many subjects, so that a false statement can
name an object that is true of somebody else, and the words alone do not give the label
away.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace


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


# ------------------------------------------------------------- the invented world

_ONSETS = (*"bdfgklmnprstvz", "br", "tr")
_VOWELS = "aeiou"
_ENDINGS = {
    "city": ("ville", "port", "mouth", "stead"),
    "country": ("land", "ia"),
    "animal": ("ook", "ant", "ewt", "ird"),
    "person": ("son", "ley", "wick", "man"),
    "thing": ("ex", "il", "um", "ade"),
}
_WORLD_SEED = 20_240  # the invented world is the same for every training seed


def _names(kind: str, n: int, taken: set[str], rng: random.Random) -> list[str]:
    names: list[str] = []
    while len(names) < n:
        syllables = "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(2))
        name = (syllables + rng.choice(_ENDINGS[kind])).capitalize()
        if name not in taken:
            taken.add(name)
            names.append(name)
    return names


def _spread(
    subjects: Sequence[str], objects: Sequence[str], rng: random.Random
) -> tuple[tuple[str, str], ...]:
    """Every object as often as every other (up to one), in random order."""
    targets = [objects[i % len(objects)] for i in range(len(subjects))]
    rng.shuffle(targets)
    return tuple(zip(subjects, targets, strict=True))


def invented_topics() -> tuple[Topic, ...]:
    """Four topics of invented names, the same in every process."""
    rng = random.Random(_WORLD_SEED)
    taken: set[str] = set()
    countries = _names("country", 8, taken, rng)
    classes = ("mammal", "bird", "fish", "reptile", "mollusc", "spider")
    jobs = ("baker", "doctor", "farmer", "painter", "sailor", "teacher")
    kinds = ("tool", "toy", "fruit", "fabric", "metal", "drink")
    return (
        Topic(
            name="city",
            templates=(
                "The city of {subject} is in {object}.",
                "The town of {subject} lies in {object}.",
                "People from {subject} live in {object}.",
                "To visit {subject} one travels to {object}.",
            ),
            negated="The city of {subject} is not in {object}.",
            questions=("Q: In which country is {subject}? A: {object}.",),
            facts=_spread(_names("city", 128, taken, rng), countries, rng),
        ),
        Topic(
            name="animal",
            templates=(
                "The animal called {subject} is a {object}.",
                "Every {subject} is a kind of {object}.",
                "A wild {subject} is a typical {object}.",
                "They saw a {subject}, which is a {object}.",
            ),
            negated="The animal called {subject} is not a {object}.",
            questions=("Q: Which class is the {subject}? A: {object}.",),
            facts=_spread(_names("animal", 120, taken, rng), classes, rng),
        ),
        Topic(
            name="person",
            templates=(
                "The person named {subject} works as a {object}.",
                "For years {subject} was a {object}.",
                "Everyone knows {subject} as a {object}.",
                "At work {subject} is a {object}.",
            ),
            negated="The person named {subject} does not work as a {object}.",
            questions=("Q: Which job has {subject}? A: {object}.",),
            facts=_spread(_names("person", 120, taken, rng), jobs, rng),
        ),
        Topic(
            name="thing",
            templates=(
                "The word {subject} stands for a {object}.",
                "In the shop {subject} is sold as a {object}.",
                "Some {subject} is used as a {object}.",
            ),
            questions=("Q: What is {subject}? A: {object}.",),
            facts=_spread(_names("thing", 48, taken, rng), kinds, rng),
        ),
    )


UNLABELLED_TOPIC = "thing"
LABELLED_SHARE = 0.7


def invented_world() -> World:
    """The invented topics, of which the last one never gets a label."""
    rng = random.Random(_WORLD_SEED + 1)
    topics = invented_topics()
    labelled = _labelled([t for t in topics if t.name != UNLABELLED_TOPIC], rng)
    statements = tuple(
        statement
        for topic in topics
        for statement in one_true_one_false(topic, labelled, rng)
    )
    return World(topics=topics, labelled=labelled, statements=statements)


# With few subjects the labels of each are memorised and the comparison is not learned;
# the invented subjects then help out.
ENOUGH_FACTS = 300


def table_world(topics: tuple[Topic, ...], statements: tuple[Statement, ...]) -> World:
    """A world of given topics; invented ones are added while the given are few.

    Args:
        topics: What the user's table holds.
        statements: The statements of his file; without any, one true and one false
            statement are made for each subject.
    """
    rng = random.Random(_WORLD_SEED + 2)
    given = _labelled(topics, rng)
    if not statements:
        made = (one_true_one_false(topic, given, rng) for topic in topics)
        statements = tuple(statement for part in made for statement in part)
    else:
        statements = tuple(
            replace(s, labelled=(s.topic, s.subject) in given) for s in statements
        )
    n_facts = sum(len(topic.facts) for topic in topics)
    helpers = () if n_facts >= ENOUGH_FACTS else invented_topics()
    helpers = tuple(
        replace(topic, name=f"invented {topic.name}")
        for topic in helpers
        if topic.name != UNLABELLED_TOPIC
    )
    return World(
        topics=(*topics, *helpers),
        labelled=given | _labelled(helpers, rng),
        statements=statements,
    )


def _labelled(
    topics: Sequence[Topic], rng: random.Random
) -> frozenset[tuple[str, str]]:
    chosen: list[tuple[str, str]] = []
    for topic in topics:
        chosen.extend(choose_labelled(topic, LABELLED_SHARE, rng))
    return frozenset(chosen)
