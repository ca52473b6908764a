"""Run folders `DIR/<study>/<models>/<spec hash>/`, which resume, and finding them.

spec.toml         the settings
provenance.json   what produced the result
events.jsonl      what happened, one JSON object per line
shards/           finished parts
result/           the result, once there is one
"""

import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Literal

from interp import atomic
from interp.config import spec_hash, to_toml
from interp.errors import ResultError
from interp.provenance import Provenance, from_json, to_json
from interp.results.files import RESULT
from interp.results.kinds import Result, load


logger = logging.getLogger("interp.results")

SPEC, PROVENANCE, EVENTS = "spec.toml", "provenance.json", "events.jsonl"
MAX_SLUG = 80
# The last event of a run is at the end of a file that may be long.
BYTES_OF_LAST_EVENTS = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """One run: a study of certain models with certain settings."""

    path: Path
    study: str
    models: str
    spec_hash: str

    @property
    def shards(self) -> Path:
        return self.path / "shards"

    @property
    def finished(self) -> bool:
        """Whether the result is there."""
        atomic.restore_folder(self.path / "result")
        return (self.path / "result" / RESULT).is_file()

    def append(self, event: str, values: Mapping[str, object] | None = None) -> None:
        """Add one line to `events.jsonl`.

        Args:
            event: What happened, as `"started"`.
            values: More about it, as plain values.
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = atomic.json_text(
            {"time": now, "event": event, **(values or {})}, compact=True
        )
        path = self.path / EVENTS
        with atomic.clear_errors(path), path.open("ab+") as file:
            # A process that died may have left half a line.
            torn = file.tell() > 0 and _last_byte(path) != b"\n"
            file.write(("\n" if torn else "").encode() + line.encode() + b"\n")

    def events(self) -> tuple[dict[str, object], ...]:
        """What happened so far; half a line that a dead process left is passed over."""
        try:
            return _events((self.path / EVENTS).read_bytes())
        except FileNotFoundError:
            return ()

    def result(self) -> Result | None:
        """The finished result, or None.

        Raises:
            ResultError: If there is one and it is damaged.
        """
        return load(self.path) if self.finished else None

    def finish(self, result: Result) -> None:
        """Write the result, its provenance and a last event.

        Raises:
            DiskFullError: If the disk is full.
            UnwritableError: If the folder cannot be written.
        """
        atomic.write_json(self.path / PROVENANCE, to_json(result.provenance))
        result.save(self.path / "result")
        self.append("finished", {"kind": result.KIND, "headline": result.headline()})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """What a list of runs shows of one of them, read without its arrays.

    Attributes:
        path: The run folder.
        study: What was done.
        models: Names of the models.
        spec_hash: Hash of the settings.
        created: UTC time in ISO 8601, empty if unknown.
        state: `damaged` means that `provenance.json` cannot be read.
        kind: Kind of the result, empty if there is none.
        headline: What was found, empty if there is no result.
    """

    path: Path
    study: str
    models: tuple[str, ...]
    spec_hash: str
    created: str
    state: Literal["finished", "unfinished", "damaged"]
    kind: str
    headline: str


def open_run(
    directory: str | Path,
    *,
    study: str,
    models: Sequence[str],
    spec: object,
    provenance: Provenance,
    content: Sequence[str] = (),
) -> RunFolder:
    """The run folder of these settings: a new one, or the one to resume.

    Args:
        directory: The folder of all results.
        study: What is done.
        models: Names of the models.
        spec: The settings, a dataclass.
        provenance: What will produce the result.
        content: Hashes of weights and data, which are part of the run's identity.

    Raises:
        DiskFullError: If the disk is full.
        UnwritableError: If the folder cannot be written.
    """
    name = " vs ".join(dict.fromkeys(models))
    identity = spec_hash(spec, content=content)
    path = Path(directory).expanduser() / study / slug(models) / identity
    run = RunFolder(path=path, study=study, models=name, spec_hash=identity)
    resumed = (path / SPEC).is_file()
    with atomic.clear_errors(run.shards):
        run.shards.mkdir(parents=True, exist_ok=True)
    for folder in (path, run.shards):
        atomic.remove_strays(folder)
    if not resumed or not (path / PROVENANCE).is_file():
        atomic.write_json(path / PROVENANCE, to_json(provenance))
    if not resumed:
        atomic.write_text(path / SPEC, to_toml(spec))
    if not run.finished:
        run.append("resumed" if resumed else "started", {"command": provenance.command})
    return run


def find(directory: str | Path) -> tuple[RunInfo, ...]:
    """The runs below a folder, the newest first, without reading their results.

    Args:
        directory: The folder of all results, of one study, or a run itself.

    Raises:
        ResultError: If there is no such folder.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [run.study for run in find(folder)]
        []
    """
    directory = Path(directory).expanduser()
    if not directory.is_dir():
        raise ResultError(
            f"There is no folder {str(directory)!r}.",
            expected="A folder of results was expected.",
            remedy="Check the path.",
        )
    found = [
        run_info(path.parent)
        for depth in range(4)
        for path in directory.glob("/".join(["*"] * depth + [PROVENANCE]))
        if (path.parent / SPEC).is_file()
    ]
    return tuple(sorted(found, key=lambda run: (run.created, run.path), reverse=True))


def slug(models: Sequence[str]) -> str:
    """A folder name from names of models; paths are cut to their last part.

    Example:
        >>> slug(["owner/model@main"]), slug(["/home/me/base", "/home/me/post"])
        ('owner--model@main', 'base..post')
    """
    parts = [
        Path(name).name if name.startswith((".", "~", "/")) else name for name in models
    ]
    text = "..".join(dict.fromkeys(parts))
    safe = re.sub(r"[^\w.@+-]+", "-", text.replace("/", "--").replace("\\", "--"))
    safe = safe.strip(".-") or "model"
    if len(safe) > MAX_SLUG:
        digest = sha256(safe.encode()).hexdigest()[:8]
        safe = f"{safe[: MAX_SLUG - 9]}-{digest}"
    return safe


def run_info(path: Path) -> RunInfo:
    """What a list of runs shows of one run folder, read without its arrays.

    Args:
        path: The run folder.
    """
    finished = (path / "result" / RESULT).is_file()
    last = _last_finished(path) if finished else {}
    try:
        source = atomic.parse_json((path / PROVENANCE).read_bytes())
        provenance = from_json(source, where=PROVENANCE)
    except (OSError, ValueError) as error:
        logger.warning("%s: %s", path, error)
        provenance = None
    state = "finished" if finished else "unfinished"
    return RunInfo(
        path=path,
        study=provenance.study if provenance else path.parent.parent.name,
        models=tuple(m.name for m in provenance.models) if provenance else (),
        spec_hash=path.name,
        created=provenance.created if provenance else "",
        state=state if provenance else "damaged",
        kind=str(last.get("kind", "")),
        headline=str(last.get("headline", "")),
    )


def _last_finished(path: Path) -> Mapping[str, object]:
    try:
        with (path / EVENTS).open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - BYTES_OF_LAST_EVENTS))
            events = _events(file.read())
    except OSError:
        events = ()
    for event in reversed(events):
        if event.get("event") == "finished":
            return event
    # The process died between the result and its event.
    try:
        found = atomic.parse_json((path / "result" / RESULT).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _events(data: bytes) -> tuple[dict[str, object], ...]:
    events: list[dict[str, object]] = []
    for line in data.split(b"\n"):
        try:
            value = atomic.parse_json(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            events.append(value)
    return tuple(events)


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1)
