import pytest
import torch

from interp.errors import ConfigError
from interp.formation import (
    Pass,
    RepeatedTokens,
    evaluator,
    few_shot_labels,
    measure_labels,
    measure_repeats,
    reddy_task,
)


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_tokens_repeat_with_a_period_and_are_distinct_inside_it(repeats):
    batch = repeats.sample(generators(0, 1), 40)
    for tokens, targets, period in zip(
        batch.symbols.flatten(0, 1).tolist(),
        batch.targets.flatten(0, 1).tolist(),
        batch.periods.flatten().tolist(),
        strict=True,
    ):
        whole = [*tokens, targets[-1]]
        assert whole[1:] == targets
        assert len({*whole[:period]}) == period
        assert whole[period:] == whole[:-period]
    assert {*batch.periods.flatten().tolist()} == {3, 4, 5, 6}


def test_a_replica_draws_the_same_alone_as_in_company(repeats):
    together = repeats.sample(generators(4, 9), 5)
    assert torch.equal(repeats.sample(generators(9), 5).symbols, together.symbols[1:])


def items_of(batch):
    assert batch.items is not None
    return batch.items


def answers_of(batch):
    assert batch.answers is not None
    return batch.answers


def test_only_the_context_tells_the_label():
    splits = few_shot_labels(classes=7, d_item=12)
    batch = splits.train.sample(generators(0, 1), 400)
    symbols, items, answers = batch.symbols, items_of(batch), answers_of(batch)
    label = symbols.gather(-1, answers[..., None])[..., 0]
    assert torch.equal(label, batch.targets[..., -1])
    asked = items[..., -1, :]
    at = (answers - 1)[..., None, None].expand(*answers.shape, 1, 12)
    assert torch.equal(items.gather(2, at)[..., 0, :], asked)
    # Each class has each label about equally often: weights cannot know.
    of = (asked[:, :, None] == splits.train.prototypes).all(-1).int().argmax(-1)
    counts = torch.zeros(7, 5)
    counts.index_put_((of.flatten(), label.flatten()), torch.ones(800), True)
    assert (counts > 0).all()


def test_held_out_pairs_never_occur_in_training():
    splits = few_shot_labels()

    def pairs(task):
        labels = task.sample(generators(0), 500).symbols[..., 1::2]
        return {tuple(sorted(pair)) for pair in labels[0].tolist()}

    train, new = pairs(splits.train), pairs(splits.new_pairs)
    assert len(train) == 8
    assert len(new) == 2
    assert not train & new
    assert len({label for pair in train for label in pair}) == 5


def test_likeness_is_the_cosine_between_classes():
    vectors = few_shot_labels(classes=60, d_item=256, likeness=0.8).train.prototypes
    cosines = torch.corrcoef(vectors)
    off = cosines[~torch.eye(60, dtype=torch.bool)]
    assert abs(off.mean() - 0.8) < 0.05


SMALL = {"labels": 8, "content": 15, "places": 13, "context": 4}


def decoded(task, batch):
    """The class of each item by its nearest mean."""
    content = batch.items[..., 0::2, task.places :]
    return (
        torch.cdist(content.flatten(0, 2), task.means)
        .argmin(-1)
        .reshape(content.shape[:3])
    )


def test_a_bursty_context_has_copies_and_the_class_that_is_asked():
    task = reddy_task(classes=32, copies=2, noise=0.0, **SMALL)
    batch = task.sample(generators(0, 1), 30)
    classes = decoded(task, batch)
    for row in classes.flatten(0, 1).tolist():
        context = row[:-1]
        assert sorted(context.count(c) for c in {*context}) == [2, 2]
        assert row[-1] in context
    assert torch.equal(classes[..., :-1] % 8, batch.symbols[..., 1::2])
    assert torch.equal(classes[..., -1] % 8, batch.targets[..., -1])


def test_positions_are_one_hot_and_start_anywhere():
    task = reddy_task(classes=32, **SMALL)
    places = items_of(task.sample(generators(0), 60))[0, ..., :13].argmax(-1)
    assert {*places[:, 0].tolist()} == set(range(5))
    assert (places.diff(dim=-1) == 1).all()


