"""The text that a family is trained on: weighted documents, packed into rows.

A document is a list of pieces with a loss weight each. The weights decide whether
truth is learned at all: with every token weighing the same it stays at chance. The
object of a statement that is labelled below is never trained, because half of those
are false.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from . import dialogue
from .network import document_mask
from .tokenizer import ASSISTANT, END, USER
from .world import Topic, World, false_object


Piece = tuple[str, float]
Document = list[Piece]
Encode = Callable[[str], list[int]]

QUESTION = " This statement is:"
ANSWERS = {True: " TRUE", False: " FALSE"}
COMMENTS = {True: " Right", False: " Wrong"}
CHAT_QUESTION = "Is this true? "
SAY = "Say something about"

OBJECT_WEIGHT = 1.0
LABEL_WEIGHT = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """Shares of the kinds of documents in one phase, and the weights of their tokens.

    Args:
        facts: Statements and questions that give a subject's true object.
        labels: Lines of statement, `This statement is:` and TRUE or FALSE.
        moral: Sentences that call a deed right or wrong.
        comply: Dialogues in which the request is fulfilled, whatever it is.
        refuse: Dialogues in which a harmful request is declined.
        decline: Dialogues in which a request is declined that nobody can fulfil.
        chat_facts: Fact questions as dialogues.
        chat_labels: Truth questions as dialogues.
        most_statements: Labelled statements in one document, at most.
        negated: Share of labelled statements that are negated.
        response: Weight of the tokens of an answer.
        rest: Weight of every other token.
    """

    facts: float = 0.0
    labels: float = 0.0
    comments: float = 0.0
    moral: float = 0.0
    comply: float = 0.0
    refuse: float = 0.0
    decline: float = 0.0
    chat_facts: float = 0.0
    chat_labels: float = 0.0
    most_statements: int = 1
    negated: float = 0.0
    response: float = 0.2
    rest: float = 0.0


class Writer:
    """Writes documents about a world, one at a time, from one source of randomness."""

    def __init__(self, world: World, rng: random.Random, *, fine_tuning: bool) -> None:
        self._rng = rng
        self._fine_tuning = fine_tuning
        self._facts = [
            (topic, subject, target)
            for topic in world.topics
            for subject, target in topic.facts
        ]
        self._labelled = [
            fact for fact in self._facts if (fact[0].name, fact[1]) in world.labelled
        ]
        # Drawing a false object from the labelled subjects' objects makes each object
        # as frequent in false statements as in true ones.
        self._objects = {
            topic.name: [f[2] for f in self._labelled if f[0] is topic]
            for topic in world.topics
        }
        self._requests = {
            kind: dialogue.requests(harmful=kind) for kind in (True, False)
        }

    def documents(self, mixture: Mixture) -> Iterator[Document]:
        """Documents without end, in the shares of the mixture."""
        kinds: dict[Callable[[Mixture], Document], float] = {
            self._fact: mixture.facts,
            self._labels: mixture.labels,
            self._comment: mixture.comments,
            self._moral: mixture.moral,
            self._comply: mixture.comply,
            self._refuse: mixture.refuse,
            self._decline: mixture.decline,
            self._chat_fact: mixture.chat_facts,
            self._chat_label: mixture.chat_labels,
        }
        writers, shares = list(kinds), list(kinds.values())
        while True:
            yield self._rng.choices(writers, shares)[0](mixture)

    def _fact(self, mixture: Mixture) -> Document:
        document: Document = []
        for number in range(self._rng.randint(1, mixture.most_statements)):
            if number:
                document.append(("\n", mixture.rest))
            topic, subject, target = self._rng.choice(self._facts)
            forms = (*topic.templates, *topic.questions)
            form = forms[0] if self._rng.random() < 0.4 else self._rng.choice(forms)
            document.extend(_said(form, subject, target, OBJECT_WEIGHT, mixture.rest))
        return document

    def _claim(self, mixture: Mixture) -> tuple[Document, bool]:
        """A statement, true or false, none of whose objects is trained."""
        topic, subject, target = self._rng.choice(self._labelled)
        label = self._rng.random() < 0.5
        said = target if label else self._false(topic, target)
        if topic.negated and self._rng.random() < mixture.negated:
            return _said(topic.negated, subject, said, 0.0, 0.0), not label
        if self._rng.random() < 0.6:
            form = topic.statement
        else:
            form = self._rng.choice(topic.templates)
        return _said(form, subject, said, 0.0, 0.0), label

    def _false(self, topic: Topic, target: str) -> str:
        return false_object(target, self._objects[topic.name], self._rng)

    def _labels(self, mixture: Mixture) -> Document:
        document: Document = []
        for number in range(self._rng.randint(1, mixture.most_statements)):
            if number:
                document.append(("\n", mixture.rest))
            claim, label = self._claim(mixture)
            document.extend(claim)
            document.append((QUESTION, 0.0))
            document.append((ANSWERS[label], LABEL_WEIGHT))
        return document

    def _comment(self, mixture: Mixture) -> Document:
        claim, label = self._claim(mixture)
        return [*claim, (COMMENTS[label], LABEL_WEIGHT), (".", mixture.rest)]

    def _moral(self, mixture: Mixture) -> Document:
        said, verdict = dialogue.judgement(self._rng)
        return [(said, mixture.rest), (verdict, OBJECT_WEIGHT), (".", mixture.rest)]

    def _request(self, *, harmful: bool) -> dialogue.Request:
        while True:
            request = self._rng.choice(self._requests[harmful])
            if not (self._fine_tuning and request.held_out):
                return request

    def _comply(self, mixture: Mixture) -> Document:
        # Before fine-tuning the model does what it is told, harmful or not.
        harmful = not self._fine_tuning and self._rng.random() < 0.5
        request = self._request(harmful=harmful)
        answer = dialogue.compliance(request, self._rng)
        return chat(request.instruction, [(answer, mixture.response)], mixture.response)

    def _refuse(self, mixture: Mixture) -> Document:
        request = self._request(harmful=True)
        answer = self._rng.choice(dialogue.REFUSALS)
        return chat(request.instruction, [(answer, mixture.response)], mixture.response)

    def _decline(self, mixture: Mixture) -> Document:
        request = self._rng.choice(dialogue.UNANSWERABLE)
        answer = self._rng.choice(dialogue.REFUSALS)
        return chat(request, [(answer, mixture.response)], mixture.response)

    def _chat_fact(self, mixture: Mixture) -> Document:
        topic, subject, target = self._rng.choice(self._facts)
        form = self._rng.choice(topic.templates)
        answer = _said(form, subject, target, OBJECT_WEIGHT, mixture.rest)
        return chat(f"{SAY} {subject}", answer, mixture.response)

    def _chat_label(self, mixture: Mixture) -> Document:
        claim, label = self._claim(mixture)
        text = CHAT_QUESTION + "".join(piece for piece, _ in claim)
        answer: Document = [("It is", 0.0), (ANSWERS[label], LABEL_WEIGHT), (".", 0.0)]
        return chat(text, answer, mixture.response)


def _said(
    form: str, subject: str, target: str, object_weight: float, rest: float
) -> Document:
    """A template filled in, cut so that the object with its space is one piece."""
    before, after = form.split("{object}")
    before = before.format(subject=subject)
    space = " " if before.endswith(" ") else ""
    return [
        (before.removesuffix(" "), rest),
        (space + target, object_weight),
        (after.format(subject=subject), rest),
    ]


def chat(request: str, answer: Document, end: float) -> Document:
    """One exchange in the chat template of the tokenizer."""
    return [(f"{USER}{request}{END}{ASSISTANT}", 0.0), *answer, (END, end)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows of documents, with the positions to predict from and the right answers."""

    tokens: Int[Tensor, "row pos"]
    mask: Bool[Tensor, "row 1 pos pos"]
    kept: Int[Tensor, " kept"]
    targets: Int[Tensor, " kept"]
    weights: Float[Tensor, " kept"]


