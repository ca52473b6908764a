"""What has not been measured yet of the models here, and the command that does it.

Knows nothing of Streamlit.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from interp_explorer.catalog import Entry, settings_of
from interp_explorer.pages import STUDIES, StudyPage


# Files of earlier runs of the same models, by their option of `interp compare`.
OPTIONS = ("statements", "harmful", "harmless", "texts")
NEEDS = {
    "truthfulness": ("statements",),
    "refusal": ("harmful", "harmless"),
    "knowledge": ("statements",),
    "confidence": ("statements",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A study that was not run.

    Attributes:
        page: What it is.
        models: Of which models; empty if of any.
        command: What runs it; words in capitals are for the reader to fill in.
    """

    page: StudyPage
    models: tuple[str, ...]
    command: str


def missing(
    entries: Sequence[Entry], root: Path, *, most_pairs: int = 3
) -> tuple[Missing, ...]:
    """The studies that were not run of the models that others were run of.

    Args:
        entries: What is here, the newest first.
        root: The folder of results.
        most_pairs: Of so many pairs of models, the newest first.
    """
    pairs = list(dict.fromkeys(e.models for e in entries if len(e.models) == 2))
    found: list[Missing] = []
    for pair in pairs[:most_pairs]:
        own = [entry for entry in entries if entry.models == pair]
        files = _files(own, root)
        done = {entry.kind for entry in own} | {entry.study for entry in own}
        for page in STUDIES:
            if page.name in NEEDS and not done & {page.name, *page.kinds}:
                found.append(_of_pair(page, pair, files, root))
    done = {entry.kind for entry in entries}
    for page in STUDIES:
        if page.name not in NEEDS and not done & {*page.kinds}:
            command = page.command.replace("DIR", shlex.quote(str(root)))
            found.append(Missing(page=page, models=(), command=command))
    return tuple(found)


def _of_pair(
    page: StudyPage, pair: tuple[str, ...], files: dict[str, list[str]], root: Path
) -> Missing:
    words = ["interp", "compare", *pair, "--studies", page.name]
    for option in NEEDS[page.name]:
        for file in files.get(option) or ["FILE"]:
            words += [f"--{option}", file]
    words += ["--out", str(root)]
    return Missing(page=page, models=pair, command=shlex.join(words))


def _files(entries: Sequence[Entry], root: Path) -> dict[str, list[str]]:
    """The data of earlier runs of the same models."""
    found: dict[str, list[str]] = {}
    for entry in entries:
        settings = settings_of(entry, root) or {}
        for option in OPTIONS:
            values = settings.get(option)
            if option not in found and isinstance(values, list) and values:
                found[option] = [str(value) for value in values]
    return found
