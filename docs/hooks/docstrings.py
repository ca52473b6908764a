"""Our docstrings say `Example:`; the reader of docstrings knows `Examples:`."""

import re
from typing import Any

from griffe import Extension


class Examples(Extension):
    """Renames the section, so that its lines are shown as code."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Rename the section in one docstring, and leave out what steers doctest."""
        if obj.docstring is None:
            return
        text = re.sub(
            r"^(\s*)Example:$", r"\1Examples:", obj.docstring.value, flags=re.M
        )
        obj.docstring.value = re.sub(r" *# doctest: .*$", "", text, flags=re.M)
