"""Which statements a result keeps, and their principal components."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from interp.data import Splits
from probes.studies.truthfulness import shown
from probes.studies.truthfulness.shown import principal_components, shown_statements
from probes.studies.truthfulness.spec import TruthfulnessSpec


SPEC = TruthfulnessSpec(base="b", post="p", statements=("s",))


def _splits(n_test: int) -> Splits:
    none = np.arange(0)
    return Splits(train=none, val=none, test=np.arange(n_test))


def test_components_are_those_of_a_whole_decomposition_turned_towards_truth():
    generator = torch.Generator().manual_seed(0)
    spread = torch.tensor([4.0, 2.5, *[1.0] * 38])
    rows = torch.randn(150, 3, 40, generator=generator) * spread
    labels = np.arange(150) % 3 == 0
    found = principal_components(rows, labels, seed=1)
    for layer in range(3):
        expected = PCA(2).fit_transform(rows[:, layer].double().numpy())
        means = expected[labels].mean(0) - expected[~labels].mean(0)
        expected *= np.sign(means)
        np.testing.assert_allclose(found[layer], expected, atol=2e-2)


@pytest.mark.parametrize(("examples", "width"), [(1, 5), (6, 2), (3, 50)])
def test_few_examples_or_dimensions_still_have_two_coordinates(examples, width):
    rows = torch.randn(examples, 2, width, generator=torch.Generator().manual_seed(0))
    found = principal_components(rows, np.arange(examples) % 2 == 0, seed=0)
    assert found.shape == (2, examples, 2)
    assert np.isfinite(found).all()


def test_all_statements_are_kept_unless_the_result_would_grow_too_large(monkeypatch):
    assert shown_statements(_splits(500), 4, SPEC).tolist() == list(range(500))
    monkeypatch.setattr(shown, "VALUES_KEPT", 2 * 4 * (len(SPEC.probes) + 2) * 100)
    drawn = shown_statements(_splits(500), 4, SPEC)
    assert len({*drawn.tolist()}) == 100
    assert (np.diff(drawn) > 0).all()
    other = shown_statements(_splits(500), 4, replace(SPEC, seed=1))
    assert drawn.tolist() != other.tolist()
