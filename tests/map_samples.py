"""Made-up results of knowledge, confidence and induction, and hostile ones."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from confidence_samples import confidence
from knowledge_samples import knowledge, patched
from sample_results import provenance
from timeline_samples import timeline

from interp.figures import Panel, report_section
from interp.provenance import ModelRecord
from interp.results import (
    FormationRun,
    FormationTime,
    HeadAblations,
    HeadScores,
    Result,
)
from interp_explorer.widgets.panel import heading


N_SEQUENCES = 5


def scores(*, token: str = "a") -> HeadScores:
    """Two layers of three heads; what L1H2 attends to was kept."""
    rng = np.random.default_rng(0)
    samples = rng.uniform(0, 0.3, (2, 2, 3, N_SEQUENCES)).astype(np.float32)
    samples[0, 1, 2] = np.linspace(0.8, 0.9, N_SEQUENCES)
    mean = samples.mean(-1)
    return HeadScores(
        metrics=("prefix_matching", "previous_token"),
        mean=mean,
        low=mean - np.float32(0.05),
        high=mean + np.float32(0.05),
        samples=samples,
        uniform=np.full((2, N_SEQUENCES), 0.1, dtype=np.float32),
        loss=rng.uniform(1, 5, (N_SEQUENCES, 7)).astype(np.float32),
        correct=np.ones((N_SEQUENCES, 7), dtype=np.float32),
        periods=np.full(N_SEQUENCES, 4, dtype=np.int32),
        has_bos=False,
        pattern_heads=("L1H2",),
        pattern_tokens=(token,) * 8,
        patterns=np.tril(np.full((8, 8), 0.2, dtype=np.float32))[None],
        notes=(),
        provenance=provenance("heads"),
    )


def ablations() -> HeadAblations:
    """Two layers of three heads, of which L0H1 matters."""
    rng = np.random.default_rng(1)
    samples = rng.normal(0, 0.01, (2, 2, 3, N_SEQUENCES)).astype(np.float32)
    samples[:, 0, 1] += 1
    loss = samples.mean(-1)
    return HeadAblations(
        kinds=("zero", "mean"),
        loss=loss,
        loss_low=loss - np.float32(0.1),
        loss_high=loss + np.float32(0.1),
        logit=-loss,
        logit_low=-loss - np.float32(0.1),
        logit_high=-loss + np.float32(0.1),
        loss_samples=samples,
        logit_samples=-samples,
        clean_loss=np.ones(N_SEQUENCES, dtype=np.float32),
        clean_logit=np.ones(N_SEQUENCES, dtype=np.float32),
        notes=(),
        provenance=provenance("head_ablation"),
    )


def formation() -> FormationRun:
    """Two conditions of two seeds each."""
    curves = np.arange(2 * 4 * 3, dtype=np.float32).reshape(2, 4, 3)
    return FormationRun(
        name="made up",
        metrics=("loss", "accuracy"),
        conditions=("free", "held"),
        condition=np.array([0, 0, 1, 1], dtype=np.int32),
        seeds=np.array([7, 8, 7, 8]),
        steps=np.array([0, 10, 20]),
        curves=curves,
        level=1.0,
        times=(
            FormationTime(
                condition="free",
                step=5.0,
                low=1.0,
                high=9.0,
                crossed=2,
                runs=2,
                abruptness=0.1,
            ),
        ),
        findings=(),
        notes=(),
        provenance=provenance("formation"),
    )


# By identity: results are not compared by what they hold.
@cache
def _panels(result: Result) -> tuple[Panel, ...]:
    return report_section(result).panels


def figure_title(result: Result, name: str) -> str:
    """How a page calls the first figure of a name, to show it alone."""
    panels = _panels(result)
    at = next(i for i, panel in enumerate(panels) if panel.name == name)
    return f"{at + 1}. {heading(panels[at])}"


def save_all(root: Path) -> Path:
    """One result of every kind that the three pages show, by what it is called."""
    knowledge().save(root / "knowledge")
    patched().save(root / "patched")
    confidence().save(root / "confidence")
    timeline(n_layers=2, n_heads=3).save(root / "timeline")
    timeline(n_layers=2, n_heads=3).save(root / "other")
    scores().save(root / "scores")
    ablations().save(root / "ablations")
    formation().save(root / "formation")
    return root


def save_hostile(root: Path, text: str) -> Path:
    """The same kinds with a text in the place of every text of somebody else."""
    origin = replace(
        provenance(),
        study=text,
        models=(ModelRecord(name=text), ModelRecord(name=text + "2")),
        command=text,
    )
    models = (text, text + "2")
    pairs = knowledge()
    tokens = tuple(
        replace(
            pair,
            clean=(text,) * len(pair.clean),
            corrupted=(text,) * len(pair.corrupted),
            answers=((text, text), (text, text)),
        )
        for pair in pairs.pair_tokens
    )
    n = len(pairs.true)
    common = {"notes": (text,), "provenance": origin}
    replace(
        pairs,
        models=models,
        true=(text,) * n,
        false=(text,) * n,
        groups=(text,) * n,
        tokens=(text,) * len(pairs.columns),
        pair_tokens=tokens,
        dropped=(replace(pairs.dropped[0], source=text, rule=text, texts=(text,)),),
        **common,
    ).save(root / "knowledge")
    maps = patched()
    replace(
        maps,
        models=(text, text),
        roles=((text, "b", "c", "d", "last"),) * len(maps.roles),
        tokens=((text,) * 5,) * len(maps.tokens),
        groups=(text,) * len(maps.groups),
        **common,
    ).save(root / "patched")
    replace(confidence(token=text), models=models, **common).save(root / "confidence")
    series = timeline()
    replace(
        series,
        metrics=(text, "copying"),
        pattern_tokens=(text,) * len(series.pattern_tokens),
        **common,
    ).save(root / "timeline")
    replace(scores(token=text), **common).save(root / "scores")
    replace(ablations(), kinds=(text, "mean"), **common).save(root / "ablations")
    replace(formation(), metrics=(text, "b"), conditions=(text, "held"), **common).save(
        root / "formation"
    )
    return root
