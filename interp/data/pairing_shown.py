"""The order of statements, and the demonstrations that stand before every prompt.

Knows no torch.
"""

from collections.abc import Hashable, Mapping, Sequence
from hashlib import sha256

from interp.data.pairing_tokens import FALSE, QUESTION, TRUE
from interp.data.pairing_values import Asked
from interp.data.statements import Statements
from interp.errors import DataError


N_EACH = 2


def rank(seed: int, statement: str) -> str:
    """What statements are ordered by: the same on every machine and in every version.

    Example:
        >>> rank(0, "Rome is in Italy.")[:8]
        'c3894cc5'
    """
    return sha256(f"{seed}\n{statement}".encode()).hexdigest()


def demonstrations(
    statements: Statements,
    source: str,
    rows: Sequence[int],
    *,
    about: Mapping[int, Hashable],
    asked: Asked,
) -> tuple[tuple[int, ...], str]:
    """Four statements about four different things, and their lines of text.

    With a question two are true and two false, each with its label; without one all are
    true and have none.

    Args:
        statements: The statements of all files.
        source: The file, for messages.
        rows: Its statements, in the order in which they are tried.
        about: What each of them is about.
        asked: Whether there is a question.

    Raises:
        DataError: If there are too few.
    """
    wanted = {True: N_EACH, False: N_EACH} if asked.question else {True: 2 * N_EACH}
    chosen: list[int] = []
    for row in rows:
        label = bool(statements.labels[row])
        fresh = about[row] not in {about[one] for one in chosen}
        if fresh and wanted.get(label, 0):
            wanted[label] -= 1
            chosen.append(row)
    if any(wanted.values()):
        raise DataError(
            f"{source}: too few statements for demonstrations.",
            expected=f"{2 * N_EACH} statements about different subjects are shown, "
            f"{'two of each label' if asked.question else 'all true'}.",
            remedy="Give more statements.",
        )
    lines = [
        statements.prompts[row]
        + ((QUESTION + (TRUE if statements.labels[row] else FALSE)) * asked.question)
        + "\n"
        for row in chosen
    ]
    return tuple(chosen), "".join(lines)
