"""The exact patching grid beside one forward pass per cell."""

import itertools
import random
import statistics
import time

from gpu_setting import Row, Setting, seconds
from patching_peers import POSITIONS, naive_loop, pairs_of

from interp.patching import trace


CELLS, PAIRS, VOCABULARY = 16, 16, 500


def patching_part(setting: Setting) -> list[Row]:
    """The grids of pairs, a pair, beside a sample of the cells of one, scaled."""
    started = time.perf_counter()
    model = setting.model
    pairs = pairs_of(setting.scaled(PAIRS), vocabulary=VOCABULARY)
    cells = list(itertools.product(range(model.n_layers), range(POSITIONS)))
    share = CELLS / len(cells)
    sample = random.Random(0).sample(cells, CELLS)
    # Both warm up here, and have to agree.
    naive = naive_loop(model.hf, pairs, sample)
    grid = trace(model, pairs).ld[0, 0]
    gap = max(abs(grid[cell] - value) for cell, value in naive.items())
    ratios: list[float] = []
    a_round = time.perf_counter() - started
    while len(ratios) < setting.rounds:
        elapsed = time.perf_counter() - started
        if ratios and elapsed + a_round > setting.seconds:
            break
        loop = seconds(lambda: naive_loop(model.hf, pairs, sample), model.device)
        own = seconds(lambda: trace(model, pairs), model.device)
        ratios.append(loop / share / (own / len(pairs)))
        a_round = loop + own
    return [
        Row(
            part="patching",
            what=f"interp.patching.trace, {len(pairs)} pairs, a pair",
            beside=f"one forward per cell ({CELLS} of {len(cells)} cells, scaled)",
            rate=statistics.median(ratios),
            rounds=len(ratios),
            note=f"largest difference of a cell {gap:.2g}",
        )
    ]