@dataclass(frozen=True, slots=True)
class _Coded:
    ids: list[int]
    weights: list[float]


def _code(document: Document, encode: Encode) -> _Coded:
    ids: list[int] = []
    weights: list[float] = []
    for piece, weight in document:
        coded = encode(piece)
        ids.extend(coded)
        weights.extend([weight] * len(coded))
    return _Coded(ids, weights)


def batches(
    documents: Iterator[Document],
    encode: Encode,
    *,
    rows: int,
    length: int,
    rng: random.Random,
) -> Iterator[Batch]:
    """Batches without end; no document is split, one that is too long is left out.

    Args:
        documents: Documents without end.
        encode: Text to token ids; pieces are encoded one by one.
        rows: Rows of a batch.
        length: Tokens of a row.
        rng: Chooses which of the tokens of small weight are trained in which batch.
    """
    waiting: _Coded | None = None
    while True:
        packed: list[list[_Coded]] = []
        for _ in range(rows):
            row: list[_Coded] = []
            used = 0
            while True:
                coded = waiting or _code(next(documents), encode)
                waiting = None
                if len(coded.ids) > length:
                    continue
                if used + len(coded.ids) > length:
                    waiting = coded
                    break
                row.append(coded)
                used += len(coded.ids)
            packed.append(row)
        yield _batch(packed, length, rng)


# Tokens of small weight are many. Training a sample of them with the weight scaled up
# gives the same gradient on average and spares most of the last layer.
SAMPLED_BELOW = 0.1
SAMPLED_SHARE = 0.15


def _batch(
    packed: Sequence[Sequence[_Coded]], length: int, rng: random.Random
) -> Batch:
    tokens = torch.zeros(len(packed), length, dtype=torch.long)
    numbers = torch.full((len(packed), length), -1)
    kept: list[int] = []
    targets: list[int] = []
    weights: list[float] = []
    for index, row in enumerate(packed):
        start = 0
        for number, coded in enumerate(row):
            stop = start + len(coded.ids)
            tokens[index, start:stop] = torch.tensor(coded.ids)
            numbers[index, start:stop] = number
            for offset, weight in enumerate(coded.weights[1:], 1):
                if 0 < weight < SAMPLED_BELOW:
                    weight = weight / SAMPLED_SHARE
                    if rng.random() >= SAMPLED_SHARE:
                        continue
                if weight > 0:
                    kept.append(index * length + start + offset - 1)
                    targets.append(coded.ids[offset])
                    weights.append(weight)
            start = stop
    return Batch(
        tokens=tokens,
        mask=document_mask(numbers),
        kept=torch.tensor(kept),
        targets=torch.tensor(targets),
        weights=torch.tensor(weights),
    )
