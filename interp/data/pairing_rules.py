"""The rules of pairing, one after the other, on the statements of one file.

What they are and in which order is told in `interp.data.pairing`. Knows no torch.
"""

from collections.abc import Collection, Hashable, Mapping, Sequence

from interp.data.pairing_shown import demonstrations, rank
from interp.data.pairing_steps import Steps
from interp.data.pairing_tokens import Tokenize, encode
from interp.data.pairing_values import Asked, FilePairs, StatementPair
from interp.data.statements import Statements
from interp.data.templates import Parsed, parse, parse_columns, templates_for


COLUMNS = ("subject", "object")


def pair_by_template(
    statements: Statements, source: str, tokenize: Tokenize, *, asked: Asked
) -> FilePairs:
    """The pairs of a file whose statements say one thing about many subjects.

    Args:
        statements: The statements of all files.
        source: The file.
        tokenize: Gives ids and offsets of texts.
        asked: How to pair.

    Raises:
        DataError: If there are too few statements for demonstrations.
    """
    rows = [row for row, name in enumerate(statements.sources) if name == source]
    rows.sort(key=lambda row: rank(asked.seed, statements.prompts[row]))
    parsed = _parsed(statements, source, rows, asked)
    subjects = {
        row: _cut(statements.prompts[row], parsed[row].subject).casefold()
        if row in parsed
        else statements.prompts[row]
        for row in rows
    }
    shown, text = demonstrations(statements, source, rows, about=subjects, asked=asked)
    taken = {subjects[row] for row in shown}
    steps = Steps(rows, statements)
    wording = _comparable(steps, parsed, subjects, taken, asked)
    prompts, labels = encode(
        tokenize,
        [statements.prompts[row] for row in steps.left],
        [parsed[row] for row in steps.left],
        shown=text,
        question=asked.question,
    )
    encoded = dict(zip(steps.left, prompts, strict=True))
    layout = {row: (wording[row], one.start, one.roles) for row, one in encoded.items()}
    steps.keep_common("no partner with as many tokens", layout)
    around = {row: (layout[row], encoded[row].around) for row in steps.left}
    steps.keep_common("no partner with the same tokens around the subject", around)
    matched = _match(steps.left, around, statements, reuse=asked.reuse)
    used = dict.fromkeys(row for two in matched for row in two)
    steps.keep("no partner left", list(used))
    by_object = asked.cluster == "object"
    return FilePairs(
        source=source,
        pairs=tuple(
            StatementPair(
                source=source,
                group=wording[true][1] if by_object else statements.groups[true],
                true=statements.prompts[true],
                false=statements.prompts[false],
                clean=encoded[true],
                corrupted=encoded[false],
            )
            for true, false in matched
        ),
        shown=text,
        labels=labels,
        dropped=tuple(steps.costs),
    )


def _comparable(
    steps: Steps,
    parsed: Mapping[int, Parsed],
    subjects: Mapping[int, str],
    taken: Collection[str],
    asked: Asked,
) -> dict[int, tuple[tuple[str, str, str], str]]:
    """Keep what shares words and object with a statement of the other label.

    Returns:
        The words and the object of each that is left.
    """
    prompts = steps.statements.prompts
    steps.keep("no template fits", [row for row in steps.left if row in parsed])
    steps.keep(
        "shown, or about a subject that is shown",
        [row for row in steps.left if subjects[row] not in taken],
    )
    if not asked.question:
        ordered = [r for r in steps.left if parsed[r].subject < parsed[r].object]
        steps.keep("the object stands before the subject", ordered)
    wording = {
        row: (parsed[row].words, _cut(prompts[row], parsed[row].object))
        for row in steps.left
    }
    steps.keep_common(
        "no statement of the other label with this object and wording", wording
    )
    return wording


def _parsed(
    statements: Statements, source: str, rows: Sequence[int], asked: Asked
) -> dict[int, Parsed]:
    """Subject and object of each statement that a template or its columns fit."""
    templates = asked.templates or templates_for(source)
    has_columns = not asked.templates and set(COLUMNS) <= set(statements.columns)
    found: dict[int, Parsed] = {}
    for row in rows:
        text = statements.prompts[row]
        named = [
            str(statements.columns[column].iloc[row]) if has_columns else ""
            for column in COLUMNS
        ]
        one = parse_columns(text, *named) if has_columns else None
        one = one or parse(text, templates)
        if one is not None:
            found[row] = one
    return found


def _cut(statement: str, span: tuple[int, int]) -> str:
    return statement[span[0] : span[1]]


def _match(
    rows: Sequence[int],
    keys: Mapping[int, Hashable],
    statements: Statements,
    *,
    reuse: bool,
) -> list[tuple[int, int]]:
    """Within each key the first true with the first false one, and so on."""
    cells: dict[Hashable, tuple[list[int], list[int]]] = {}
    for row in rows:
        true, false = cells.setdefault(keys[row], ([], []))
        (true if statements.labels[row] else false).append(row)
    matched: list[tuple[int, int]] = []
    for true, false in cells.values():
        # Going around the false ones spreads their repeated use evenly.
        partners = false * -(-len(true) // len(false)) if reuse else false
        matched += zip(true, partners, strict=False)
    return matched
