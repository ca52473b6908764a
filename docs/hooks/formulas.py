"""Formulas between dollars become MathML, which browsers draw without a script."""

import re
from typing import Any

from latex2mathml.converter import convert


_FENCE = re.compile(r"(^(?:```|~~~).*?^(?:```|~~~)\s*$|`[^`\n]+`)", re.DOTALL | re.M)
_BLOCK = re.compile(r"\$\$(.+?)\$\$", re.DOTALL)
_INLINE = re.compile(r"(?<![\\$\w])\$(?! )([^$\n]+?)(?<! )\$(?![\w$])")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with its formulas as MathML; code is left as it is.

    Args:
        markdown: The text of a page.

    Example:
        >>> on_page_markdown("`$x$`")
        '`$x$`'
        >>> "<math" in on_page_markdown("the sum $a + b$ of two")
        True
    """
    parts = _FENCE.split(markdown)
    return "".join(
        part if place % 2 else _with_formulas(part) for place, part in enumerate(parts)
    )


def _with_formulas(text: str) -> str:
    text = _BLOCK.sub(lambda found: _mathml(found[1], display="block"), text)
    return _INLINE.sub(lambda found: _mathml(found[1], display="inline"), text)


def _mathml(latex: str, *, display: str) -> str:
    return " ".join(convert(latex.strip(), display=display).split())
