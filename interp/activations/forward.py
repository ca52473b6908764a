"""Forward passes over ragged prompts: which tokens the model gets, and how."""

import inspect
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import lru_cache

import torch
from torch import Tensor, nn

from interp.activations.batching import is_out_of_memory, run_batches
from interp.activations.job import Job, padded, padding_id
from interp.activations.prefix import SharedPrefix, plan_prefix
from interp.activations.recorder import (
    AllRecorded,
    Batch,
    Recorder,
    Sink,
    recording,
)
from interp.activations.selection import Selection, select_positions
from interp.activations.traced import run_by_nnsight
from interp.models.language_model import LanguageModel
from interp.models.reading import is_followed, stated_batch
from interp.models.traced import TracedModel
from interp.progress import Progress, progress_bar


def run(model: LanguageModel, job: Job, sink: Sink) -> None:
    """Run all prompts and hand the rows of every site to `sink`.

    Raises:
        OutOfMemoryError: If a single prompt does not fit into memory.
    """
    if isinstance(model, TracedModel):
        run_by_nnsight(model, job, sink)
        return
    recorder = Recorder(job.points, sink)
    with (
        model.lock,
        progress_bar("capture", len(job.ids), "prompts") as bar,
        torch.inference_mode(),
    ):
        # A layer with a sliding window forgets keys that its pattern should show.
        needs_all_keys = any(point.side == "pattern" for point in job.points)
        may_share = job.may_share_prefix and not needs_all_keys
        prefix = plan_prefix(job.ids, job.positions) if may_share else 0
        reads_logits = any(point.side == "logits" for point in job.points)
        # An edit, or a hook of somebody else's, expects whole prompts and all logits.
        # Asked before the recorder plants its own.
        if (prefix or reads_logits) and (is_followed(model.hf) or has_hooks(model.hf)):
            prefix, reads_logits = 0, False
        cuts_logits = reads_logits and _takes(type(model.hf), "logits_to_keep")
        with recording(model, job.points, recorder) as arguments:
            runner = _Runner(model, job, recorder, arguments, cuts_logits=cuts_logits)
            runner.share_prefix(prefix)
            _run(runner, job, bar)


def has_hooks(hf: nn.Module) -> bool:
    """Whether a forward pass of the model may be changed by hooks."""
    return any(
        # transformers plants its own for output_hidden_states, and leaves them there.
        not hook.__module__.startswith("transformers.")
        for module in hf.modules()
        for hooks in (module._forward_hooks, module._forward_pre_hooks)
        for hook in hooks.values()
    )


def _run(runner: "_Runner", job: Job, bar: Progress) -> None:
    def step(rows: tuple[int, ...]) -> None:
        runner.run_batch(rows)
        bar.advance(len(rows))

    run_batches(runner.lengths, step, token_budget=job.token_budget)


class _Runner:
    def __init__(
        self,
        model: LanguageModel,
        job: Job,
        recorder: Recorder,
        arguments: Mapping[str, object],
        *,
        cuts_logits: bool,
    ) -> None:
        self._model = model
        self._job = job
        self._recorder = recorder
        self._arguments = arguments
        self._prefix: SharedPrefix | None = None
        self.lengths = [len(ids) for ids in job.ids]
        self._padding_id = padding_id(model)
        self._cuts_logits = cuts_logits

    def share_prefix(self, length: int) -> None:
        """Compute the first tokens, which all prompts have in common, only once."""
        if not length:
            return
        self._recorder.skip()
        ids = self._job.ids[0][:length]
        try:
            prefix = SharedPrefix.compute(self._model, ids, self._forward)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            prefix = None  # the full prompts will not fit either, and say so better
        if prefix is not None:
            self._prefix = prefix
            self.lengths = [len(ids) - length for ids in self._job.ids]

    def run_batch(self, rows: tuple[int, ...]) -> None:
        skip = 0 if self._prefix is None else self._prefix.length
        lengths = [self.lengths[row] for row in rows]
        input_ids, mask = padded(
            [self._job.ids[row][skip:] for row in rows], lengths, self._padding_id
        )
        selection = select_positions(
            self._job.positions, rows, lengths=lengths, skip=skip
        )
        arguments: dict[str, object] = {"use_cache": False}
        if self._prefix is not None:
            arguments = {
                "use_cache": True,
                "past_key_values": self._prefix.expanded(len(rows)),
            }
            if mask is not None:
                mask = torch.cat([mask.new_ones(len(rows), skip), mask], dim=1)
        logits = None
        if self._cuts_logits and selection.index is not None:
            kept, logits = _cut_logits(selection)
            # Numbers, where accelerate spreads the layers: a tensor would be moved to
            # the first device, and the final stream that it indexes is on the last.
            spread = hasattr(self._model.hf, "_hf_hook")
            arguments["logits_to_keep"] = (
                kept.tolist() if spread else kept.to(self._model.device)
            )
        self._recorder.begin(Batch(rows=rows, selection=selection), logits=logits)
        with self._stated(rows):
            self._forward(input_ids, mask, arguments)
        self._recorder.commit()

    def _stated(self, rows: tuple[int, ...]) -> AbstractContextManager[None]:
        """Tell edits in force which prompts the rows are: they are not in order."""
        if not is_followed(self._model.hf):
            return nullcontext()
        return stated_batch(
            self._model.hf,
            prompt_lengths=[len(self._job.ids[row]) for row in rows],
            rows=rows,
            n_rows=len(self._job.ids),
        )

    def _forward(
        self, input_ids: Tensor, mask: Tensor | None, arguments: Mapping[str, object]
    ) -> None:
        device = self._model.device
        with suppress(AllRecorded):
            self._model.hf(
                input_ids=input_ids.to(device),
                attention_mask=None if mask is None else mask.to(device),
                **self._arguments,
                **arguments,
            )


def _cut_logits(selection: Selection) -> tuple[Tensor, Selection]:
    """The positions of any prompt in the batch, and where each one's are in them."""
    assert selection.index is not None
    kept, index = selection.index.unique(return_inverse=True)
    return kept, Selection(kind=selection.kind, index=index, valid=selection.valid)


@lru_cache(maxsize=64)
def _takes(model_class: type, argument: str) -> bool:
    forward = getattr(model_class, "forward")  # noqa: B009 - pyright knows no forward
    return argument in inspect.signature(forward).parameters
