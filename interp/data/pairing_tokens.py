"""Which token of a prompt plays which role, from characters and offsets alone.

Roles are numbered from the left within their kind, as `"subject[0]"`:

    before, between, after   words of the template around its two fields
    subject, object          the fields; a token that touches one belongs to it
    question                 what follows the statement, but for
    last                     the last token of the prompt, where the answer is read

Knows no torch and no tokenizer: texts are tokenised by whoever calls.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from interp.data.templates import Parsed, Span
from interp.errors import PromptError
from interp.positions import common_start


QUESTION = " This statement is:"
TRUE, FALSE = " TRUE", " FALSE"


@runtime_checkable
class Tokens(Protocol):
    """Token ids of several texts, and the characters that each token covers."""

    @property
    def ids(self) -> tuple[tuple[int, ...], ...]: ...

    @property
    def offsets(self) -> tuple[tuple[Span, ...], ...] | None: ...


Tokenize = Callable[[list[str]], Tokens]


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """The tokens that stand for TRUE and FALSE: the first in which the two differ.

    Attributes:
        true: Token id.
        false: Token id.
        true_text: The characters that the token covers.
        false_text: The same of the other one.
    """

    true: int
    false: int
    true_text: str
    false_text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """One prompt as tokens, with the place of its statement.

    Attributes:
        text: The prompt.
        ids: Its tokens, up to where the answer is read.
        start: The first token of the statement.
        roles: What each token from `start` on is.
    """

    text: str
    ids: tuple[int, ...]
    start: int
    roles: tuple[str, ...]

    @property
    def around(self) -> tuple[int, ...]:
        """The tokens from the statement on that are not of the subject."""
        return tuple(
            token
            for token, role in zip(self.ids[self.start :], self.roles, strict=True)
            if kind_of(role) != "subject"
        )


def kind_of(role: str) -> str:
    """A role without its number.

    Example:
        >>> kind_of("subject[2]"), kind_of("last")
        ('subject', 'last')
    """
    return role.partition("[")[0]


def align(
    offsets: Sequence[Span],
    *,
    begins: int,
    length: int,
    subject: Span | None = None,
    object: Span | None = None,
) -> tuple[int, tuple[str, ...]]:
    """The first token of the statement, and the role of each token from there on.

    Args:
        offsets: For each token the characters that it covers.
        begins: The character at which the statement begins.
        length: How many characters it has.
        subject: Characters of the subject, counted within the statement.
        object: The same of the object; None where the prompt ends before it.

    Raises:
        PromptError: If no token covers the statement or its subject.

    Example:
        >>> offsets = [(0, 2), (2, 3), (3, 7), (7, 10), (10, 16), (16, 17), (17, 22)]
        >>> align(offsets, begins=3, length=14, subject=(0, 4), object=(8, 13))
        (2, ('subject[0]', 'between[0]', 'object[0]', 'after[0]', 'last'))
    """
    spans = {"subject": subject, "object": object}
    fields = sorted(span for span in spans.values() if span is not None)
    inside = [i for i, span in enumerate(offsets) if _touches(span, begins, None)]
    if not inside:
        raise PromptError("The statement of a prompt has no token of its own.")
    start = inside[0]
    counts: dict[str, int] = {}
    roles: list[str] = []
    for first, last in offsets[start:]:
        own = (first - begins, last - begins)
        kind = next((k for k, s in spans.items() if s and _touches(own, *s)), "")
        kind = kind or _kind_outside(own, fields, length)
        roles.append(f"{kind}[{counts.get(kind, 0)}]")
        counts[kind] = counts.get(kind, 0) + 1
    if subject is not None and "subject" not in counts:
        raise PromptError("The subject of a statement has no token of its own.")
    return start, (*roles[:-1], "last")


def _touches(token: Span, start: int, stop: int | None) -> bool:
    """Whether a token covers a character of a span; some cover part of one only."""
    first, last = token[0], max(token[1], token[0] + 1)
    return last > start and (stop is None or first < stop) and token != (0, 0)


def _kind_outside(token: Span, fields: Sequence[Span], length: int) -> str:
    if token[0] >= length:
        return "question"
    passed = sum(token[0] >= stop for _, stop in fields)
    if not fields or passed == 0:
        return "before"
    return "after" if passed == len(fields) == 2 else "between"


def encode(
    tokenize: Tokenize,
    statements: Sequence[str],
    parsed: Sequence[Parsed | None],
    *,
    shown: str,
    question: bool = True,
) -> tuple[tuple[Encoded, ...], Labels | None]:
    """The prompts of some statements as tokens with roles, and the label tokens.

    With a question each prompt goes up to the last token that " TRUE" and " FALSE"
    share, which is found in the tokens of every prompt. Without one it ends before the
    object of its statement.

    Args:
        tokenize: Gives token ids and offsets of texts.
        statements: The statements.
        parsed: Where their subject and object are; None for free-form statements.
        shown: The demonstrations, which stand before every statement.
        question: Whether the model is asked.

    Raises:
        PromptError: If the labels have no tokens that differ, or not the same ones in
            every prompt.
    """
    if not statements:
        return (), None
    if not question:
        stems = [
            shown + _before_object(s, p)
            for s, p in zip(statements, parsed, strict=True)
        ]
        return _aligned(tokenize(stems), stems, statements, parsed, shown), None
    stems = [shown + statement + QUESTION for statement in statements]
    both = [tokenize([stem + answer for stem in stems]) for answer in (TRUE, FALSE)]
    stops = [common_start(pair) for pair in zip(both[0].ids, both[1].ids, strict=True)]
    labels = {_label(stem, both, i, stops[i]) for i, stem in enumerate(stems)}
    if len(labels) != 1:
        raise PromptError(
            f"The tokens of {TRUE!r} and {FALSE!r} differ between prompts.",
            expected="One token that stands for each answer in every prompt.",
        )
    return _aligned(both[0], stems, statements, parsed, shown, stops), labels.pop()


def _before_object(statement: str, parsed: Parsed | None) -> str:
    if parsed is None or parsed.object < parsed.subject:
        raise PromptError(
            f"The statement {statement!r} cannot be cut before its object.",
            expected="Without a question the object must follow the subject.",
        )
    return statement[: parsed.object[0]].rstrip()


def _label(stem: str, both: Sequence[Tokens], row: int, stop: int) -> Labels:
    found: list[tuple[int, str]] = []
    for answer, tokens in zip((TRUE, FALSE), both, strict=True):
        if stop >= len(tokens.ids[row]):
            raise PromptError(
                f"One of {TRUE!r} and {FALSE!r} is the beginning of the other in "
                "tokens.",
                expected="The first token in which they differ is read.",
            )
        first, last = _offsets(tokens)[row][stop]
        found.append((tokens.ids[row][stop], (stem + answer)[first:last]))
    (true, true_text), (false, false_text) = found
    return Labels(true=true, false=false, true_text=true_text, false_text=false_text)


def _aligned(
    tokens: Tokens,
    stems: Sequence[str],
    statements: Sequence[str],
    parsed: Sequence[Parsed | None],
    shown: str,
    stops: Sequence[int] | None = None,
) -> tuple[Encoded, ...]:
    encoded: list[Encoded] = []
    for row, statement in enumerate(statements):
        stop = stops[row] if stops is not None else len(tokens.ids[row])
        own = parsed[row]
        start, roles = align(
            _offsets(tokens)[row][:stop],
            begins=len(shown),
            length=len(statement),
            subject=own.subject if own else None,
            object=own.object if own and stops is not None else None,
        )
        encoded.append(
            Encoded(
                text=stems[row],
                ids=tuple(tokens.ids[row][:stop]),
                start=start,
                roles=roles,
            )
        )
    return tuple(encoded)


def _offsets(tokens: Tokens) -> tuple[tuple[Span, ...], ...]:
    if tokens.offsets is None:
        raise PromptError(
            "The tokens have no offsets.",
            expected="Roles come from the characters that each token covers.",
            remedy="Tokenise with offsets=True.",
        )
    return tokens.offsets
