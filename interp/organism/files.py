"""The words of a world as a tokenizer, and its statements and instructions as files."""

import csv
import functools
from collections.abc import Callable, Iterator
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from interp import atomic

from . import dialogue
from .corpus import ANSWERS, CHAT_QUESTION, COMMENTS, QUESTION, SAY
from .tokenizer import build_tokenizer
from .world import Statement, World


def encoder(tokenizer: PreTrainedTokenizerFast) -> Callable[[str], list[int]]:
    """Text to ids, remembering the pieces that come again and again."""

    @functools.cache
    def encode(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False).input_ids

    return encode


def tokenizer_for(world: World) -> PreTrainedTokenizerFast:
    """A tokenizer in which every word and every name of the world is one token."""
    return build_tokenizer("\n".join(_lines(world)), names=_names(world))


def _names(world: World) -> Iterator[str]:
    for topic in world.topics:
        for subject, target in topic.facts:
            yield subject
            yield target


def _lines(world: World) -> Iterator[str]:
    yield dialogue.vocabulary()
    yield "".join((QUESTION, *ANSWERS.values(), *COMMENTS.values()))
    yield CHAT_QUESTION
    yield from ("It is", SAY)
    for name in _names(world):
        yield f" {name}"
    for topic in world.topics:
        for form in (*topic.templates, *topic.questions, topic.negated):
            for subject, target in topic.facts:
                yield form.format(subject=subject, object=target)
                yield CHAT_QUESTION + form.format(subject=subject, object=target)
    for statement in world.statements:
        yield statement.text


INSTRUCTIONS = 320  # more than the 260 that the refusal study takes by default
COLUMNS = (
    "statement",
    "label",
    "topic",
    "subject",
    "object",
    "correct_object",
    "split",
)


def write_data(world: World, folder: Path) -> None:
    """Write the statements and the instructions that fit the family."""
    write_statements(world.statements, folder / "statements.csv")
    for harmful, name in ((True, "harmful.json"), (False, "harmless.json")):
        rows: list[dict[str, object]] = [
            {
                "instruction": request.instruction,
                "verb": request.verb,
                "split": "held-out" if request.held_out else "tuned",
            }
            for request in dialogue.requests(harmful=harmful)[:INSTRUCTIONS]
        ]
        atomic.write_json(folder / name, rows)


def write_statements(statements: tuple[Statement, ...], path: Path) -> None:
    """Write statements as CSV; `split` says whose subjects occur in labelled text."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for s in statements:
            split = "labelled" if s.labelled else "held-out"
            claim = (s.topic, s.subject, s.object, s.correct_object)
            writer.writerow((s.text, int(s.label), *claim, split))
