"""Few-shot prompts that ask a model whether a statement is true.

Four labelled demonstrations from the training split, two true and two false, one a
line, then the statement and the question:

    Rome is in Italy. This statement is: TRUE
    ...
    Lima is in Chad. This statement is:

The demonstrations are the same for all statements of one data set, so that they are one
shared prefix.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from interp.data import Statements
from interp.data.pairing_tokens import (
    FALSE,
    QUESTION,
    TRUE,
    Encoded,
    Labels,
    encode,
    kind_of,
)
from interp.errors import DataError, PromptError
from interp.models.language_model import LanguageModel


ANSWERS = (FALSE, TRUE)
N_EACH = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """Few-shot prompts of one data set as token ids, ready to be run.

    Attributes:
        ids: Each prompt up to the token before the answers differ.
        spans: For each prompt the tokens `start` to `stop` of the queried statement.
        answers: The two answer tokens.
        demonstrations: The shared beginning, as text.
    """

    ids: tuple[tuple[int, ...], ...]
    spans: tuple[tuple[int, int], ...]
    answers: Labels
    demonstrations: str

    def take(self, index: Sequence[int]) -> "Questions":
        """Some of the prompts, in this order."""
        return Questions(
            ids=tuple(self.ids[i] for i in index),
            spans=tuple(self.spans[i] for i in index),
            answers=self.answers,
            demonstrations=self.demonstrations,
        )


def demonstrations(
    statements: Statements, train: Sequence[int] | np.ndarray, *, seed: int = 0
) -> str:
    r"""Two true and two false training statements with their labels, one a line.

    Statements about four different things are taken where there are so many.

    Args:
        statements: The statements.
        train: Which of them may be shown.
        seed: Feeds the choice and the order.

    Raises:
        DataError: If there are fewer than two of a class.

    Example:
        >>> folder = getfixture("tmp_path")
        >>> rows = [f"{c} is {w}.,{int(w == 'here')}" for c in "ABCD"
        ...         for w in ("here", "there")]
        >>> lines = "\n".join(["statement,label", *rows])
        >>> _ = (folder / "s.csv").write_text(lines)
        >>> import interp
        >>> shown = demonstrations(interp.data.statements(folder / "s.csv"), range(8))
        >>> shown.count(": TRUE\n"), shown.count(": FALSE\n")
        (2, 2)
    """
    rng = np.random.default_rng(seed)
    order = [int(i) for i in rng.permutation(np.asarray(train, dtype=np.int64))]
    chosen: list[int] = []
    for label in (True, False):
        rows = [i for i in order if statements.labels[i] == label]
        seen = {statements.groups[i] for i in chosen}
        fresh: list[int] = []
        for i in rows:
            if statements.groups[i] not in seen:
                seen.add(statements.groups[i])
                fresh.append(i)
        rest = [i for i in rows if i not in fresh]
        chosen += [*fresh, *rest][:N_EACH]
    if len(chosen) < 2 * N_EACH:
        raise DataError(
            f"{statements.name}: too few training statements for demonstrations.",
            expected=f"{N_EACH} true and {N_EACH} false ones are shown to the model.",
            remedy="Give more statements.",
        )
    lines = [
        statements.prompts[i] + QUESTION + ANSWERS[int(statements.labels[i])]
        for i in rng.permutation(chosen)
    ]
    return "\n".join(lines) + "\n"


def questions(
    model: LanguageModel, statements: Sequence[str], *, shown: str
) -> Questions:
    """The prompts that ask a model about statements, after demonstrations.

    The model is asked up to the first token in which " TRUE" and " FALSE" differ; it is
    found in the tokens of every prompt, never assumed.

    Args:
        model: Its tokenizer is used.
        statements: The statements to ask about.
        shown: What `demonstrations` gave.

    Raises:
        PromptError: If the tokenizer gives no such tokens, or a prompt is too long.
    """
    encoded, answers = encode(
        lambda texts: model.tokenize(texts, offsets=True),
        statements,
        # Where subject and object stand is not asked.
        [None] * len(statements),
        shown=shown,
    )
    if answers is None:
        raise PromptError("There is no statement to ask about.")
    return Questions(
        ids=tuple(one.ids for one in encoded),
        spans=tuple(_span(one) for one in encoded),
        answers=answers,
        demonstrations=shown,
    )


def _span(prompt: Encoded) -> tuple[int, int]:
    """The tokens that cover the queried statement."""
    inside = sum(kind_of(role) not in ("question", "last") for role in prompt.roles)
    return prompt.start, prompt.start + inside
