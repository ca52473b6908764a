"""Maps by role, on every scale, equal what a plain loop and the formulas give."""

import math

import numpy as np
import pytest
from sample_results import provenance

from interp.errors import ConfigError, ShapeError
from interp.patching.aggregate import (
    bounds_of,
    by_column,
    category,
    columns_of,
    ends_of,
    inside,
    mean_map,
    paper_bins,
    resamples_of,
    role_map,
)
from interp.results import PatchMap
from interp.results.patch_map import Direction


ROLES = (
    ("before[0]", "subject[0]", "between[0]", "object[0]", "last"),
    ("before[0]", "subject[0]", "subject[1]", "between[0]", "object[0]", "last"),
    (
        *("before[0]", "subject[0]", "subject[1]", "subject[2]", "subject[3]"),
        *("between[0]", "object[0]", "last"),
    ),
)


def padded(rows):
    longest = max(map(len, rows))
    return tuple((*row, *[""] * (longest - len(row))) for row in rows)


def patched(n_repeats=4, seed=0, direction: Direction = "denoise"):
    """A made-up map of pairs of three lengths."""
    rng = np.random.default_rng(seed)
    roles = padded(ROLES * n_repeats)
    n, width = len(roles), len(roles[0])
    ld = rng.normal(size=(1, n, 3, width)).astype(np.float32)
    for i, row in enumerate(roles):
        ld[0, i, :, sum(map(bool, row)) :] = np.nan
    return PatchMap(
        models=("a", "a"),
        direction=direction,
        method="exact",
        units=("resid_post",),
        window=1,
        layers=np.arange(3, dtype=np.int32),
        ld=ld,
        clean_ld=rng.normal(3, 1, n).astype(np.float32),
        corrupted_ld=rng.normal(-3, 1, n).astype(np.float32),
        roles=roles,
        groups=tuple(f"g{i // 2}" for i in range(n)),
        tokens=(),
        token_layers=1,
        naive_token_layers=1,
        notes=(),
        provenance=provenance("patching"),
    )


def test_long_and_short_subjects_share_first_middle_and_last():
    found = columns_of(padded(ROLES))
    assert found.names == (
        *("before 0", "subject first", "subject middle", "subject last"),
        *("between 0", "object last", "last"),
    )
    names = [[found.names[i] if i >= 0 else "" for i in row] for row in found.index]
    assert names[0][:5] == [
        "before 0",
        "subject last",
        "between 0",
        "object last",
        "last",
    ]
    assert names[2][1:5] == ["subject first", *["subject middle"] * 2, "subject last"]
    assert names[0][5:] == [""] * 3
    assert found.knowledge.tolist() == [False, True, True, True, False, True, False]


def test_columns_that_few_pairs_have_are_left_out():
    found = columns_of(ROLES * 4, min_share=0.5)
    assert "subject middle" not in found.names
    assert "subject first" in found.names
    assert (found.index[2][1:5] == [1, -1, -1, 2]).all()


def test_categories_are_the_five_kinds_of_tokens():
    found = columns_of(padded(ROLES), by="category")
    assert found.names == ("template", "subject", "object", "last")
    assert [category(f"{kind}[3]") for kind in ("before", "after", "question")] == [
        *("template", "template", "question")
    ]


@pytest.mark.parametrize("by", ["role", "category"])
def test_a_role_map_is_the_mean_over_pairs_of_the_mean_over_positions(by):
    result = patched()
    found = role_map(result, by=by, resamples=20)
    columns = columns_of(result.roles, by=by)
    for c, name in enumerate(found.columns):
        for layer in range(3):
            means = []
            for i, row in enumerate(result.roles):
                inner = columns_of([row], by=by, min_share=0)
                own = [
                    result.ld[0, i, layer, t]
                    for t, role in enumerate(row)
                    if role and inner.names[inner.index[0][t]] == name
                ]
                if own:
                    means.append(np.mean(own))
            assert found.ld[layer, c] == pytest.approx(np.mean(means), abs=1e-6)
            assert found.pairs[c] == len(means)
    assert columns.names == found.columns
    assert len(found.to_dataframe()) == found.ld.size


