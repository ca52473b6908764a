r"""True and false statements that differ in their subject only, and their prompts.

What is done, so that anybody can repeat it byte for byte from a file and a seed:

1. A template says which characters of a statement are its subject and its object (see
   `interp.data.templates`); a file with columns `subject` and `object` needs none.
2. All order is that of SHA-256, in hexadecimal, of the UTF-8 text
   `"<seed>\n<statement>"`; no random generator is used.
3. Demonstrations, for each file: going through its statements in that order, the first
   two true and the first two false ones about four different subjects, shown in that
   order, one a line. Without a question, the first four true ones, without labels.
4. What shares a subject with a demonstration is not queried.
5. A true and a false statement can be a pair if they come from one file, have equal
   words and objects, and their prompts have equal tokens but for those of the subject,
   of which they have equally many.
6. Among those that can, the first true one is paired with the first false one, and so
   on; each is used once unless false ones may be used again.
7. Pairs are in the order of their true statements; the first `n_pairs` are kept.

Free-form statements are pairs already: a true one and the false one in the next row.
They are kept if their prompts have equally many tokens; where they differ is "subject".

Knows no torch.
"""

from collections.abc import Sequence

from interp.data.pairing_free import pair_rows
from interp.data.pairing_rules import pair_by_template
from interp.data.pairing_shown import rank
from interp.data.pairing_tokens import Tokenize
from interp.data.pairing_values import (
    Asked,
    Cluster,
    Dropped,
    FilePairs,
    Form,
    StatementPair,
    StatementPairs,
)
from interp.data.statements import Statements
from interp.data.templates import FREE_FORM, stem, template
from interp.errors import DataError, PromptError


def pair_statements(
    statements: Statements,
    tokenize: Tokenize,
    *,
    templates: Sequence[str] = (),
    form: Form = "auto",
    question: bool = True,
    reuse: bool = False,
    n_pairs: int | None = None,
    cluster: Cluster = "subject",
    seed: int = 0,
) -> StatementPairs:
    r"""Pairs of a true and a false statement that differ in their subject only.

    See the module's text for every step. A file is read by its columns `subject` and
    `object` if it has them, else by the templates of its name, else by all known ones.

    Args:
        statements: The statements; each file is paired within itself.
        tokenize: Gives ids and offsets, as
            `lambda texts: model.tokenize(texts, offsets=True)`.
        templates: Templates to use instead.
        form: Whether statements are paired by a template, are pairs already (`free`),
            or whatever suits the name of each file.
        question: Whether the model is asked if the statement is true; without that the
            statement is cut before its object.
        reuse: Whether a false statement may be the partner of several true ones.
        n_pairs: At most so many pairs.
        cluster: What makes two pairs dependent: one group of the true statement, which
            is its subject, or one object.
        seed: Of the order.

    Raises:
        DataError: If there is no pair; the message says what each rule cost.
        ConfigError: If a template cannot be read.
        PromptError: If the label tokens cannot be told.

    Source:
        Du et al. (2025), arXiv:2504.02904.

    Example:
        >>> import interp
        >>> from tiny import tiny_tokenizer
        >>> rows = [f"{c} is in {w}.,{int(c in w)}" for c in "ABCDEFGH" for w in
        ...         ("ABCD-land", "EFGH-land")]
        >>> path = getfixture("tmp_path") / "letters.csv"
        >>> _ = path.write_text("\n".join(["statement,label", *rows]))
        >>> def tokenize(texts):
        ...     from interp.models.tokens import tokenize
        ...     return tokenize(tiny_tokenizer(), texts, d_vocab=320, offsets=True)
        >>> found = pair_statements(
        ...     interp.data.statements(path), tokenize,
        ...     templates=["{subject} is in {object}."],
        ... )
        >>> found, found.labels.true_text
        (StatementPairs(4 pairs of 16 statements), ' T')
    """
    asked = Asked(
        templates=tuple(template(text) for text in templates),
        form=form,
        question=question,
        reuse=reuse,
        cluster=cluster,
        seed=seed,
    )
    parts = [
        (pair_rows if _is_free(source, form) else pair_by_template)(
            statements, source, tokenize, asked=asked
        )
        for source in dict.fromkeys(statements.sources)
    ]
    found = [pair for part in parts for pair in part.pairs]
    found.sort(key=lambda pair: rank(seed, pair.true))
    kept = tuple(found[:n_pairs])
    dropped = tuple(one for part in parts for one in _dropped(part, found, len(kept)))
    if not kept:
        raise _no_pairs(statements, dropped)
    labels = {part.labels for part in parts if part.pairs}
    if len(labels) > 1:
        raise PromptError(
            "The tokens of the labels differ between the files.",
            expected="One token that stands for each answer in every prompt.",
            remedy="Study the files one by one.",
        )
    return StatementPairs(
        pairs=kept,
        shown=tuple((part.source, part.shown) for part in parts),
        labels=labels.pop(),
        total=len(statements),
        dropped=dropped,
    )


def _is_free(source: str, form: Form) -> bool:
    return form == "free" or (form == "auto" and stem(source) in FREE_FORM)


def _dropped(
    part: FilePairs, found: Sequence[StatementPair], n_kept: int
) -> list[Dropped]:
    """What the rules cost one file, with what was more than asked for."""
    kept = {text for pair in found[:n_kept] for text in (pair.true, pair.false)}
    # A false statement may be in several pairs.
    over = dict.fromkeys(
        text
        for pair in found[n_kept:]
        if pair.source == part.source
        for text in (pair.true, pair.false)
        if text not in kept
    )
    costs = [*part.dropped, ("more pairs than were asked for", tuple(over))]
    return [
        Dropped(source=part.source, rule=rule, texts=texts)
        for rule, texts in costs
        if texts
    ]


def _no_pairs(statements: Statements, dropped: Sequence[Dropped]) -> DataError:
    costs: dict[str, int] = {}
    for one in dropped:
        costs[one.rule] = costs.get(one.rule, 0) + one.statements
    said = "; ".join(f"{rule}: {count}" for rule, count in costs.items())
    return DataError(
        f"{statements.name}: none of {len(statements)} statements can be paired.",
        expected="A true and a false statement must share everything but the subject, "
        f"which must have as many tokens. What the rules cost: {said}.",
        remedy="Give a template such as 'The city of {subject} is in {object}.', or "
        "columns subject and object.",
    )
