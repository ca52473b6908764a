"""A figure with the Python that draws it again, for whatever was chosen in it.

Knows nothing of Streamlit.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import plotly.graph_objects as go


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Made:
    """A figure and how it was made.

    Attributes:
        figure: The figure.
        code: The expression that makes it, of `figures` and `result`.
    """

    figure: go.Figure
    code: str


def made(draw: partial[go.Figure]) -> Made:
    """The figure that a call draws, and the call as Python.

    Args:
        draw: A function of `interp.figures`; its first argument is the result that
            the page shows, the others can be written down.
    """
    return Made(figure=draw(), code=code_of(draw))


def code_of(call: partial[Any]) -> str:
    """A call of a function of `interp.figures` on the result of the page, as Python.

    Args:
        call: The call; see `made`.

    Example:
        >>> def layer_map(result, layer, *, pair):
        ...     return go.Figure()
        >>> code_of(partial(layer_map, object(), np.int32(3), pair=None))
        'figures.layer_map(result, 3, pair=None)'
    """
    given = [_literal(value) for value in call.args[1:]]
    given += [f"{name}={_literal(value)}" for name, value in call.keywords.items()]
    return f"figures.{call.func.__name__}({', '.join(['result', *given])})"


def _literal(value: object) -> str:
    # NumPy's own numbers would need its name.
    return repr(value.item() if isinstance(value, np.generic) else value)
