"""Capture from a model that nnsight runs: one trace for each batch."""

import torch

from interp.activations.batching import run_batches
from interp.activations.job import Job, padded, padding_id
from interp.activations.recorder import Batch, Sink
from interp.activations.selection import Selection, select_positions
from interp.models.traced import (
    TracedModel,
    batch_reading,
    refuse_patterns,
    run_traced,
    traced_tasks,
)
from interp.models.traced_body import Taken
from interp.progress import progress_bar


def run_by_nnsight(model: TracedModel, job: Job, sink: Sink) -> None:
    """Run all prompts and hand the rows of every site to `sink`.

    Only the rows leave the machine where the model runs, and the pass ends when it has
    seen all sites. Prompts are computed whole: a shared beginning saves nothing there.

    Args:
        model: The model.
        job: What is to be captured.
        sink: Where the rows go.

    Raises:
        MissingSiteError: If a pattern is asked for, or a site is not reached.
        OutOfMemoryError: If a single prompt does not fit into memory.
    """
    refuse_patterns(job.points)
    lengths = [len(ids) for ids in job.ids]

    def step(rows: tuple[int, ...]) -> None:
        _run_batch(model, job, sink, rows)
        bar.advance(len(rows))

    with (
        model.lock,
        progress_bar("capture", len(job.ids), "prompts") as bar,
        torch.inference_mode(),
    ):
        run_batches(lengths, step, token_budget=job.token_budget)


def _run_batch(model: TracedModel, job: Job, sink: Sink, rows: tuple[int, ...]) -> None:
    ids = [job.ids[row] for row in rows]
    lengths = list(map(len, ids))
    input_ids, mask = padded(ids, lengths, padding_id(model))
    selection = select_positions(job.positions, rows, lengths=lengths)
    reading = batch_reading(input_ids, mask, rows=rows, n_rows=len(job.ids))
    taken = [
        (point, _taken(number, selection)) for number, point in enumerate(job.points)
    ]
    inputs: dict[str, object] = {"input_ids": input_ids, "use_cache": False}
    if mask is not None:
        inputs["attention_mask"] = mask
    kept = run_traced(model, inputs, traced_tasks(model, [reading], taken))
    sink.begin(Batch(rows=rows, selection=selection))
    for number in range(len(job.points)):
        sink.put(number, kept[number], is_view=False)
    sink.commit()


def _taken(number: int, selection: Selection) -> Taken:
    return Taken(
        number=number,
        kind=selection.kind,
        index=selection.index,
        same=selection.same,
        valid=selection.valid,
    )
