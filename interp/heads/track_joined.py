"""From the parts of a run, one for each checkpoint, to its `HeadTimeline`."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from interp.errors import ConfigError, UnsupportedModelError
from interp.heads.metrics import Measured
from interp.heads.series import CheckpointRef, Series
from interp.heads.timeline import (
    curves_of,
    heads_of,
    lags_of,
    persistence_of,
    phases_of,
    swaps_of,
)
from interp.heads.track_patterns import heads_to_show
from interp.heads.track_shards import Shards
from interp.provenance import Provenance
from interp.results.timeline import HeadTimeline
from interp.results.timeline_rows import FailedCheckpoint


RESAMPLES = 400


def joined(
    series: Series,
    shards: Shards,
    failed: Sequence[FailedCheckpoint],
    *,
    provenance: Provenance,
    seed: int,
) -> HeadTimeline:
    """What the parts of all checkpoints say together.

    Args:
        series: The checkpoints.
        shards: Their parts.
        failed: Those that have none.
        provenance: What produced them.
        seed: Of the intervals.

    Raises:
        UnsupportedModelError: If not one checkpoint could be measured.
        ConfigError: If a metric did not return the same names at all of them.
    """
    names = {row.name for row in failed}
    refs = [ref for ref in series.checkpoints if ref.name not in names]
    read = [shards.read(ref) for ref in refs]
    measured = [found for found in read if found is not None]
    if not measured:
        raise UnsupportedModelError(
            f"None of the {len(failed)} checkpoints of {series.name!r} could be"
            f" measured: {failed[0].name}: {failed[0].reason}",
            remedy="Check the series; what was fetched can be fetched again.",
        )
    _refuse_uneven(refs, measured)
    steps = np.array([ref.step for ref in refs])
    heads = heads_of(measured)
    curves = curves_of(refs, measured)
    phases = phases_of(curves, steps, resamples=RESAMPLES, seed=seed)
    single = np.float32
    timeline = HeadTimeline(
        checkpoints=tuple(ref.name for ref in refs),
        steps=steps,
        tokens=np.array([ref.tokens for ref in refs]),
        metrics=heads.metrics,
        heads=heads.mean.astype(single),
        stderr=heads.stderr.astype(single),
        chance=heads.chance.astype(single),
        threshold=heads.threshold.astype(single),
        n_above=heads.n_above,
        persistence=persistence_of(heads).astype(single),
        curves=curves.names,
        mean=curves.mean.astype(single),
        samples=curves.samples.astype(single),
        phases=tuple(found.change for found in phases.values()),
        lags=lags_of(phases),
        swaps=swaps_of(heads, steps),
        failed=tuple(failed),
        notes=_notes(series, failed, refs),
        provenance=provenance,
    )
    return _with_patterns(timeline, shards, refs)


def _with_patterns(
    timeline: HeadTimeline, shards: Shards, refs: Sequence[CheckpointRef]
) -> HeadTimeline:
    """The timeline with the patterns of its highest heads, if all parts hold them."""
    shown = [found for ref in refs if (found := shards.shown(ref)) is not None]
    if not shown:
        return timeline
    first = shown[0]
    alike = {replace(one, heads=()) for one in shown}
    if len(shown) < len(refs) or len(alike) > 1:
        note = (
            "Attention patterns are left out: they were not kept for the same sequence"
            f" at all of the {len(refs)} checkpoints, some of which an older version"
            " measured. Another folder for the run measures all of them anew."
        )
        return replace(timeline, notes=(*timeline.notes, note))
    everywhere = {*first.heads}.intersection(*(one.heads for one in shown))
    heads = heads_to_show(
        timeline.heads,
        [name for name in first.heads if name in everywhere],
        n_tokens=len(first.ids),
    )
    if not heads:
        return timeline
    kept = [
        shards.patterns(ref, [one.heads.index(name) for name in heads])
        for ref, one in zip(refs, shown, strict=True)
    ]
    return replace(
        timeline,
        pattern_heads=heads,
        pattern_ids=np.array(first.ids),
        pattern_tokens=first.words,
        pattern_start=first.start,
        pattern_period=first.period,
        patterns=np.stack(kept, axis=1),
    )


def _refuse_uneven(refs: Sequence[CheckpointRef], measured: Sequence[Measured]) -> None:
    def names(found: Measured) -> list[str]:
        return [*found.values, *found.heads, *found.vectors]

    for ref, found in zip(refs, measured, strict=True):
        if differing := sorted({*names(found)} ^ {*names(measured[0])}):
            raise ConfigError(
                f"{differing[0]!r} was measured at some checkpoints and not at others,"
                f" such as {ref.name} or {refs[0].name}.",
                expected="A metric returns the same names at every checkpoint.",
            )


def _notes(
    series: Series, failed: Sequence[FailedCheckpoint], refs: Sequence[CheckpointRef]
) -> tuple[str, ...]:
    notes = list(series.notes)
    if failed:
        said = "; ".join(f"{row.name}: {row.reason}" for row in failed[:3])
        notes.append(
            f"{len(failed)} of {len(failed) + len(refs)} checkpoints could not be"
            f" measured ({said}{'; ...' if len(failed) > 3 else ''})."
        )
    if refs[0].step > 0:
        notes.append(
            f"The series begins at step {refs[0].step}: what changed before is not"
            " seen."
        )
    notes.append(
        "Intervals are over evaluation sequences of one training run; another seed of"
        " training can change at quite another step."
    )
    return tuple(notes)
