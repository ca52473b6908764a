"""A series of checkpoints of one model: on a hub, or in a folder, in order."""

import fnmatch
import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from interp.errors import ConfigError, ModelNotFoundError, closest
from interp.heads.revisions import known_tokens_per_step, parse_name
from interp.models import hub
from interp.models.checkpoint import exists


NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointRef:
    """One checkpoint of a series, not yet read.

    Attributes:
        name: Its folder's name or its revision.
        step: The step at which it was saved.
        tokens: How many tokens had been seen; NaN if unknown.
        folder: Where it lies, or None if it is on a hub.
        commit: Its commit on the hub, or empty.
    """

    name: str
    step: int
    tokens: float
    folder: Path | None = None
    commit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Checkpoints in the order of their steps.

    Attributes:
        name: The hub id or folder, as it was given.
        on_hub: Whether they have to be fetched.
        checkpoints: The checkpoints.
        notes: What was left out.
    """

    name: str
    on_hub: bool
    checkpoints: tuple[CheckpointRef, ...]
    notes: tuple[str, ...] = ()


def find_series(
    source: str | Path,
    *,
    revisions: str | Sequence[str] | None = None,
    tokens_per_step: float | None = None,
) -> Series:
    """The checkpoints of a hub repository or folder, by step.

    Args:
        source: A hub id whose revisions are checkpoints (Pythia, OLMo), a folder of
            checkpoint folders, or the output folder of a trainer.
        revisions: Names, or patterns such as `"step*000"`; all names that tell a step
            by default. Of several stages the one with most checkpoints is taken.
        tokens_per_step: Gives the tokens where the names do not.

    Raises:
        ModelNotFoundError: If there is no such series.
        ModelAccessError: If it may not be read.
        OfflineError: If the hub cannot be reached.
        ConfigError: If no checkpoint has such a name, two have the same step, or
            `tokens_per_step` is no positive number.
    """
    if tokens_per_step is not None and not 0 < tokens_per_step < math.inf:
        raise ConfigError(
            f"tokens_per_step is {tokens_per_step}.",
            expected="How many tokens the series is trained on in one step.",
        )
    name = str(source)
    if isinstance(source, Path) or _is_folder(name):
        folder = Path(source).expanduser()
        found = _in_folder(folder, name)
        on_hub = False
    else:
        found = [
            CheckpointRef(name=revision, step=-1, tokens=math.nan, commit=commit)
            for revision, commit in hub.revisions(name).items()
        ]
        on_hub = True
    chosen, notes = _chosen(found, name, revisions)
    per_step = (
        known_tokens_per_step(name) if tokens_per_step is None else (tokens_per_step)
    )
    ordered = sorted(chosen, key=lambda ref: ref.step)
    _refuse_twins(ordered, name)
    return Series(
        name=name,
        on_hub=on_hub,
        checkpoints=tuple(
            replace(ref, tokens=ref.step * per_step) if math.isnan(ref.tokens) else ref
            for ref in ordered
        ),
        notes=notes,
    )


def _is_folder(name: str) -> bool:
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        return True
    return name != "" and exists(Path(name))


def _in_folder(folder: Path, name: str) -> list[CheckpointRef]:
    if not folder.is_dir():
        siblings = folder.parent.iterdir() if folder.parent.is_dir() else ()
        raise ModelNotFoundError(
            f"There is no folder {name!r}.",
            expected="A series is a hub id, or a folder of checkpoint folders.",
            remedy=closest(folder.name, [p.name for p in siblings if p.is_dir()])
            or "Check the path.",
        )
    for place in (folder, folder / "checkpoints"):
        if place.is_dir():
            found = [
                CheckpointRef(name=path.name, step=-1, tokens=math.nan, folder=path)
                for path in sorted(place.iterdir())
                if path.is_dir() and parse_name(path.name)
            ]
            if found:
                return found
    inside = sorted(path.name for path in folder.iterdir() if path.is_dir())
    raise ModelNotFoundError(
        f"The folder {name!r} holds no checkpoints.",
        expected="Folders such as step-000100 or checkpoint-500, each with config.json"
        f" and safetensors weights; it has: {', '.join(inside[:NAMED]) or 'none'}.",
        remedy="Give the folder that holds them.",
    )


def _chosen(
    found: Sequence[CheckpointRef], name: str, revisions: str | Sequence[str] | None
) -> tuple[list[CheckpointRef], tuple[str, ...]]:
    """What is asked for, with step and tokens from the names, and what is left out."""
    patterns = (revisions,) if isinstance(revisions, str) else revisions
    named = {ref.name: parse_name(ref.name) for ref in found}
    if patterns is not None:
        for pattern in patterns:
            if not fnmatch.filter(named, pattern):
                raise ConfigError(
                    f"{name!r} has no checkpoint {pattern!r}.",
                    expected=f"It has {len(named)}: {_some(list(named))}.",
                    remedy=closest(pattern, named),
                )
        named = {
            key: value
            for key, value in named.items()
            if any(fnmatch.fnmatchcase(key, pattern) for pattern in patterns)
        }
        if nameless := [key for key, value in named.items() if value is None]:
            raise ConfigError(
                f"The name {nameless[0]!r} does not tell a step.",
                expected="Names such as step1000, step1000-tokens4B, checkpoint-500.",
            )
    steps = {key: value for key, value in named.items() if value is not None}
    if not steps:
        raise ConfigError(
            f"{name!r} has no revisions that tell a step.",
            expected=f"It has {len(named)}: {_some(list(named))}.",
            remedy="Give a model that was published with its checkpoints.",
        )
    notes: tuple[str, ...] = ()
    if patterns is None:
        counts = Counter(value.stage for value in steps.values())
        stage = counts.most_common(1)[0][0]
        if len(counts) > 1:
            others = sum(counts.values()) - counts[stage]
            notes = (
                f"{others} checkpoints of other stages than {stage or 'the plain one'}"
                " were left out; name them with revisions.",
            )
        steps = {key: value for key, value in steps.items() if value.stage == stage}
    refs = [
        replace(ref, step=steps[ref.name].step, tokens=steps[ref.name].tokens)
        for ref in found
        if ref.name in steps
    ]
    return refs, notes


def _refuse_twins(ordered: Sequence[CheckpointRef], name: str) -> None:
    for first, second in itertools.pairwise(ordered):
        if first.step == second.step:
            raise ConfigError(
                f"Two checkpoints of {name!r} are at step {first.step}: {first.name!r}"
                f" and {second.name!r}.",
                expected="One checkpoint for each step.",
                remedy="Choose a stage with revisions.",
            )


def _some(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
