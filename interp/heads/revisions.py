"""The step and the number of tokens that the name of a checkpoint tells."""

import re
from dataclasses import dataclass

import numpy as np


_NAME = re.compile(
    r"^(?P<before>.*?)"
    r"(?:(?:global_?step|step|checkpoint|ckpt|iter(?:ation)?)[-_]?)"
    r"(?P<step>\d+)"
    r"(?:[-_]tokens[-_]?(?P<tokens>\d+(?:\.\d+)?)(?P<unit>[KMBT]))?$",
    re.IGNORECASE,
)
_UNITS = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
# Series whose names do not tell tokens but whose papers do (Biderman et al. 2023).
_TOKENS_PER_STEP = {"eleutherai/pythia": 2_097_152}


@dataclass(frozen=True, slots=True, kw_only=True)
class StepName:
    """What the name of a checkpoint says.

    Attributes:
        stage: What stands before the step, such as `"stage1-"`.
        step: The step.
        tokens: How many tokens were seen, NaN if the name does not say.
    """

    stage: str
    step: int
    tokens: float


def parse_name(name: str) -> StepName | None:
    """The step and tokens in the name of a folder or revision, or None.

    Args:
        name: As Pythia (`step1000`), OLMo (`step1000-tokens4B`) or a trainer of
            transformers (`checkpoint-500`) writes it.

    Example:
        >>> parse_name("stage1-step1000-tokens5B")
        StepName(stage='stage1-', step=1000, tokens=5000000000.0)
        >>> parse_name("main") is None
        True
    """
    match = _NAME.match(name)
    if match is None:
        return None
    tokens = np.nan
    if match["tokens"]:
        tokens = float(match["tokens"]) * _UNITS[match["unit"].upper()]
    return StepName(stage=match["before"], step=int(match["step"]), tokens=tokens)


def known_tokens_per_step(series: str) -> float:
    """How many tokens a step of a published series is, NaN if that is not known.

    Args:
        series: A hub id.

    Example:
        >>> known_tokens_per_step("EleutherAI/pythia-70m")
        2097152.0
    """
    for start, tokens in _TOKENS_PER_STEP.items():
        if series.lower().startswith(start):
            return float(tokens)
    return np.nan
