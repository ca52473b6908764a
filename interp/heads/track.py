"""`track`: metrics of every checkpoint of a series, and when they change.

One model is made; the weights of each checkpoint are read into it. While one checkpoint
is measured the next is fetched and read by a thread. What was measured is on disk
before the next begins, so a run that was killed goes on where it was.
"""

import logging
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from interp.errors import (
    ConfigError,
    DiskFullError,
    InterpError,
    UnknownSiteError,
    UnwritableError,
)
from interp.heads.downloads import Downloads, downloading
from interp.heads.metrics import (
    DEFAULT_METRICS,
    CheckpointMetric,
    MetricContext,
    measure,
    patterns_of,
)
from interp.heads.sequences import RepeatedTokens, repeated_tokens
from interp.heads.series import CheckpointRef, Series, find_series
from interp.heads.skeleton import (
    Loading,
    Skeleton,
    Weights,
    build_skeleton,
    put_in_place,
    read_weights,
)
from interp.heads.track_ahead import Ahead
from interp.heads.track_joined import joined
from interp.heads.track_shards import Shards
from interp.heads.track_spec import SequenceSpec, track_spec
from interp.progress import progress_bar, using
from interp.provenance import ModelRecord, record
from interp.results.run_progress import recorded
from interp.results.runs import RunFolder, open_run
from interp.results.timeline import HeadTimeline
from interp.results.timeline_rows import FailedCheckpoint
from interp.sharding import is_mine, present_shard, require_all
from interp.stopping import stop_if_requested


logger = logging.getLogger("interp.heads")

STUDY = "track"
# About this machine, not about one checkpoint.
_FATAL = (DiskFullError, UnwritableError)
_DRAWN = SequenceSpec()


def track(
    series: str | Path | Series,
    *,
    metrics: Sequence[CheckpointMetric] = DEFAULT_METRICS,
    sequences: RepeatedTokens | SequenceSpec = _DRAWN,
    out: str | Path | None = None,
    keep: bool = False,
    loading: Loading | None = None,
    seed: int = 0,
) -> HeadTimeline:
    """Metrics of every checkpoint of a series, when they change, and in which order.

    The checkpoints are measured in the order of their steps, on the same sequences. The
    next one is fetched and read while the present one is measured, and what was fetched
    is removed when it is done; a copy in your own cache or folder is never touched. A
    checkpoint that cannot be read is reported in the result and passed over.

    Args:
        series: A hub id whose revisions are checkpoints, a folder of checkpoints, the
            output folder of a trainer, or what `interp.heads.find_series` found.
        metrics: What is measured; see `interp.heads.CheckpointMetric`.
        sequences: Evaluation sequences of repeated tokens, or how to draw them.
        out: Where runs are kept; the same call goes on there after an interruption.
            Without it nothing is kept.
        keep: Whether what is fetched stays, in the ordinary cache.
        loading: Device and type of the models.
        seed: Of sequences and intervals.

    Raises:
        ModelNotFoundError: If there is no such series.
        ConfigError: If it has no checkpoints, or two metrics use one name.
        UnsupportedModelError: If not one checkpoint could be measured.
        StoppedError: If a signal asked to stop; what was measured is kept.
        OthersMissingError: If this is one of several shards and others are not done;
            see `interp.sharding`.
        DiskFullError: If there is no room.

    Source:
        Olsson et al. (2022), arXiv:2209.11895.
    """
    found = series if isinstance(series, Series) else find_series(series)
    loading = Loading() if loading is None else loading
    spec = track_spec(found, metrics, sequences, loading=loading, seed=seed)
    origin = record(
        STUDY, models=[ModelRecord(name=found.name, dtype=loading.dtype)], seed=seed
    )
    with tempfile.TemporaryDirectory(prefix="interp-track-") as temporary:
        run = open_run(
            temporary if out is None else out,
            study=STUDY,
            models=[found.name],
            spec=spec,
            provenance=origin,
        )
        work = _Work(
            run=run,
            series=found,
            metrics=tuple(metrics),
            sequences=sequences,
            loading=loading,
            keep=keep,
            seed=seed,
        )
        failed = work.measure_all()
        timeline = joined(found, work.shards, failed, provenance=origin, seed=seed)
        if out is not None:
            run.finish(timeline)
    return timeline


