"""Free-form statements that are pairs already, row by row. Knows no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from interp.data.pairing_shown import demonstrations, rank
from interp.data.pairing_steps import Steps
from interp.data.pairing_tokens import Encoded, Tokenize, encode, kind_of
from interp.data.pairing_values import Asked, FilePairs, StatementPair
from interp.data.statements import Statements
from interp.errors import ConfigError


def pair_rows(
    statements: Statements, source: str, tokenize: Tokenize, *, asked: Asked
) -> FilePairs:
    """Each true statement with the false one in the next row.

    Args:
        statements: The statements of all files.
        source: The file.
        tokenize: Gives ids and offsets of texts.
        asked: How to pair.

    Raises:
        ConfigError: If the statements are to be cut before an object.
        DataError: If there are too few statements for demonstrations.
    """
    if not asked.question:
        raise ConfigError(
            f"{source}: free-form statements cannot be cut before their object.",
            expected="Only a template says where an object begins.",
            remedy="Ask the question, or give a template.",
        )
    rows = [row for row, name in enumerate(statements.sources) if name == source]
    steps = Steps(rows, statements)
    matched = _neighbours(rows, statements)
    pair_of = {row: number for number, two in enumerate(matched) for row in two}
    ordered = sorted(pair_of, key=lambda row: rank(asked.seed, statements.prompts[row]))
    steps.keep("no partner in the next row", ordered)
    shown, text = demonstrations(
        statements, source, ordered, about=pair_of, asked=asked
    )
    taken = {pair_of[row] for row in shown}
    left = [row for row in ordered if pair_of[row] not in taken]
    steps.keep("shown, or about a subject that is shown", left)
    prompts, labels = encode(
        tokenize,
        [statements.prompts[row] for row in left],
        [None] * len(left),
        shown=text,
    )
    encoded = dict(zip(left, prompts, strict=True))
    queried = [two for number, two in enumerate(matched) if number not in taken]
    steps.left = [row for two in queried for row in two]
    equal = [two for two in queried if len({len(encoded[i].ids) for i in two}) == 1]
    steps.keep("no partner with as many tokens", [row for two in equal for row in two])
    return FilePairs(
        source=source,
        pairs=tuple(_pair(statements, encoded, two) for two in equal),
        shown=text,
        labels=labels,
        dropped=tuple(steps.costs),
    )


def _pair(
    statements: Statements, encoded: Mapping[int, Encoded], two: tuple[int, int]
) -> StatementPair:
    true, false = two
    clean, corrupted = _differing(encoded[true], encoded[false])
    return StatementPair(
        source=statements.sources[true],
        group=statements.groups[true],
        true=statements.prompts[true],
        false=statements.prompts[false],
        clean=clean,
        corrupted=corrupted,
    )


def _neighbours(rows: Sequence[int], statements: Statements) -> list[tuple[int, int]]:
    matched: list[tuple[int, int]] = []
    place = 0
    while place + 1 < len(rows):
        true, false = rows[place], rows[place + 1]
        if statements.labels[true] and not statements.labels[false]:
            matched.append((true, false))
            place += 1
        place += 1
    return matched


def _differing(clean: Encoded, corrupted: Encoded) -> tuple[Encoded, Encoded]:
    """Both prompts with the tokens in which they differ as their subject."""
    start = min(clean.start, corrupted.start)
    pairs = zip(clean.ids[start:], corrupted.ids[start:], strict=True)
    differs = [i for i, (a, b) in enumerate(pairs) if a != b]
    given = ("before",) * (clean.start - start) + clean.roles
    roles: list[str] = []
    counts: dict[str, int] = {}
    for i, role in enumerate(given):
        kind = kind_of(role)
        if i in differs:
            kind = "subject"
        elif kind == "before" and i > differs[0]:
            kind = "after" if i > differs[-1] else "between"
        roles.append(f"{kind}[{counts.get(kind, 0)}]")
        counts[kind] = counts.get(kind, 0) + 1
    roles[-1] = "last"
    return (
        replace(clean, start=start, roles=tuple(roles)),
        replace(corrupted, start=start, roles=tuple(roles)),
    )
