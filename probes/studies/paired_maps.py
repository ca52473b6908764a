"""Patching maps of two results beside each other, by `interp.patching.compare`."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float

from interp.patching import Resampling, compare
from interp.patching.aggregate import mean_map
from interp.results import KnowledgeComparison, MapComparison, PatchMap
from interp.results.truthfulness import ROLES
from probes.studies.paired_rows import PairedNumbers, require_same, table


METHOD = "interp.patching.compare: bootstrap over groups of pairs."
PERMUTATIONS = 100
MOST_CELLS = 6


def knowledge_numbers(
    first: KnowledgeComparison,
    second: KnowledgeComparison,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> PairedNumbers:
    """How alike the maps of two knowledge results are, of the base and post models.

    Args:
        first: A result.
        second: Another one of the same pairs.
        resamples: Bootstrap samples.
        seed: Feeds them.

    Raises:
        IncompatibleError: If pairs, layers or columns are not the same.
    """
    require_same("pairs of statements", first.true, second.true)
    require_same("pairs of statements", first.false, second.false)
    require_same("columns", first.columns, second.columns)
    require_same("layers", first.layers, second.layers)
    rows: list[tuple[object, ...]] = []
    said: list[str] = []
    for unit in (name for name in first.units if name in second.units):
        for number, role in enumerate(ROLES):
            maps = [
                one.pair_ld[one.runs.index(role), one.units.index(unit)]
                for one in (first, second)
            ]
            ends = [
                np.stack([one.corrupted_ld[number], one.clean_ld[number]], -1)
                for one in (first, second)
            ]
            found = _compared(
                maps, ends, first.knowledge, first.groups, resamples, seed
            )
            restored = [_restored(*one) for one in zip(maps, ends, strict=True)]
            name = f"{unit}, {role} model"
            rows += _rows(
                name,
                found,
                restored,
                lambda i, j: f"layer {first.layers[i]}, {first.columns[j]}",
            )
            said.append(_likeness(name, found))
    return PairedNumbers(rows=table(rows), method=" ".join([METHOD, *said]))


def map_numbers(
    first: PatchMap, second: PatchMap, *, resamples: int = 1000, seed: int = 0
) -> PairedNumbers:
    """How alike two patching maps of the same pairs are, unit by unit.

    Args:
        first: A map.
        second: Another one of the same pairs.
        resamples: Bootstrap samples.
        seed: Feeds them.

    Raises:
        IncompatibleError: If pairs, layers or positions are not the same.
    """
    require_same("pairs", first.groups, second.groups)
    require_same("layers", first.layers, second.layers)
    require_same("positions", first.ld.shape[1:], second.ld.shape[1:])
    rows: list[tuple[object, ...]] = []
    said: list[str] = []
    for unit in (name for name in first.units if name in second.units):
        maps = [one.ld[one.units.index(unit)] for one in (first, second)]
        ends = [
            np.stack([one.corrupted_ld, one.clean_ld], -1) for one in (first, second)
        ]
        nowhere = np.zeros(maps[0].shape[2], dtype=bool)
        found = _compared(maps, ends, nowhere, first.groups, resamples, seed)
        restored = [_restored(*one) for one in zip(maps, ends, strict=True)]
        rows += _rows(
            unit,
            found,
            restored,
            lambda i, j: f"layer {first.layers[i]}, position {j}",
        )
        said.append(_likeness(unit, found))
    return PairedNumbers(rows=table(rows), method=" ".join([METHOD, *said]))


def _compared(
    maps: Sequence[Float[np.ndarray, "pair layer column"]],
    ends: Sequence[Float[np.ndarray, "pair two"]],
    knowledge: Bool[np.ndarray, " column"],
    groups: Sequence[str],
    resamples: int,
    seed: int,
) -> MapComparison:
    return compare(
        # Second minus first, as everywhere on the page.
        maps[1].astype(np.float64),
        maps[0].astype(np.float64),
        ends=(ends[1].astype(np.float64), ends[0].astype(np.float64)),
        knowledge=knowledge,
        groups=groups,
        resampling=Resampling(
            resamples=resamples, permutations=PERMUTATIONS, seed=seed
        ),
    )


def _rows(
    name: str,
    found: MapComparison,
    restored: Sequence[Float[np.ndarray, "layer column"]],
    places: Callable[[int, int], str],
) -> list[tuple[object, ...]]:
    """The cells that differ most. `found` compares the second map with the first."""
    moved = np.nan_to_num(np.abs(found.difference))
    order = np.argsort(-moved, axis=None, kind="stable")[:MOST_CELLS]
    return [
        (
            f"restoration, {name}, {places(int(i), int(j))}",
            float(restored[0][i, j]),
            float(restored[1][i, j]),
            float(found.difference[i, j]),
            float(found.difference_low[i, j]),
            float(found.difference_high[i, j]),
        )
        for i, j in zip(*np.unravel_index(order, moved.shape), strict=True)
    ]


def _likeness(name: str, found: MapComparison) -> str:
    """How alike two maps are as a whole, beside what noise and a shift give."""
    r = found.find("pearson")
    floor = found.find("pearson", "a half of a and the other of b")
    shift = found.find("pearson", "b one layer up")
    largest = found.find("largest difference")
    return (
        f"{name}: r = {r.value:.3f} [{r.low:.3f}, {r.high:.3f}]"
        f" ({floor.value:.3f} between halves, {shift.value:.3f} one layer apart),"
        f" largest difference {largest.value:.3f}."
    )


def _restored(
    ld: Float[np.ndarray, "pair layer column"], ends: Float[np.ndarray, "pair two"]
) -> Float[np.ndarray, "layer column"]:
    once = np.ones((1, len(ld)))
    exact, both = ld.astype(np.float64), ends.astype(np.float64)
    return mean_map(exact, once, ends=both, scale="restoration")[0]
