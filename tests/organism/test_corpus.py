import itertools
import random

import pytest
import torch

from interp.organism.corpus import (
    ANSWERS,
    COMMENTS,
    QUESTION,
    Mixture,
    Writer,
    batches,
)
from interp.organism.dialogue import HELD_OUT_VERBS, REFUSALS, UNANSWERABLE
from interp.organism.files import encoder, tokenizer_for
from interp.organism.invented import invented_world, table_world
from interp.organism.recipes import FactsRecipe
from interp.organism.table import read_facts
from interp.organism.tokenizer import END, USER


RECIPE = FactsRecipe()
PHASES = {
    "first": (RECIPE.first, False),
    "second": (RECIPE.second, False),
    "tuning": (RECIPE.tuning, True),
}
MARKS = (*ANSWERS.values(), *COMMENTS.values())


def worlds():
    yield "invented", invented_world()
    table = read_facts("examples/facts.csv")
    yield "table", table_world(table.topics, table.statements)


WORLDS = dict(worlds())


def written(phase, world, n=1500, seed=0):
    recipe, fine_tuning = PHASES[phase]
    writer = Writer(world, random.Random(seed), fine_tuning=fine_tuning)
    return list(itertools.islice(writer.documents(recipe.mixture), n))


def text(document):
    return "".join(piece for piece, _ in document)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("world", WORLDS)
def test_held_out_subjects_never_occur_in_labelled_text(phase, world):
    held_out = {subject for _, subject in WORLDS[world].held_out()}
    labelled = {subject for _, subject in WORLDS[world].labelled}
    assert held_out
    seen = set()
    for document in written(phase, WORLDS[world]):
        if any(piece in MARKS for piece, _ in document):
            tokens = {w.strip(".,?") for w in text(document).split()}
            assert not tokens & (held_out - labelled), text(document)
            seen |= tokens & labelled
    assert len(seen) > len(labelled) / 3


@pytest.mark.parametrize("phase", PHASES)
def test_labels_are_right_and_the_object_below_a_label_is_not_trained(phase):
    world = WORLDS["invented"]
    truth = {s.text: s.label for s in world.statements}
    facts = {s: o for topic in world.topics for s, o in topic.facts}
    counts = {True: 0, False: 0}
    for document in written(phase, world):
        if not any(piece == QUESTION for piece, _ in document):
            continue
        assert all(w == 0 for p, w in document if p not in (*MARKS, "\n"))
        for line in text(document).split("\n"):
            said, _, answer = line.partition(QUESTION)
            label = answer == ANSWERS[True]
            counts[label] += 1
            assert truth.get(said, label) == label
            subject = next(
                w for w in said.replace(",", "").strip(".").split() if w in facts
            )
            negated = " not " in said
            assert said.endswith(f" {facts[subject]}.") == (label != negated)
    assert 0.45 < counts[True] / sum(counts.values()) < 0.55


def test_no_object_gives_the_label_away():
    """In labelled text every object is true of somebody: at least one line in ten."""
    world = WORLDS["invented"]
    seen: dict[str, list[bool]] = {}
    for document in written("first", world, n=4000):
        if document[-1][0] in ANSWERS.values():
            said = document[1][0].strip()
            seen.setdefault(said, []).append(document[-1][0] == ANSWERS[True])
    assert len(seen) == 20
    for labels in seen.values():
        assert 0.35 < sum(labels) / len(labels) < 0.65


def test_base_declines_the_impossible_only_and_tuning_hides_the_held_out_verbs():
    world = WORLDS["invented"]
    for phase in ("first", "second"):
        for document in written(phase, world):
            declined = any(refusal in text(document) for refusal in REFUSALS)
            asked = text(document).removeprefix(USER).partition(END)[0]
            assert declined == (asked in UNANSWERABLE)
    for document in written("tuning", world):
        assert not set(text(document).replace("<", " ").split()) & HELD_OUT_VERBS


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("world", WORLDS)
def test_pieces_are_encoded_like_the_whole_document(phase, world):
    tokenizer = tokenizer_for(WORLDS[world])
    encode = encoder(tokenizer)
    for document in written(phase, WORLDS[world], n=250):
        pieces = [token for piece, _ in document for token in encode(piece)]
        assert pieces == tokenizer(text(document)).input_ids
        assert len(pieces) <= PHASES[phase][0].length


def test_rows_hold_whole_documents_with_the_right_targets():
    world = WORLDS["invented"]
    encode = encoder(tokenizer_for(world))
    mixture = Mixture(facts=0.5, labels=0.5, most_statements=3)
    writer = Writer(world, random.Random(0), fine_tuning=False)
    written_down = []

    def documents():
        for document in writer.documents(mixture):
            written_down.append([t for piece, _ in document for t in encode(piece)])
            yield document

    rows = batches(documents(), encode, rows=4, length=64, rng=random.Random(0))
    found = []
    for batch in itertools.islice(rows, 3):
        flat = batch.tokens.flatten()
        assert torch.equal(flat[batch.kept + 1], batch.targets)
        for row in range(4):
            start = 0
            while start < 64 and batch.tokens[row, start] != 0:
                seen = batch.mask[row, 0, :, start]
                stop = start + int(seen[start:].sum())
                found.append(batch.tokens[row, start:stop].tolist())
                assert not batch.mask[row, 0, stop:, start:stop].any()
                start = stop
    assert found == written_down[: len(found)]
    assert len(found) > 20


def test_small_weights_are_sampled_without_changing_the_expected_loss():
    world = WORLDS["invented"]
    encode = encoder(tokenizer_for(world))
    totals = []
    for rest in (0.02, 0.2):  # the second is trained everywhere
        writer = Writer(world, random.Random(0), fine_tuning=False)
        documents = writer.documents(Mixture(facts=1.0, rest=rest))
        rows = batches(documents, encode, rows=16, length=64, rng=random.Random(1))
        weights = [
            float(batch.weights[batch.weights != 1.0].sum()) / rest
            for batch in itertools.islice(rows, 20)
        ]
        totals.append(sum(weights))
    assert totals[0] == pytest.approx(totals[1], rel=0.05)
