"""What the command says: people on stderr, one JSON object on stdout with `--json`."""

import json
import sys
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from rich.table import Table


def say(text: str) -> None:
    """One or more lines for the person at the terminal."""
    sys.stderr.write(text.rstrip("\n") + "\n")
    sys.stderr.flush()


def show_table(table: "Table") -> None:
    """A rich table on stderr, as wide as the terminal."""
    from rich.console import Console

    Console(stderr=True, highlight=False).print(table)


def emit(value: object) -> None:
    """The one JSON object of a command on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")
    sys.stdout.flush()


def fail(text: str, *, kind: str, as_json: bool) -> None:
    """One line about an error on stderr, and the object on stdout with `--json`."""
    say(f"interp: error: {text}")
    if as_json:
        emit({"ok": False, "error": {"kind": kind, "message": text}})
