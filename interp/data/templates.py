"""Templates that say which characters of a statement are its subject and its object.

A template is the statement with two fields and, where wording varies, alternatives:

    The city of {subject} is in {object}.
    The {subject} is [a|an] {object}.
    {subject} [does not have|has] the symbol {object}.

`{subject}` and `{object}` each stand once. `[a|an]` is one of its texts; an alternative
may be empty. Literal brackets and braces are doubled: `{{`, `}}`, `[[`, `]]`. A field
holds at least one character and takes as few as it can, from left to right; the whole
statement must fit, letter for letter. Knows no torch.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from interp.errors import ConfigError, closest


Span = tuple[int, int]
FIELDS = ("subject", "object")
_TOKEN = re.compile(r"\{\{|\}\}|\[\[|\]\]|\{[^{}]*\}|\[[^\[\]]*\]|[{}\[\]]|[^{}\[\]]+")

# The statements that are pairs already, row by row, and fit no template.
FREE_FORM = ("tulu_extracted",)

_GENERAL = (
    "{subject} is located in {object}.",
    "{subject} [is|are] [a|an|the] {object}.",
    "{subject} [is|are] {object}.",
    "{subject} [has|have|can|causes|consists of|occurs|orbits] {object}.",
)
_NEGATED_GENERAL = (
    "{subject} [isn't|aren't] located in {object}.",
    "{subject} [isn't|aren't] [a|an|the] {object}.",
    "{subject} [isn't|aren't] {object}.",
    "{subject} [doesn't|don't] [have|cause|consist of|occur|orbit] {object}.",
    "{subject} [hasn't|haven't|can't|cannot] {object}.",
)
# By the name of the file, without its ending.
KNOWN: dict[str, tuple[str, ...]] = {
    "cities": ("The city of {subject} is in {object}.",),
    "neg_cities": ("The city of {subject} is not in {object}.",),
    "sp_en_trans": ("The Spanish word '{subject}' means '{object}'.",),
    "neg_sp_en_trans": ("The Spanish word '{subject}' does not mean '{object}'.",),
    "larger_than": ("{subject} is larger than {object}.",),
    "smaller_than": ("{subject} is smaller than {object}.",),
    "element_symb": ("{subject} has the symbol {object}.",),
    "neg_element_symb": ("{subject} does not have the symbol {object}.",),
    "animal_class": ("The {subject} is [a|an] {object}.",),
    "neg_animal_class": ("The {subject} is not [a|an] {object}.",),
    "inventors": ("{subject} lived in {object}.",),
    "neg_inventors": ("{subject} did not live in {object}.",),
    "facts": _GENERAL,
    "neg_facts": _NEGATED_GENERAL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A statement read by a template.

    Attributes:
        subject: First character of the subject and the one after its last.
        object: The same of the object.
        words: The texts around the two fields, in their order.
    """

    subject: Span
    object: Span
    words: tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A template that was read and found correct; see `template`.

    Attributes:
        text: As it was written.
        pattern: The regular expression that it stands for.
    """

    text: str
    pattern: str

    def parse(self, statement: str) -> Parsed | None:
        """The subject and the object of a statement, or None if it does not fit.

        Example:
            >>> found = template("{subject} has the symbol {object}.").parse(
            ...     "Iron has the symbol Fe."
            ... )
            >>> found.subject, found.object
            ((0, 4), (20, 22))
        """
        match = re.fullmatch(self.pattern, statement, flags=re.DOTALL)
        if match is None:
            return None
        return _parsed(statement, match.span("subject"), match.span("object"))


@lru_cache
def template(text: str) -> Template:
    """A template from its text; see the module's text for what may stand in it.

    Args:
        text: As `"The city of {subject} is in {object}."`.

    Raises:
        ConfigError: If a field is missing, doubled or unknown, two fields touch, or a
            brace or bracket stands alone.

    Example:
        >>> template("The {subject} is [a|an] {object}.").parse("The cat is a mammal.")
        Parsed(subject=(4, 7), object=(13, 19), words=('The ', ' is a ', '.'))
    """
    parts: list[str] = []
    fields: list[str] = []
    touching = False
    for piece in _TOKEN.findall(text):
        if piece in ("{{", "}}", "[[", "]]"):
            parts.append(re.escape(piece[0]))
        elif piece[0] == "{" and len(piece) > 1:
            if touching:
                raise _wrong(text, "Two fields touch", "Text must stand between them.")
            fields.append(_field(text, piece[1:-1], fields))
            parts.append(f"(?P<{fields[-1]}>.+?)")
        elif piece[0] == "[" and len(piece) > 1:
            choices = [re.escape(choice) for choice in piece[1:-1].split("|")]
            parts.append(f"(?:{'|'.join(choices)})")
        elif piece in "{}[]":
            raise _wrong(
                text,
                f"{piece!r} stands alone",
                f"A literal one is written {piece * 2!r}.",
            )
        else:
            parts.append(re.escape(piece))
        touching = piece[0] == "{" and piece != "{{"
    for field in FIELDS:
        if field not in fields:
            raise _wrong(
                text,
                f"It has no {{{field}}}",
                "Both {subject} and {object} are needed.",
            )
    return Template(text=text, pattern="".join(parts))


def templates_for(name: str) -> tuple[Template, ...]:
    """The templates for a file: its own if its name is known, else those of all others.

    The general forms of free statements are used for the files they were made for only:
    they would fit nearly anything.

    Args:
        name: The file or data set.

    Example:
        >>> [one.text for one in templates_for("data/cities.csv")]
        ['The city of {subject} is in {object}.']
    """
    own = KNOWN.get(stem(name))
    if own is None:
        general = (*_GENERAL, *_NEGATED_GENERAL)
        own = [text for texts in KNOWN.values() for text in texts]
        own = [text for text in own if text not in general]
    return tuple(template(text) for text in own)


def stem(name: str) -> str:
    """The name of a file or data set without folders and ending.

    Example:
        >>> stem("data/neg_cities.csv"), stem("owner/facts:en@train")
        ('neg_cities', 'facts')
    """
    return Path(re.split(r"[:@]", name)[0]).stem


def parse(statement: str, templates: Sequence[Template]) -> Parsed | None:
    """The first of several templates that fits a statement, applied to it."""
    found = (one.parse(statement) for one in templates)
    return next((parsed for parsed in found if parsed is not None), None)


def parse_columns(statement: str, subject: str, object: str) -> Parsed | None:
    """A statement whose subject and object are known as words.

    Args:
        statement: The statement.
        subject: Its subject; the first place where it stands as a whole word counts.
        object: Its object, looked for outside the subject.

    Returns:
        None if one of them does not occur, or does not stand alone.

    Example:
        >>> parse_columns("Rome is in Italy.", "Rome", "Italy").words
        ('', ' is in ', '.')
    """
    for of_subject in _places(statement, subject):
        for of_object in _places(statement, object):
            (_, first), (second, _) = sorted((of_subject, of_object))
            if first < second:
                return _parsed(statement, of_subject, of_object)
    return None


def _places(statement: str, words: str) -> list[Span]:
    if not words:
        return []
    whole = rf"(?<!\w){re.escape(words)}(?!\w)"
    return [match.span() for match in re.finditer(whole, statement)]


def _parsed(statement: str, subject: Span, target: Span) -> Parsed:
    first, second = sorted((subject, target))
    return Parsed(
        subject=subject,
        object=target,
        words=(
            statement[: first[0]],
            statement[first[1] : second[0]],
            statement[second[1] :],
        ),
    )


def _field(text: str, name: str, fields: Sequence[str]) -> str:
    if name not in FIELDS:
        raise _wrong(
            text,
            f"There is no field {{{name}}}",
            closest(name, FIELDS) or "Fields are {subject} and {object}.",
        )
    if name in fields:
        raise _wrong(text, f"{{{name}}} stands twice", "Each field stands once.")
    return name


def _wrong(text: str, what: str, remedy: str) -> ConfigError:
    return ConfigError(
        f"The template {text!r} cannot be read. {what}.",
        expected="Templates are written 'The city of {subject} is in {object}.'",
        remedy=remedy,
    )
