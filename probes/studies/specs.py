"""From the data that was given to the studies that can run, and back to a command."""

import shlex
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from interp.errors import ConfigError
from probes.studies.kinds import (
    STUDIES,
    Sources,
    StudyName,
    StudySpec,
    checked_name,
    default_spec,
    has_data,
    needs,
    sources_of,
)


# Studies that a comparison leaves out, saying why, if data or models do not suit
# them and nobody asked for them by name.
LEFT_OUT_IF_UNSUITABLE: tuple[StudyName, ...] = ("knowledge", "confidence")
# Settings that the command line of a comparison names as the specs do.
OPTIONS = (
    "base_revision post_revision dtype limit seed statement_column label_column group"
    " max_new_tokens batch_size"
)


def specs_for(
    base: str,
    post: str,
    sources: Sources,
    *,
    studies: Sequence[str] = (),
    seed: int = 0,
) -> tuple[StudySpec, ...]:
    """The default settings of the studies for which there is data, or of those asked.

    Args:
        base: Hub id or folder of the base model.
        post: Hub id or folder of the post-trained model.
        sources: The data.
        studies: Which studies; by default those whose data was given.
        seed: Of everything random.

    Raises:
        ConfigError: If a study does not exist or lacks its data.

    Example:
        >>> specs = specs_for("a", "b", Sources(statements=("s.csv",)))
        >>> [type(spec).__name__ for spec in specs]
        ['TruthfulnessSpec', 'KnowledgeSpec', 'ConfidenceSpec']
    """
    given = {name for name in _names() if getattr(sources, name)}
    if len(given & {"harmful", "harmless"}) == 1:
        (one,) = given & {"harmful", "harmless"}
        missing = "harmless" if one == "harmful" else "harmful"
        raise ConfigError(
            f"--{one} was given without --{missing}.",
            expected="Refusal is studied on both kinds of instructions.",
            remedy=f"Add --{missing} FILE.",
        )
    asked: list[StudyName] = [checked_name(name) for name in dict.fromkeys(studies)]
    chosen = asked or [name for name in STUDIES if has_data(name, given)]
    if not chosen:
        raise ConfigError(
            "There is nothing to compare the models on.",
            expected="--statements FILE, or --harmful FILE and --harmless FILE.",
        )
    for name in chosen:
        if not has_data(name, given):
            options = ", ".join(f"--{need}" for need in needs(name))
            raise ConfigError(
                f"The study {name!r} has no data.", remedy=f"Add {options}."
            )
    return tuple(default_spec(name, base, post, sources, seed=seed) for name in chosen)


def command_of(specs: Sequence[StudySpec], out: Path) -> str:
    """The command line that runs these studies as one comparison."""
    first = specs[0]
    words = ["interp", "compare", first.base, first.post]
    for kind in _names():
        files = [file for spec in specs for file in getattr(sources_of(spec), kind)]
        words += [w for file in dict.fromkeys(files) for w in (f"--{kind}", file)]
    for field in OPTIONS.split():
        having = [spec for spec in specs if hasattr(spec, field)]
        for value in dict.fromkeys(getattr(spec, field) for spec in having):
            if any(value != _default(spec, field) for spec in having):
                words += [f"--{field.replace('_', '-')}", str(value)]
    return shlex.join([*words, "--out", str(out)])


def _names() -> list[str]:
    return [field.name for field in fields(Sources)]


def _default(spec: StudySpec, field: str) -> object:
    return next(one.default for one in fields(spec) if one.name == field)
