"""Formulas between dollars become MathML, which browsers draw without a script.

Markdown would take a formula for a block of its own, and its marks for emphasis. So it
sees a word in the place of each, and the page gets the formula afterwards.
"""

import re
from typing import Any

from latex2mathml.converter import convert


_FENCE = re.compile(r"(^(?:```|~~~).*?^(?:```|~~~)\s*$|`[^`\n]+`)", re.DOTALL | re.M)
_FORMULA = re.compile(
    r"\$\$(?P<block>.+?)\$\$|(?<![\\$\w])\$(?! )(?P<inline>[^$]+?)(?<! )\$(?![\w$])",
    re.DOTALL,
)
_PLACE = re.compile(r"formula-([0-9a-f]+)-(block|inline)-")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with a word in the place of each formula; code is left as it is.

    Args:
        markdown: The text of a page.
    """
    parts = _FENCE.split(markdown)
    return "".join(
        part if place % 2 else _FORMULA.sub(_word, part)
        for place, part in enumerate(parts)
    )


def on_page_content(html: str, **_: Any) -> str:
    """The page with its formulas.

    Args:
        html: The page, with words in their places.
    """
    return _PLACE.sub(_mathml, html)


def _word(found: re.Match[str]) -> str:
    kind = "block" if found["block"] else "inline"
    return f"formula-{found[kind].encode().hex()}-{kind}-"


def _mathml(found: re.Match[str]) -> str:
    latex = " ".join(bytes.fromhex(found[1]).decode().split())
    return " ".join(convert(latex, display=found[2]).split())
