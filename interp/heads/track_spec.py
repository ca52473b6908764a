"""What makes two trackings the same run."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from interp.heads.metrics import CheckpointMetric, metric_name
from interp.heads.sequences import Bos, RepeatedTokens
from interp.heads.series import Series
from interp.heads.skeleton import Loading


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceSpec:
    """Which sequences are drawn; see `interp.heads.repeated_tokens`."""

    n_sequences: int = 64
    n_tokens: int | None = None
    periods: tuple[int, int] | None = None
    bos: Bos = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackSpec:
    """All settings on which a number depends.

    The list of checkpoints is not among them, so that a series that grows goes on in
    its folder.

    Attributes:
        series: The hub id or folder.
        metrics: What is measured, by the names of `interp.heads.metric_name`.
        sequences: How the evaluation sequences are drawn.
        tokens: Hash of the evaluation sequences, if they were given.
        dtype: In which the models are loaded.
        seed: Of everything random.
    """

    series: str
    metrics: tuple[str, ...]
    sequences: SequenceSpec = field(default_factory=SequenceSpec)
    tokens: str = ""
    dtype: str = "auto"
    seed: int = 0


def track_spec(
    series: Series,
    metrics: Sequence[CheckpointMetric],
    sequences: RepeatedTokens | SequenceSpec,
    *,
    loading: Loading,
    seed: int,
) -> TrackSpec:
    """The settings of a run.

    Args:
        series: The checkpoints.
        metrics: What is measured.
        sequences: Evaluation sequences, or how to draw them.
        loading: How models are loaded.
        seed: Of everything random.
    """
    tokens = ""
    if isinstance(sequences, RepeatedTokens):
        tokens = hashlib.sha256(sequences.ids.tobytes()).hexdigest()[:16]
    return TrackSpec(
        series=series.name,
        metrics=tuple(metric_name(metric) for metric in metrics),
        sequences=sequences if isinstance(sequences, SequenceSpec) else SequenceSpec(),
        tokens=tokens,
        dtype=loading.dtype,
        seed=seed,
    )
