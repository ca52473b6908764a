"""What a knowledge study reports of its maps: sums over pairs, with intervals."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

from interp.patching import Resampling, columns_of, compare
from interp.patching.aggregate import (
    Columns,
    Scale,
    bounds_of,
    by_column,
    ends_of,
    inside,
    mean_map,
    resamples_of,
)
from interp.results import MapComparison, PatchMap
from interp.results.knowledge import (
    COMPARED,
    SLACK,
    InsideShare,
    MapLikeness,
    Run,
    Staircase,
    Step,
)
from interp.results.truthfulness import ROLES
from interp.statistics import mean_interval
from probes.studies.knowledge.spec import KnowledgeSpec


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sums:
    """The maps of all runs, summed over pairs; the fields are those of the result."""

    columns: Columns
    cells: Float[np.ndarray, "run unit pair layer column"]
    ld: Float[np.ndarray, "run unit layer column"]
    restoration: Float[np.ndarray, "run unit layer column"]
    restoration_low: Float[np.ndarray, "run unit layer column"]
    restoration_high: Float[np.ndarray, "run unit layer column"]
    bins: Float[np.ndarray, "run unit layer column"]
    inside: Float[np.ndarray, "run unit layer column"]


def sums_of(maps: Mapping[Run, PatchMap], *, spec: KnowledgeSpec) -> Sums:
    """Mean maps of every run and unit.

    Args:
        maps: The patched cells of each run, all of the same pairs.
        spec: How to sum.
    """
    first = next(iter(maps.values()))
    columns = columns_of(first.roles, by=spec.columns)
    weights = resamples_of(first.groups, resamples=spec.resamples, seed=spec.seed)
    once = np.ones((1, len(first.groups)))
    names = ("cells", "ld", "restoration", "low", "high", "bins", "inside")
    found: dict[str, list[list[np.ndarray]]] = {name: [] for name in names}
    for patched in maps.values():
        ends = ends_of(patched)
        for rows in found.values():
            rows.append([])
        for unit in range(len(patched.units)):
            cells = by_column(patched.ld[unit].astype(np.float64), columns)
            draws = mean_map(cells, weights, ends=ends, scale="restoration")
            low, high = bounds_of(draws, groups=patched.groups)
            stays = inside(cells, ends, slack=SLACK)
            values = {
                "cells": cells,
                "ld": mean_map(cells, once)[0],
                "restoration": mean_map(cells, once, ends=ends, scale="restoration")[0],
                "low": low,
                "high": high,
                "bins": mean_map(cells, once, scale="bins")[0],
                "inside": mean_map(stays, once)[0],
            }
            for name, value in values.items():
                found[name][-1].append(value)
    arrays = {name: np.array(rows) for name, rows in found.items()}
    return Sums(
        columns=columns,
        cells=arrays["cells"],
        ld=arrays["ld"],
        restoration=arrays["restoration"],
        restoration_low=arrays["low"],
        restoration_high=arrays["high"],
        bins=arrays["bins"],
        inside=arrays["inside"],
    )


def likeness_of(
    maps: Mapping[Run, PatchMap], sums: Sums, *, spec: KnowledgeSpec
) -> tuple[tuple[MapLikeness, ...], tuple[MapComparison, ...]]:
    """How alike the maps are, and for each unit base compared with post.

    Base and post are compared on both scales, values across models on restoration.
    """
    runs = list(maps)
    first = maps["base"]
    rows: list[MapLikeness] = []
    own: list[MapComparison] = []
    how = Resampling(
        resamples=spec.resamples, permutations=spec.permutations, seed=spec.seed
    )
    for compared, (one, other) in COMPARED.items():
        if one not in maps:
            continue
        scales: tuple[Scale, ...] = ("restoration",)
        if compared == "base and post":
            scales = ("restoration", "bins")
        for u, unit in enumerate(first.units):
            for scale in scales:
                found = compare(
                    sums.cells[runs.index(one), u],
                    sums.cells[runs.index(other), u],
                    ends=(ends_of(maps[one]), ends_of(maps[other])),
                    knowledge=sums.columns.knowledge,
                    groups=first.groups,
                    scale=scale,
                    delta=spec.delta,
                    resampling=how,
                )
                rows.append(
                    MapLikeness(
                        compared=compared,
                        unit=unit,
                        scale=scale,
                        rows=found.likeness,
                        equivalence=found.equivalence if scale != "bins" else (),
                    )
                )
                if compared == "base and post" and scale == "restoration":
                    own.append(found)
    return tuple(rows), tuple(own)


def staircase_of(
    maps: Mapping[Run, PatchMap], *, spec: KnowledgeSpec
) -> tuple[Staircase, ...]:
    """The mean layer at which each kind of token matters, weighted by its effect."""
    rows: list[Staircase] = []
    for role in ROLES:
        patched = maps[role]
        ends = ends_of(patched)
        columns = columns_of(patched.roles, by="category", min_share=0.0)
        weights = resamples_of(patched.groups, resamples=spec.resamples, seed=spec.seed)
        weights = np.vstack([np.ones((1, len(ends))), weights])
        for u, unit in enumerate(patched.units):
            cells = by_column(patched.ld[u].astype(np.float64), columns)
            draws = mean_map(cells, weights, ends=ends, scale="restoration")
            effect = draws if patched.direction == "denoise" else 1 - draws
            for step in get_args(Step):
                if step not in columns.names:
                    continue
                size = np.clip(effect[:, :, columns.names.index(step)], 0, None)
                with np.errstate(invalid="ignore", divide="ignore"):
                    centre = (size @ patched.layers) / size.sum(axis=1)
                low, high = bounds_of(centre[1:, None, None], groups=patched.groups)
                rows.append(
                    Staircase(
                        model=role,
                        unit=unit,
                        step=step,
                        layer=float(centre[0]),
                        low=float(low[0, 0]),
                        high=float(high[0, 0]),
                    )
                )
    return tuple(rows)


def shares_of(
    maps: Mapping[Run, PatchMap], sums: Sums, *, spec: KnowledgeSpec
) -> tuple[InsideShare, ...]:
    """How often patched runs stay between the false and the true prompt's."""
    rows: list[InsideShare] = []
    every: dict[Literal["all", "knowledge"], np.ndarray] = {
        "all": np.ones(len(sums.columns.names), dtype=bool),
        "knowledge": sums.columns.knowledge,
    }
    for r, (run, patched) in enumerate(maps.items()):
        ends = ends_of(patched)
        for u, unit in enumerate(patched.units):
            for slack in (0.0, SLACK):
                stays = inside(sums.cells[r, u], ends, slack=slack)
                for cells, chosen in every.items():
                    if not chosen.any():
                        continue
                    share = mean_interval(
                        np.nanmean(stays[:, :, chosen], axis=(1, 2)),
                        groups=patched.groups,
                        resamples=spec.resamples,
                        seed=spec.seed,
                    )
                    rows.append(
                        InsideShare(
                            run=run,
                            unit=unit,
                            cells=cells,
                            slack=slack,
                            share=float(share.estimate),
                            low=float(share.low),
                            high=float(share.high),
                        )
                    )
    return tuple(rows)


def column_tokens(patched: PatchMap, columns: Columns) -> tuple[str, ...]:
    """The token of each column where all pairs have the same one, else nothing."""
    if not patched.tokens:
        return ("",) * len(columns.names)
    table = np.array(patched.tokens, dtype=object)
    found: list[str] = []
    for column in range(len(columns.names)):
        here = set(table[columns.index == column])
        found.append(here.pop() if len(here) == 1 else "")
    return tuple(found)
