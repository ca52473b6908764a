"""Texts of models, prompts, files and columns, shown letter for letter."""

import math
import re
from collections.abc import Sequence
from pathlib import PurePath


# Streamlit's Markdown would load an image from an address and turn words into links,
# formulas, colours and symbols.
_MARKS = re.compile(r"([!-/:-@\[-`{-~])")


def escaped(text: str) -> str:
    r"""A text that Markdown shows letter for letter, on one line.

    Example:
        >>> print(escaped("![x](http://a) <b>"))
        \!\[x\]\(http\:\/\/a\) \<b\>
    """
    return _MARKS.sub(r"\\\1", " ".join(text.split()))


def models_text(models: Sequence[str], *, kind: str = "") -> str:
    """Names of models as people say them; of a folder its own name and its parent's.

    Where two lie in one folder, its name stands once. The whole paths are in the
    origin of a result. Where there are no models it says what a result is of instead.

    Args:
        models: The names.
        kind: The kind of the result, if there is one.

    Example:
        >>> models_text(["/home/me/models/tiny/base", "/home/me/models/tiny/post"])
        'tiny/base and post'
        >>> models_text(["owner/model"]), models_text([])
        ('owner/model', 'no model')
        >>> models_text([], kind="sweep")
        'arrays of activations'
    """
    shown: list[str] = []
    last = ""
    for model in models:
        path = PurePath(model)
        folder = str(path.parent) if path.is_absolute() else ""
        if folder and folder == last:
            shown.append(path.name)
        else:
            shown.append("/".join(path.parts[1:][-2:]) if folder else model)
        last = folder
    return " and ".join(shown) or _of_what(kind)


def _of_what(kind: str) -> str:
    match kind:
        case "formation":
            return "transformers trained in this run"
        case "sweep" | "transfer" | "patching":
            return "arrays of activations"
        case _:
            return "no model"


def number(value: float, form: str = ".3f") -> str:
    """A measure as text, a dash where it is not known.

    Args:
        value: The measure.
        form: How it is written, as in a format string.

    Example:
        >>> number(0.98765), number(float("nan")), number(0.5, ".0%")
        ('0.988', '–', '50%')
    """
    return "–" if math.isnan(value) else format(value, form)


def spoken(name: str) -> str:
    """The name of a measure in the code as words.

    Example:
        >>> spoken("prefix_matching")
        'prefix matching'
    """
    return name.replace("_", " ")


def date(created: str) -> str:
    """A UTC time in ISO 8601 as day and minute.

    Example:
        >>> date("2026-01-02T03:04:05+00:00"), date("")
        ('2026-01-02 03:04 UTC', 'unknown date')
    """
    return f"{created[:16].replace('T', ' ')} UTC" if created else "unknown date"