def test_restoration_is_the_formula_over_the_pairs_that_have_the_cell():
    result = patched()
    cells = by_column(result.ld[0].astype(float), columns_of(result.roles))
    found = role_map(result, resamples=20).restoration
    for layer in range(3):
        for column in range(cells.shape[2]):
            has = ~np.isnan(cells[:, layer, column])
            mean = cells[has, layer, column].mean()
            false, true = result.corrupted_ld[has].mean(), result.clean_ld[has].mean()
            expected = (mean - false) / (true - false)
            assert found[layer, column] == pytest.approx(expected, abs=1e-5)


def test_a_patch_that_changes_nothing_restores_nothing_and_one_that_gives_all_all():
    ends = np.random.default_rng(0).normal([-2, 3], 1, size=(30, 2))
    cells = np.stack([ends, ends], axis=1)
    cells[:20, 0, 0] = np.nan
    cells[20:, 1, 1] = np.nan
    found = mean_map(cells, np.ones((1, 30)), ends=ends, scale="restoration")
    np.testing.assert_allclose(found[0], [[0, 1], [0, 1]], atol=1e-12)
    with pytest.raises(ConfigError, match="without ends"):
        mean_map(cells, np.ones((1, 30)), scale="restoration")


def test_the_scale_of_the_paper_is_its_formula():
    means = np.random.default_rng(1).normal(size=(6, 7))
    low, high = means.min() - 1e-5, means.max() + 1e-5
    expected = np.zeros_like(means)
    for cell in np.ndindex(means.shape):
        k = math.floor(20 * (means[cell] - low) / (high - low))
        assert 0 <= k <= 19
        expected[cell] = 0 if k < 10 else 0.1 * (k - 9)
    np.testing.assert_allclose(paper_bins(means), expected, atol=1e-12)
    assert paper_bins(means).max() == 1.0
    with_hole = means.copy()
    with_hole[0, 0] = np.nan
    assert np.isnan(paper_bins(with_hole)[0, 0])


def test_intervals_of_cells_cover_and_know_of_groups():
    rng = np.random.default_rng(2)
    groups = [str(i // 3) for i in range(90)]
    covered = 0
    for seed in range(200):
        cells = (np.repeat(rng.normal(size=30), 3) + rng.normal(size=90))[:, None, None]
        weights = resamples_of(groups, resamples=300, seed=seed)
        low, high = bounds_of(mean_map(cells, weights), groups=groups)
        covered += bool(low[0, 0] <= 0 <= high[0, 0])
    # 95 % of 200 is 190, with a standard deviation of 3.
    assert 179 <= covered <= 199


def test_whole_groups_are_drawn():
    weights = resamples_of(["a", "b", "a"], resamples=50, seed=0)
    assert (weights[:, 0] == weights[:, 2]).all()
    assert ((weights[:, 0] + weights[:, 1]) == 2).all()


def test_inside_counts_what_lies_between_the_ends_of_its_pair():
    ends = np.array([[0.0, 10.0], [5.0, -5.0]])
    cells = np.array([[[-0.4, 5.0, 10.6, np.nan]], [[5.2, -5.6, 0.0, 6.0]]])
    strict = [[[0, 1, 0, np.nan]], [[0, 0, 1, 0]]]
    np.testing.assert_array_equal(inside(cells, ends), strict)
    loose = [[[1, 1, 0, np.nan]], [[1, 0, 1, 0]]]
    np.testing.assert_array_equal(inside(cells, ends, slack=0.05), loose)


def test_ends_are_false_then_true_in_either_direction():
    directions: tuple[Direction, ...] = ("denoise", "noise")
    for direction in directions:
        result = patched(direction=direction)
        np.testing.assert_array_equal(ends_of(result)[:, 0], result.corrupted_ld)
        np.testing.assert_array_equal(ends_of(result)[:, 1], result.clean_ld)


def test_columns_of_other_pairs_are_refused():
    with pytest.raises(ShapeError, match="The cells are of"):
        by_column(np.zeros((2, 1, 3)), columns_of(ROLES))
