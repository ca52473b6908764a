"""Seconds: the model is loaded and real batches are timed."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch

from interp import heads
from interp.activations import capture
from interp.activations.batching import plan_batches
from interp.activations.budget import default_token_budget
from interp.models.language_model import LanguageModel
from interp.models.loading import load
from probes.planning.capturing import Planned
from probes.planning.plan import Plan, Seconds


BATCHES = 3
Ids = tuple[tuple[int, ...], ...]


def calibrated(planned: Planned, params: Mapping[str, object]) -> Plan:
    """The plan with the seconds that three of its batches took.

    Args:
        planned: The plan, with its prompts.
        params: How the model is loaded: `device`, `dtype`, `trust_remote_code`.
    """
    start = time.perf_counter()
    model = load(
        planned.source,
        revision=planned.revision,
        device=str(params["device"]),
        dtype=str(params.get("dtype", "auto")),
        trust_remote_code=bool(params["trust_remote_code"]),
    )
    loading = time.perf_counter() - start
    budget = default_token_budget(model)
    run = _score if planned.plan.command == "track" else _capturing(planned.sites)
    chosen = _batches(planned.ids, budget)
    # The first pass makes what later ones find made: kernels, paths of sites.
    _timed(run, model, chosen[-1])
    a_token = [_timed(run, model, ids) for ids in chosen]
    seconds = Seconds(
        loading=loading * planned.loads,
        a_token=statistics.median(a_token),
        batches=len(chosen),
    )
    return replace(planned.plan, seconds=seconds)


def _batches(parts: Sequence[Ids], budget: int) -> list[Ids]:
    """Batches from the whole range of the work: of the longest prompts to the shortest.

    Prompts of a part run together, so that those of a small part are not timed as if
    they filled a batch.
    """
    found: list[Ids] = []
    for ids in parts:
        batches = plan_batches(list(map(len, ids)), token_budget=budget)
        found += [tuple(ids[row] for row in batch) for batch in batches]
    found.sort(key=lambda batch: -max(map(len, batch)))
    if len(found) <= BATCHES:
        return found
    places = [round(i * (len(found) - 1) / (BATCHES - 1)) for i in range(BATCHES)]
    return [found[place] for place in places]


def _timed(
    run: Callable[[LanguageModel, Ids], None], model: LanguageModel, ids: Ids
) -> float:
    """Seconds for each token that enters the model."""
    start = time.perf_counter()
    run(model, ids)
    if model.device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / (len(ids) * max(map(len, ids)))


def _capturing(sites: Sequence[str]) -> Callable[[LanguageModel, Ids], None]:
    def run(model: LanguageModel, ids: Ids) -> None:
        # Whole prompts: what a prefix saves is counted in tokens.
        capture(model, ids, sites=list(sites), shared_prefix=False)

    return run


def _score(model: LanguageModel, ids: Ids) -> None:
    heads.score(model, [list(row) for row in ids], resamples=2)