class _Work:
    """The checkpoints of a run, measured one after the other."""

    def __init__(
        self,
        *,
        run: RunFolder,
        series: Series,
        metrics: tuple[CheckpointMetric, ...],
        sequences: RepeatedTokens | SequenceSpec,
        loading: Loading,
        keep: bool,
        seed: int,
    ) -> None:
        self.run = run
        self.series = series
        self.seed = seed
        self.shards = Shards(run.shards)
        self._metrics = metrics
        self._sequences = sequences
        self._loading = loading
        self._keep = keep
        self._skeleton: Skeleton | None = None

    def measure_all(self) -> list[FailedCheckpoint]:
        """Measure what was not measured before; what failed, with the reasons."""
        refs = self.series.checkpoints
        unread = [ref for ref in refs if self.shards.read(ref) is None]
        todo = [ref for ref in unread if is_mine(refs.index(ref))]
        failed: list[FailedCheckpoint] = []
        shard = present_shard()
        own = "downloads" if shard is None else f"downloads-{shard.index}"
        downloads_to = self.run.path / own
        with (
            downloading(self.series, downloads_to, keep=self._keep) as downloads,
            using(recorded(self.run)),
            progress_bar("checkpoints", len(refs), "checkpoints") as bar,
        ):
            bar.advance(len(refs) - len(todo))
            ahead: Ahead | None = None
            try:
                for number, ref in enumerate(todo):
                    mine = ahead or self._start(ref, downloads)
                    problem = self._install(mine, ref)
                    following = todo[number + 1 : number + 2]
                    ahead = None
                    for later in following:
                        ahead = self._start(later, downloads)
                    problem = problem or self._measure(ref)
                    downloads.evict(ref)
                    if problem is not None:
                        failed.append(self._failure(ref, problem))
                    bar.advance(1, note=ref.name)
                    kept = len(refs) - len(todo) + number + 1 - len(failed)
                    stop_if_requested(f"{kept} of {len(refs)} checkpoints are measured")
            finally:
                downloads.stop()
                if ahead is not None:
                    ahead.end()
        require_all(len(unread) - len(todo), of=len(refs), what="checkpoints")
        return failed

    def _start(self, ref: CheckpointRef, downloads: Downloads) -> Ahead:
        return Ahead(partial(_ready, ref, downloads, self._skeleton))

    def _install(self, ahead: Ahead, ref: CheckpointRef) -> InterpError | None:
        """Put a checkpoint's weights into the model, or say what is wrong with it."""
        try:
            folder, weights = ahead.result()
            if self._skeleton is None:
                self._skeleton = build_skeleton(
                    folder, self.series.name, loading=self._loading
                )
            else:
                # Started before there was a model: the files wait to be read.
                weights = weights or read_weights(self._skeleton, folder)
                put_in_place(self._skeleton, weights)
        except _FATAL:
            raise
        except InterpError as error:
            return error
        return None

    def _measure(self, ref: CheckpointRef) -> InterpError | None:
        assert self._skeleton is not None
        if isinstance(self._sequences, SequenceSpec):
            # Sequences that do not fit the model fit none of its checkpoints.
            self._sequences = _drawn(self._skeleton, self._sequences, self.seed)
        context = MetricContext(
            model=self._skeleton.model,
            checkpoint=ref,
            sequences=self._sequences,
            patterns=patterns_of(self._metrics),
            seed=self.seed,
        )
        try:
            self.shards.write(ref, measure(self._metrics, context))
        except (*_FATAL, ConfigError, UnknownSiteError):
            # A wrong setting is wrong at every checkpoint.
            raise
        except InterpError as error:
            return error
        self.run.append("measured", {"checkpoint": ref.name, "step": ref.step})
        return None

    def _failure(self, ref: CheckpointRef, problem: InterpError) -> FailedCheckpoint:
        reason = " ".join(problem.what.split())
        logger.warning("%s is passed over: %s", ref.name, reason)
        self.run.append("failed", {"checkpoint": ref.name, "reason": reason})
        return FailedCheckpoint(name=ref.name, step=ref.step, reason=reason)


def _ready(
    ref: CheckpointRef, downloads: Downloads, skeleton: Skeleton | None
) -> tuple[Path, Weights | None]:
    """A checkpoint's folder and, if there is a model for them, its weights."""
    folder = downloads.fetch(ref)
    return folder, None if skeleton is None else read_weights(skeleton, folder)


def _drawn(skeleton: Skeleton, spec: SequenceSpec, seed: int) -> RepeatedTokens:
    return repeated_tokens(
        skeleton.model,
        n_sequences=spec.n_sequences,
        n_tokens=spec.n_tokens,
        periods=spec.periods,
        bos=spec.bos,
        seed=seed,
    )
