"""The truthfulness study finds what was planted, and nothing where nothing is."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from interp.errors import DataError, IncompatibleError
from interp.models.language_model import LanguageModel
from interp.provenance import record
from probes.studies.truthfulness.study import truthfulness


LENGTH = 4.0


@pytest.fixture
def study(marked, quick):
    """Runs the study on two models, with the statements changed if asked."""

    def run(base, post, statements=marked, **settings):
        spec = replace(quick, **settings)
        return truthfulness(
            base, post, statements, spec=spec, provenance=record("truthfulness")
        )

    return run


def test_one_planted_direction_is_found_in_both_models(plant, unit, study):
    base, post = plant(LENGTH * unit), plant(LENGTH * unit, seed=1)
    result = study(base, post)
    assert result.auroc.min() > 0.99
    assert result.accuracy.min() > 0.99
    assert result.cosine.min() > 0.9
    assert result.permutation_p == (0.001, 0.001)
    assert "separates held-out true from false" in result.headline()


def test_directions_at_right_angles_do_not_carry_over(plant, unit, other_unit, study):
    result = study(plant(LENGTH * unit), plant(LENGTH * other_unit, seed=1))
    assert result.auroc[0, 0].min() > 0.99
    assert result.auroc[1, 1].min() > 0.99
    assert abs(result.cosine[0]) < 0.3
    # The other model's own direction is far better than the one carried over.
    carried = np.minimum(result.auroc[0, 1], 1 - result.auroc[0, 1])
    assert result.auroc[1, 1, 0] - result.auroc[0, 1, 0] > 0.1 or carried[0] < 0.4


def test_labels_that_mean_nothing_give_a_null_result(plant, unit, marked, study):
    rng = np.random.default_rng(3)
    shuffled = replace(marked, labels=rng.permutation(marked.labels))
    model = plant(LENGTH * unit)
    result = study(model, model, statements=shuffled)
    best = result.best_index("base")
    assert result.auroc_low[0, 0, best] < 0.5 < result.auroc_high[0, 0, best]
    assert result.headline().startswith("No truth direction was found")
    assert result.permutation_p[0] > 0.05


def test_no_group_is_in_two_splits_and_every_number_is_from_the_test(
    plant, unit, marked, study
):
    model = plant(LENGTH * unit)
    result = study(model, model)
    counts = {row.split: row for row in result.counts}
    assert sum(row.statements for row in result.counts) == len(marked)
    assert sum(row.groups for row in result.counts) == len(set(marked.groups))
    assert len(result.statements) == counts["test"].statements
    assert result.scores.shape == (2, 2, counts["test"].statements)


def test_one_model_against_itself_has_cosine_one(plant, unit, study):
    model = plant(LENGTH * unit)
    result = study(model, model)
    np.testing.assert_allclose(result.cosine, 1, atol=1e-6)
    np.testing.assert_array_equal(result.auroc[0, 0], result.auroc[1, 1])
    np.testing.assert_allclose(result.cosine_null_low, 1, atol=1e-6)


def test_transductive_centring_forgives_data_sets_that_lie_elsewhere(
    plant, unit, marked, study
):
    # One data set starts with other words; its mean is no evidence of truth.
    far = replace(
        marked,
        prompts=tuple(
            f"Now {text}" if i % 4 < 2 else text
            for i, text in enumerate(marked.prompts)
        ),
        sources=tuple("near" if i % 4 < 2 else "far" for i in range(len(marked))),
    )
    model = plant(LENGTH * unit)
    found = [
        study(model, model, statements=far, centring=centring)
        for centring in ("inductive", "transductive")
    ]
    assert [one.centring for one in found] == ["inductive", "transductive"]
    assert all(one.auroc.min() > 0.99 for one in found)
    assert not np.array_equal(found[0].scores, found[1].scores)
    # Each data set has its mean in the middle of the scale.
    sources = np.array([text.startswith("Now") for text in found[1].statements])
    for part in (sources, ~sources):
        balanced = found[1].labels[part].mean()
        assert balanced == 0.5
        assert abs(found[1].scores[0, 0, part].mean()) < 1e-4


def test_a_model_that_cannot_be_asked_gives_a_note_and_no_effects(plant, unit, study):
    # Byte by byte the few-shot prompt does not fit into the 128 tokens it reads.
    model = plant(LENGTH * unit)
    result = study(model, model)
    assert result.interventions == ()
    (note,) = [n for n in result.notes if n.startswith("No intervention")]
    assert "reads at most 128" in note


def test_the_same_seed_gives_the_same_result(plant, unit, study):
    first, second = (
        study(plant(LENGTH * unit), plant(LENGTH * unit, seed=1)) for _ in range(2)
    )
    np.testing.assert_array_equal(first.auroc, second.auroc)
    np.testing.assert_array_equal(first.cosine_null_low, second.cosine_null_low)
    other = study(plant(LENGTH * unit), plant(LENGTH * unit, seed=1), seed=1)
    assert other.statements != first.statements


def test_models_of_different_shape_are_refused(plant, unit, study):
    from tiny import tiny_model, tiny_tokenizer

    wide = LanguageModel(
        hf=tiny_model("gemma2"), tokenizer=tiny_tokenizer(), name="wide"
    )
    with pytest.raises(IncompatibleError, match="n_layers 3 and 'wide' has 4"):
        study(plant(torch.zeros(32)), wide)


def test_too_few_groups_are_refused(plant, unit, marked, study):
    model = plant(LENGTH * unit)
    with pytest.raises(DataError, match="cannot be split in three"):
        study(model, model, statements=marked.take(range(4)))
