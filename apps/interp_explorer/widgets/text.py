"""Texts of models, prompts, files and columns, shown letter for letter."""

import re


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


def date(created: str) -> str:
    """A UTC time in ISO 8601 as day and minute.

    Example:
        >>> date("2026-01-02T03:04:05+00:00"), date("")
        ('2026-01-02 03:04 UTC', 'unknown date')
    """
    return f"{created[:16].replace('T', ' ')} UTC" if created else "unknown date"
