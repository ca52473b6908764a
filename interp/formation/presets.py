"""The presets by name."""

from pathlib import Path
from typing import Literal, assert_never

from interp.formation.experiments import induction_lm_tiny, toy_preset
from interp.formation.label_experiments import (
    few_shot_clamp,
    few_shot_data,
    reddy_preset,
)
from interp.results.formation import FormationRun


PresetName = Literal[
    "toy", "induction-lm-tiny", "fewshot-clamp", "fewshot-data", "reddy"
]


def run_preset(
    name: PresetName,
    *,
    size: Literal["full", "small"] = "full",
    seed: int = 0,
    out: str | Path | None = None,
) -> FormationRun:
    """Run an experiment and say whether it shows what it stands for.

    Args:
        name: Which one.
        size: `"small"` is for trying out; its findings may well not hold.
        seed: The first seed.
        out: Folder for checkpoints; a second call with it resumes there.

    Raises:
        StoppedError: If a stop was requested; `out` holds what was reached.

    Example:
        >>> all(finding.held for finding in run_preset("toy").findings)
        True
    """
    folder = None if out is None else Path(out)
    match name:
        case "toy":
            return toy_preset()
        case "induction-lm-tiny":
            return induction_lm_tiny(size=size, seed=seed, out=folder)
        case "fewshot-clamp":
            return few_shot_clamp(size=size, seed=seed, out=folder)
        case "fewshot-data":
            return few_shot_data(size=size, seed=seed, out=folder)
        case "reddy":
            return reddy_preset(size=size, seed=seed, out=folder)
        case _:
            assert_never(name)
