"""The invented world, and how a table of the user becomes a world.

Invented names, so that nothing about them can come from anywhere but the training text,
and the same in every process, whatever the seed of the training.
"""

import random
from collections.abc import Sequence
from dataclasses import replace

from .world import Statement, Topic, World, labelled_of, one_true_one_false


_ONSETS = (*"bdfgklmnprstvz", "br", "tr")
_VOWELS = "aeiou"
_ENDINGS = {
    "city": ("ville", "port", "mouth", "stead"),
    "country": ("land", "ia"),
    "animal": ("ook", "ant", "ewt", "ird"),
    "person": ("son", "ley", "wick", "man"),
    "thing": ("ex", "il", "um", "ade"),
}
_WORLD_SEED = 20_240  # the same world for every training seed


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


_CLASSES = ("mammal", "bird", "fish", "reptile", "mollusc", "spider")
_JOBS = ("baker", "doctor", "farmer", "painter", "sailor", "teacher")
_KINDS = ("tool", "toy", "fruit", "fabric", "metal", "drink")
_N_COUNTRIES = 8
_N_SUBJECTS = {"city": 128, "animal": 120, "person": 120, "thing": 48}
_FORMS = (
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
        facts=(),
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
        facts=(),
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
        facts=(),
    ),
    Topic(
        name="thing",
        templates=(
            "The word {subject} stands for a {object}.",
            "In the shop {subject} is sold as a {object}.",
            "Some {subject} is used as a {object}.",
        ),
        questions=("Q: What is {subject}? A: {object}.",),
        facts=(),
    ),
)


def invented_topics() -> tuple[Topic, ...]:
    """Four topics of invented names, the same in every process."""
    rng = random.Random(_WORLD_SEED)
    taken: set[str] = set()
    countries = tuple(_names("country", _N_COUNTRIES, taken, rng))
    objects = {"city": countries, "animal": _CLASSES, "person": _JOBS, "thing": _KINDS}
    return tuple(
        replace(
            topic,
            facts=_spread(
                _names(topic.name, _N_SUBJECTS[topic.name], taken, rng),
                objects[topic.name],
                rng,
            ),
        )
        for topic in _FORMS
    )


UNLABELLED_TOPIC = "thing"


def invented_world() -> World:
    """The invented topics, of which the last one never gets a label."""
    rng = random.Random(_WORLD_SEED + 1)
    topics = invented_topics()
    labelled = labelled_of([t for t in topics if t.name != UNLABELLED_TOPIC], rng)
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
    given = labelled_of(topics, rng)
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
        labelled=given | labelled_of(helpers, rng),
        statements=statements,
    )
