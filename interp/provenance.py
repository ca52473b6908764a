"""What produced a result: models, data, settings and versions, as plain values.

Two results may be compared only if nothing but what is being compared differs;
`differences` names what does. Imports neither models nor torch.
"""

import importlib.metadata
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from interp.errors import ResultError
from interp.sharding import without_shard


PACKAGES = (
    "interp",
    "torch",
    "transformers",
    "transformer-lens",
    "datasets",
    "numpy",
    "scipy",
    "safetensors",
)
SECONDS_FOR_GIT = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecord:
    """Which model was used, exactly.

    Attributes:
        name: The hub id or folder, as the user gave it.
        revision: The commit of the hub, or empty for a folder.
        weights_hash: Hash of the weights, or of the index of their files.
        config_hash: Hash of the model's config.
        tokenizer_hash: Hash of the tokenizer.
        template_hash: Hash of the chat template, empty if there is none.
        dtype: The type of the weights as they ran, as `"float32"`.
        attention: The attention implementation, as `"sdpa"`.
        device: The device by name, as `"cpu"`.
    """

    name: str
    revision: str = ""
    weights_hash: str = ""
    config_hash: str = ""
    tokenizer_hash: str = ""
    template_hash: str = ""
    dtype: str = ""
    attention: str = ""
    device: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRecord:
    """Which data was used: where it came from, and a hash of what it held."""

    name: str
    fingerprint: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Everything that is needed to repeat a result.

    Attributes:
        study: What was done, as `"truthfulness"`.
        models: The models, in the order of the result.
        datasets: The data sets.
        spec_hash: Hash of the settings.
        seed: The seed.
        versions: Package and version, in pairs.
        git_commit: Commit of the checkout the code ran from, `+` if it was changed;
            empty outside a checkout.
        created: UTC time in ISO 8601.
        command: The command line that repeats it.
    """

    study: str
    models: tuple[ModelRecord, ...] = ()
    datasets: tuple[DatasetRecord, ...] = ()
    spec_hash: str = ""
    seed: int = 0
    versions: tuple[tuple[str, str], ...] = ()
    git_commit: str = ""
    created: str = ""
    command: str = ""


def record(
    study: str,
    *,
    models: Sequence[ModelRecord] = (),
    datasets: Sequence[DatasetRecord] = (),
    spec_hash: str = "",
    seed: int = 0,
    command: str | None = None,
) -> Provenance:
    """The provenance of something that is made now, with versions and time filled in.

    Args:
        study: What is done.
        models: The models, in the order of the result.
        datasets: The data sets.
        spec_hash: Hash of the settings.
        seed: The seed.
        command: The command that repeats it; this process' own by default.

    Example:
        >>> record("truthfulness", seed=3).seed
        3
    """
    return Provenance(
        study=study,
        models=tuple(models),
        datasets=tuple(datasets),
        spec_hash=spec_hash,
        seed=seed,
        versions=versions(),
        git_commit=git_commit(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=_command_line() if command is None else command,
    )


@cache
def versions() -> tuple[tuple[str, str], ...]:
    """Names and versions of the packages that matter, without importing them.

    Example:
        >>> dict(versions())["python"].count(".")
        2
    """
    found = [("python", ".".join(str(part) for part in sys.version_info[:3]))]
    for name in PACKAGES:
        try:
            found.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            continue
    return tuple(found)


@cache
def git_commit() -> str:
    """The commit of the checkout that this code runs from, or an empty text.

    A `+` at the end says that tracked files were changed since.
    """
    folder = Path(__file__).resolve().parent.parent
    if not (folder / ".git").exists():
        return ""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return ""
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return commit + ("+" if changed else "")


def differences(
    first: Provenance, second: Provenance, *, same_models: bool = False
) -> tuple[str, ...]:
    """The fields in which two results differ although they should not, or nothing.

    Time, device, versions, commit and command are not among them, and neither is which
    model was used, unless asked: comparing models is what results are for.

    Args:
        first: Where one result comes from.
        second: Where the other comes from.
        same_models: Whether the weights must be the same too.

    Example:
        >>> old = Provenance(study="refusal", seed=0)
        >>> differences(old, Provenance(study="refusal", seed=1))
        ('seed',)
    """
    found = [
        name
        for name in ("study", "spec_hash", "seed")
        if getattr(first, name) != getattr(second, name)
    ]
    if _contents(first) != _contents(second):
        found.append("datasets")
    if len(first.models) != len(second.models):
        found.append("models")
    fields = ("tokenizer_hash", "template_hash", "dtype")
    if same_models:
        fields = ("name", "revision", "weights_hash", *fields, "attention")
    for i, (a, b) in enumerate(zip(first.models, second.models, strict=False)):
        found += [f"models[{i}].{f}" for f in fields if getattr(a, f) != getattr(b, f)]
    return tuple(found)


def to_json(provenance: Provenance) -> dict[str, object]:
    """The provenance as values for JSON; `from_json` reads it back."""
    return asdict(provenance)


def from_json(value: object, *, where: str = "the provenance") -> Provenance:
    """The provenance that `to_json` wrote.

    Args:
        value: What JSON gave.
        where: The file, for the error.

    Raises:
        ResultError: If a field is missing, unknown or of the wrong type.

    Example:
        >>> from_json(to_json(Provenance(study="refusal"))).study
        'refusal'
    """
    try:
        return TypeAdapter(Provenance).validate_python(value)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise ResultError(
            f"{where} is damaged: {place or 'it'}: {problem['msg']}.",
            remedy="Run the study again.",
        ) from error


def _contents(provenance: Provenance) -> list[str]:
    return sorted(data.fingerprint for data in provenance.datasets)


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=SECONDS_FOR_GIT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _command_line() -> str:
    import shlex

    name = Path(sys.argv[0]).name if sys.argv else ""
    # Any shard may put a result together; it is not that shard's.
    return shlex.join([name, *without_shard(sys.argv[1:])]) if name else ""
