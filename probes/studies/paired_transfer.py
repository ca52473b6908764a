"""Two results of data set against data set, cell by cell, on the same examples."""

from dataclasses import asdict

import numpy as np

from interp.errors import IncompatibleError
from interp.results import TransferMatrix
from interp.statistics import auroc, auroc_difference
from probes.studies.paired_rows import (
    Draws,
    PairedNumbers,
    Row,
    one_of,
    require_same,
    row,
    table,
)


# Besides the row of all other data sets, the cells that differ most.
MOST_CELLS = 12


def transfer_numbers(
    first: TransferMatrix, second: TransferMatrix, how: Draws
) -> PairedNumbers:
    """What differs between two results in every pair of data sets, at one site.

    The site and position are those of both results where probes of all other data sets
    do best in the mean over both, so that neither is favoured.

    Args:
        first: A result.
        second: Another one of the same data sets.
        how: How intervals are made.

    Raises:
        IncompatibleError: If the examples differ, or no site is in both.
    """
    require_same("data sets", first.tests, second.tests)
    require_same("examples", first.dataset_index, second.dataset_index)
    require_same("labels", first.labels, second.labels)
    place, ats = _common_place(first, second)
    rows = [
        row_of
        for test in range(len(first.tests))
        for row_of in _column(first, second, test, ats, how)
    ]
    last = [one for one in rows if one[0] == len(first.trains) - 1]
    rest = [one for one in rows if one[0] != len(first.trains) - 1]
    rest.sort(key=lambda one: -abs(one[2]))
    return PairedNumbers(
        rows=table([one[1] for one in (*last, *rest[:MOST_CELLS])]),
        method=f"Paired bootstrap over groups of the AUROC at {place}, the best of the "
        "sites of both on data sets left out, chosen on the same cells; first the row "
        f"of all others, then at most {MOST_CELLS} cells, those that differ most.",
    )


def _common_place(
    first: TransferMatrix, second: TransferMatrix
) -> tuple[str, tuple[int, int]]:
    """A site and position that both have, in words and as its place in each."""
    places = [
        {
            place: at
            for at, place in enumerate(zip(one.sites, one.positions, strict=True))
        }
        for one in (first, second)
    ]
    common = [place for place in places[0] if place in places[1]]
    if not common:
        raise IncompatibleError(
            "The two results have no site and position in common.",
            expected=f"One of {', '.join(first.sites[:6])}.",
        )

    def reached(place: tuple[str, str]) -> float:
        mean = sum(
            float(one.left_out[:, own[place]].mean())
            for one, own in zip((first, second), places, strict=True)
        )
        return -1.0 if np.isnan(mean) else mean

    best = max(common, key=reached)
    return " ".join(best).strip(), (places[0][best], places[1][best])


def _column(
    first: TransferMatrix,
    second: TransferMatrix,
    test: int,
    ats: tuple[int, int],
    how: Draws,
) -> list[tuple[int, Row, float]]:
    """Every training set judged on one data set: its place, its row, its difference."""
    inside = np.flatnonzero(first.dataset_index == test)
    both = [
        one.scores[:, at][:, inside].astype(np.float64)
        for one, at in zip((first, second), ats, strict=True)
    ]
    there = np.flatnonzero(np.isfinite(both[0] + both[1]).all(axis=1))
    if not len(there):
        return []
    labels = first.labels[inside]
    groups = [first.groups[at] for at in inside] if first.groups else None
    found = auroc_difference(
        both[1][there], both[0][there], labels, groups=groups, **asdict(how)
    )
    reached = [auroc(scores[there], labels) for scores in both]
    rows: list[tuple[int, Row, float]] = []
    for place, train in enumerate(there):
        name = f"AUROC on {first.tests[test]}, trained on {first.trains[train]}"
        difference = one_of(found, place)
        before, after = (float(one[place]) for one in reached)
        told = row(name, before, after, difference)
        rows.append((int(train), told, float(difference.estimate)))
    return rows