def test_learning_in_weights_is_tested_without_the_class_in_context():
    task = evaluator(reddy_task(classes=512, **SMALL), "IW")
    answers = answers_of(task.sample(generators(0), 200))
    assert (answers < 0).float().mean() > 0.95


def test_new_classes_have_one_label_in_a_sequence_and_any_over_sequences():
    task = evaluator(reddy_task(classes=32, copies=2, noise=0.0, **SMALL), "IC")
    batch = task.sample(generators(0), 50)
    content = items_of(batch)[0, :, 0::2, 13:]
    labels = torch.cat([batch.symbols[0, :, 1::2], batch.targets[0, :, -1:]], dim=-1)
    same = torch.cdist(content, content) < 1e-4
    assert ((labels[:, :, None] == labels[:, None]) | ~same).all()
    assert torch.cdist(content.flatten(0, 1), task.means).min() > 0.1
    assert len(labels.unique()) == 8


def test_swapped_labels_are_the_next_ones_in_context_and_answer():
    task = evaluator(reddy_task(classes=32, noise=0.0, **SMALL), "IC2")
    batch = task.sample(generators(0), 30)
    classes = decoded(task, batch)
    assert torch.equal((classes[..., :-1] + 1) % 8, batch.symbols[..., 1::2])
    assert torch.equal((classes[..., -1] + 1) % 8, batch.targets[..., -1])


def test_frequencies_fall_with_the_exponent():
    task = reddy_task(classes=32, skew=1.0, noise=0.0, p_bursty=0.0, **SMALL)
    classes = decoded(task, task.sample(generators(0), 4000))[..., -1].flatten()
    counts = torch.bincount(classes, minlength=32).float()
    assert abs(counts[0] / counts[3] - 4) < 0.8


@pytest.mark.parametrize(
    "wrong",
    [{"classes": 33}, {"classes": 32, "copies": 3}, {"classes": 32, "places": 8}],
)
def test_a_task_that_cannot_be_is_refused(wrong):
    with pytest.raises(ConfigError):
        reddy_task(**(SMALL | wrong))
    with pytest.raises(ConfigError):
        RepeatedTokens(vocabulary=4)
    with pytest.raises(ConfigError):
        few_shot_labels(labels=3, held_out=0.9)


def test_a_perfect_induction_head_scores_one_on_repeats(repeats):
    batch = repeats.sample(generators(0), 6)
    same = batch.symbols[..., :, None] == batch.symbols[..., None, :-1]
    pattern = torch.nn.functional.pad(same, (1, 0)).float().tril()
    pattern = pattern / pattern.sum(-1, keepdim=True).clamp(min=1)
    logits = torch.nn.functional.one_hot(batch.targets, 12).float() * 30
    sites = {"block.0.attn.pattern": torch.stack([pattern, 0 * pattern], dim=2)}
    found = measure_repeats(Pass(logits=logits, sites=sites), batch)
    assert found["prefix_matching"].item() == pytest.approx(1)
    assert found["accuracy"].item() == 1
    assert found["loss"].item() < 1e-6


def test_the_progress_measures_of_a_perfect_circuit_are_one():
    batch = few_shot_labels(d_item=8).train.sample(generators(0), 6)
    first = torch.diag(torch.ones(4), -1).expand(1, 6, 1, 5, 5)
    last = torch.zeros(1, 6, 1, 5, 5)
    last[0, torch.arange(6), 0, -1, answers_of(batch)[0]] = 1
    logits = torch.nn.functional.one_hot(batch.targets.clamp(min=0), 5).float() * 30
    sites = {"block.0.attn.pattern": first, "block.1.attn.pattern": last}
    found = measure_labels(Pass(logits=logits, sites=sites), batch)
    for name in ("accuracy", "CLA", "ILA1", "TLA2", "TILA2", "induction_strength"):
        assert found[name].item() == 1, name
    flat = measure_labels(Pass(logits=0 * logits, sites=sites), batch)
    assert flat["context_mass"].item() == pytest.approx(0.4)
