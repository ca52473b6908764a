"""Every error that a user can cause, as one tree under `InterpError`.

A message is one line with up to three sentences: what happened (with the user's own
words), what was expected, what to do. The command line prints that line and exits with
the error's `exit_code`; nothing is printed twice and no traceback is shown.
"""

import difflib
from collections.abc import Iterable


class InterpError(Exception):
    """An error with a remedy.

    Args:
        what: What happened, with the values that the user gave.
        expected: What would have been right, or why this is not.
        remedy: What to do about it.

    Example:
        >>> str(InterpError("No column 'label'.", remedy="Add one."))
        "No column 'label'. Add one."
    """

    exit_code = 2

    def __init__(self, what: str, *, expected: str = "", remedy: str = "") -> None:
        self.what = what
        self.expected = expected
        self.remedy = remedy
        super().__init__(what, expected, remedy)

    def __str__(self) -> str:
        parts = (self.what, self.expected, self.remedy)
        return " ".join(" ".join(part.split()) for part in parts if part)


class UnknownSiteError(InterpError, KeyError):
    """A site name that no model has, or a layer that this model does not have."""


class MissingSiteError(InterpError, LookupError):
    """A site that exists elsewhere but not in this architecture."""


class PositionError(InterpError, IndexError):
    """A position that a prompt does not have, or that cannot be resolved."""


class PromptError(InterpError, ValueError):
    """A prompt that cannot be run: empty, too long, not text."""


class ShapeError(InterpError, ValueError):
    """Values whose shape does not fit the site, the labels or each other."""


class ModelNotFoundError(InterpError, FileNotFoundError):
    """No such model, revision or folder."""


class ModelAccessError(InterpError, PermissionError):
    """A model that exists but may not be read: gated, private, no permission."""


class OfflineError(InterpError, ConnectionError):
    """Something must come from a hub and no hub can be reached."""


class RemoteError(InterpError, RuntimeError):
    """A run on another machine that failed there."""

    exit_code = 3


class UnsafeModelError(InterpError, ValueError):
    """A checkpoint that would run code: pickled weights or remote code."""


class UnsupportedModelError(InterpError, ValueError):
    """A model that loads but is not a causal language model we can read."""


class SelfCheckError(InterpError, RuntimeError):
    """A model that fails a check on which the requested operation depends."""

    exit_code = 3


class DataError(InterpError, ValueError):
    """A data file or data set that is missing, malformed or not enough."""


class EmptyClassError(DataError):
    """Labels of which one class has no example."""


class ConfigError(InterpError, ValueError):
    """A setting that does not exist or has a value out of its range."""


class ResultError(InterpError, ValueError):
    """A result folder that is absent, damaged, or of an unknown kind."""


class StoreError(InterpError, OSError):
    """An activation store that is absent, damaged or foreign."""


class IncompatibleError(InterpError, ValueError):
    """Two things that may not be used together, and the field in which they differ."""

    exit_code = 3


class DiskFullError(InterpError, OSError):
    """Not enough space; whatever was whole stays."""

    exit_code = 3


class UnwritableError(InterpError, OSError):
    """A file or folder that cannot be written: no permission, read-only, in the way."""


class OutOfMemoryError(InterpError, MemoryError):
    """Even the smallest batch does not fit."""

    exit_code = 3


def closest(word: str, known: Iterable[str]) -> str:
    """A "Did you mean ...?" sentence, or nothing when nothing is close.

    Example:
        >>> closest("resid_pst", ["resid_post", "z"])
        "Did you mean 'resid_post'?"
    """
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"Did you mean {matches[0]!r}?" if matches else ""
