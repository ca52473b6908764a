"""Links to what the Lab shows: a small JSON file below the folder of results.

DIR/shares/<hash>.json is named by the hash of what it holds, so a link always opens
what it opened first, and a file that was changed is not read.
"""

import hashlib
import re
from dataclasses import asdict
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from interp import atomic
from interp.errors import ResultError
from interp_explorer.catalog import check_inside
from interp_explorer.lab.settings import LabSettings


FOLDER = "shares"
# A prompt of 40 000 characters of four bytes each, and the rest.
MAX_BYTES = 200_000
_NAME = re.compile(r"[0-9a-f]{32}")


def share(settings: LabSettings, root: Path) -> str:
    """Write the settings below the folder of results; their name for a link.

    Args:
        settings: What the link shall open.
        root: The folder of results.

    Raises:
        ResultError: If `shares` leads out of the folder.
        DiskFullError: If the disk is full.
        UnwritableError: If the folder cannot be written.
    """
    content = atomic.json_text(asdict(settings), compact=True).encode()
    name = _hash(content)
    path = root / FOLDER / f"{name}.json"
    check_inside(path, root)
    with atomic.clear_errors(path):
        path.parent.mkdir(exist_ok=True)
        if not path.is_file():
            atomic.write_bytes(path, content)
    return name


def shared(name: str, root: Path) -> LabSettings:
    """The settings that a link names.

    Args:
        name: From the address, which may hold anything.
        root: The folder of results.

    Raises:
        ResultError: If there is no such file, or it is not what was shared.
    """
    if not _NAME.fullmatch(name):
        raise ResultError(
            f"The link asks for {name[:40]!r}.",
            expected="A name of 32 hexadecimal digits.",
            remedy="Copy the whole link.",
        )
    path = root / FOLDER / f"{name}.json"
    check_inside(path, root)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ResultError(
            f"What the link asks for, {FOLDER}/{name}.json, is not here.",
            remedy="Open the folder of results in which it was shared.",
        ) from error
    if len(content) > MAX_BYTES or _hash(content) != name:
        raise ResultError(
            f"{FOLDER}/{name}.json is not what was shared: its hash is another one.",
            remedy="Share it again.",
        )
    try:
        return _adapter().validate_json(content)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in found["loc"])
        raise ResultError(
            f"{FOLDER}/{name}.json cannot be used: {place[:80]!r}: {found['msg']}.",
            remedy="It was shared by another version of interp: share it again.",
        ) from error


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


@cache
def _adapter() -> TypeAdapter[LabSettings]:
    return TypeAdapter(LabSettings)
