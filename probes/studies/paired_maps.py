"""Patching maps of two results beside each other, by `interp.patching.compare`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from interp.patching import Resampling, compare
from interp.patching.aggregate import mean_map
from interp.results import KnowledgeComparison, MapComparison, PatchMap
from interp.results.truthfulness import ROLES
from probes.studies.paired_rows import Draws, PairedNumbers, Row, require_same, table


METHOD = "interp.patching.compare: bootstrap over groups of pairs."
PERMUTATIONS = 100
MOST_CELLS = 6


def knowledge_numbers(
    first: KnowledgeComparison, second: KnowledgeComparison, how: Draws
) -> PairedNumbers:
    """How alike the maps of two knowledge results are, of the base and post models.

    Args:
        first: A result.
        second: Another one of the same pairs.
        how: How intervals are made.

    Raises:
        IncompatibleError: If pairs, layers or columns are not the same.
    """
    require_same("pairs of statements", first.true, second.true)
    require_same("pairs of statements", first.false, second.false)
    require_same("columns", first.columns, second.columns)
    require_same("layers", first.layers, second.layers)
    rows: list[Row] = []
    said: list[str] = []

    def places(i: int, j: int) -> str:
        return f"layer {first.layers[i]}, {first.columns[j]}"

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
            each = _Maps(name=f"{unit}, {role} model", cells=maps, ends=ends)
            found = each.compared(first.knowledge, first.groups, how)
            rows += each.rows(found, places)
            said.append(_likeness(each.name, found))
    return PairedNumbers(rows=table(rows), method=" ".join([METHOD, *said]))


def map_numbers(first: PatchMap, second: PatchMap, how: Draws) -> PairedNumbers:
    """How alike two patching maps of the same pairs are, unit by unit.

    Args:
        first: A map.
        second: Another one of the same pairs.
        how: How intervals are made.

    Raises:
        IncompatibleError: If pairs, layers or positions are not the same.
    """
    require_same("pairs", first.groups, second.groups)
    require_same("layers", first.layers, second.layers)
    require_same("positions", first.ld.shape[1:], second.ld.shape[1:])
    rows: list[Row] = []
    said: list[str] = []
    for unit in (name for name in first.units if name in second.units):
        maps = [one.ld[one.units.index(unit)] for one in (first, second)]
        ends = [
            np.stack([one.corrupted_ld, one.clean_ld], -1) for one in (first, second)
        ]
        nowhere = np.zeros(maps[0].shape[2], dtype=bool)
        each = _Maps(name=unit, cells=maps, ends=ends)
        found = each.compared(nowhere, first.groups, how)
        rows += each.rows(found, lambda i, j: f"layer {first.layers[i]}, position {j}")
        said.append(_likeness(unit, found))
    return PairedNumbers(rows=table(rows), method=" ".join([METHOD, *said]))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Maps:
    """The cells of one unit in both results.

    Attributes:
        name: What they are of.
        cells: Of the first and of the second result.
        ends: Their logit differences where nothing is patched.
    """

    name: str
    cells: Sequence[Float[np.ndarray, "pair layer column"]]
    ends: Sequence[Float[np.ndarray, "pair two"]]

    def compared(
        self,
        knowledge: Bool[np.ndarray, " column"],
        groups: Sequence[str],
        how: Draws,
    ) -> MapComparison:
        """Second minus first, as everywhere on the page."""
        cells, ends = (
            [one.astype(np.float64) for one in both] for both in (self.cells, self.ends)
        )
        resampling = Resampling(
            resamples=how.resamples, permutations=PERMUTATIONS, seed=how.seed
        )
        return compare(
            cells[1],
            cells[0],
            ends=(ends[1], ends[0]),
            knowledge=knowledge,
            groups=groups,
            resampling=resampling,
        )

    def rows(
        self, found: MapComparison, places: Callable[[int, int], str]
    ) -> list[Row]:
        """The cells that differ most by what `compared` found."""
        restored = [_restored(*one) for one in zip(self.cells, self.ends, strict=True)]
        moved = np.nan_to_num(np.abs(found.difference))
        order = np.argsort(-moved, axis=None, kind="stable")[:MOST_CELLS]
        return [
            (
                f"restoration, {self.name}, {places(int(i), int(j))}",
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
