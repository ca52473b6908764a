"""A timeline with a known change, made without a model."""

import numpy as np

from interp.provenance import ModelRecord, Provenance
from interp.results import (
    ChangeTime,
    FailedCheckpoint,
    HeadSwap,
    HeadTimeline,
    Lag,
    PhaseChange,
)


STEPS = np.array([0, 100, 200, 300, 400, 500, 600])
CURVES = ("loss", "prefix_matching (highest head)")
# A token in front, then blocks of three.
IDS, PERIOD = np.array([0, 7, 8, 9, 7, 8, 9, 7]), 3


def change(curve: str, step: float) -> PhaseChange:
    """A change at a step, or none for NaN."""
    found = bool(np.isfinite(step))
    before = float(100 * np.floor(step / 100)) if found else np.nan
    return PhaseChange(
        curve=curve,
        verdict="transition" if found else "no transition",
        reason="made up",
        scale="linear",
        times=tuple(
            ChangeTime(
                estimator=name,
                step=step,
                low=step - 5,
                high=step + 5,
                grid_low=before,
                grid_high=before + 100,
            )
            for name in ("threshold crossing", "steepest slope", "logistic midpoint")
        ),
        start=0.0,
        end=1.0,
        threshold=0.5,
        width=80.0 if found else np.nan,
        abruptness=0.2 if found else np.nan,
        plateau_slope=0.01,
        bic_logistic=-50.0,
        bic_line=-10.0,
        bic_exponential=-12.0,
        held_up=1.0,
    )


def marks() -> np.ndarray:
    """Which keys stand behind an earlier occurrence of the query's token."""
    query, key = np.indices((len(IDS), len(IDS)))
    return (key <= query) & (key > 0) & (np.roll(IDS, 1)[key] == IDS[query])


def patterns(rise: np.ndarray) -> np.ndarray:
    """Even attention that goes over to the marks, where a query has some."""
    even = np.tril(np.ones((len(IDS), len(IDS))))
    even /= even.sum(axis=1, keepdims=True)
    has = marks().any(axis=1, keepdims=True)
    sharp = np.where(has, marks() / np.maximum(marks().sum(1, keepdims=True), 1), even)
    share = rise[:, None, None]
    return ((1 - share) * even + share * sharp).astype(np.float16)


def timeline(*, n_layers: int = 2, n_heads: int = 2) -> HeadTimeline:
    """Seven checkpoints, of which an eighth failed; the last head rises at step 350.

    Patterns are kept of the last head, which comes to attend along the marks, and of
    the first, which attends evenly.
    """
    rise = 1 / (1 + np.exp(-(STEPS - 350) / 40.0))
    heads = np.full((2, 7, n_layers, n_heads), 0.1)
    heads[0, :, -1, -1] += 0.8 * rise
    heads[1] = -0.4
    heads[1, :, -1, -1] = rise
    samples = np.full((2, 7, 3), np.nan)
    samples[0] = 5 - 4 * rise[:, None] + np.array([-0.1, 0.0, 0.1])
    samples[1, :, :2] = heads[0, :, -1, -1][:, None] + np.array([-0.02, 0.02])
    single = np.float32
    return HeadTimeline(
        checkpoints=tuple(f"step{step}" for step in STEPS),
        steps=STEPS,
        tokens=STEPS * 10.0,
        metrics=("prefix_matching", "copying"),
        heads=heads.astype(single),
        stderr=np.full_like(heads, 0.01, dtype=single),
        chance=np.array([0.08, np.nan], dtype=single),
        threshold=np.array([0.5, 0.3], dtype=single),
        n_above=(heads > 0.5).sum(axis=(2, 3)).astype(np.int32),
        persistence=np.full((2, 6), 0.9, dtype=single),
        curves=CURVES,
        mean=np.nanmean(samples, axis=-1).astype(single),
        samples=samples.astype(single),
        phases=(change(CURVES[0], np.nan), change(CURVES[1], 350.0)),
        lags=(
            Lag(
                first=CURVES[0],
                second=CURVES[1],
                estimator="logistic midpoint",
                steps=12.0,
                low=3.0,
                high=20.0,
                unresolved=True,
            ),
        ),
        swaps=(HeadSwap(metric="copying", step=300, before="L0H0", after="L1H1"),),
        failed=(FailedCheckpoint(name="step700", step=700, reason="<b>cut</b>"),),
        pattern_heads=("L0H0", f"L{n_layers - 1}H{n_heads - 1}"),
        pattern_ids=IDS,
        pattern_tokens=tuple(f"<{token}>" for token in IDS),
        pattern_start=1,
        pattern_period=PERIOD,
        patterns=np.stack([patterns(np.zeros(7)), patterns(rise)]),
        notes=("A note.",),
        provenance=Provenance(study="track", models=(ModelRecord(name="a/series"),)),
    )
