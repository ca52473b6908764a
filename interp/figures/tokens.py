"""Coloured tokens as an escaped HTML string, for notebooks and the explorer."""

import html
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from interp.errors import ShapeError


POSITIVE, NEGATIVE = (47, 127, 201), (212, 105, 30)
MAX_OPACITY = 0.75


class Html(str):
    """HTML as a string that a notebook shows as what it describes.

    Example:
        >>> Html("<b>x</b>")._repr_html_()
        '<b>x</b>'
    """

    __slots__ = ()

    def _repr_html_(self) -> str:
        return str(self)


def token_strip(
    tokens: Sequence[str],
    scores: Float[np.ndarray, " pos"],
    *,
    limit: float | None = None,
    label: str = "score",
) -> Html:
    """Tokens in a row, coloured by a score: blue above zero, orange below.

    The colour of zero is transparent, so that the strip reads on light and dark. Every
    token carries its place in `data-pos` and its score in its title.

    Args:
        tokens: The decoded tokens.
        scores: One score per token; NaN is left uncoloured.
        limit: The score with full colour; by default the largest in size.
        label: What the score is, for the titles.

    Raises:
        ShapeError: If there are not as many scores as tokens.

    Example:
        >>> "&lt;s&gt;" in token_strip(["<s>", " Rome"], np.array([0.0, 2.0]))
        True
    """
    values = np.asarray(scores, dtype=np.float64)
    if len(tokens) != values.size:
        raise ShapeError(f"There are {values.size} scores for {len(tokens)} tokens.")
    finite = values[np.isfinite(values)]
    largest = float(np.abs(finite).max()) if finite.size else 0.0
    full = (largest if limit is None else limit) or 1.0
    spans = "".join(
        _span(token, float(value), place, full, label)
        for place, (token, value) in enumerate(zip(tokens, values, strict=True))
    )
    return Html(
        '<div class="interp-tokens" style="font-family:ui-monospace,monospace;'
        f'line-height:1.9;overflow-wrap:anywhere">{spans}</div>'
    )


def shown(token: str) -> str:
    r"""A token with its white space made visible.

    Example:
        >>> shown(" a\n")
        '·a⏎'
    """
    return token.replace(" ", "·").replace("\n", "⏎").replace("\t", "⇥") or "∅"


def _span(token: str, value: float, place: int, full: float, label: str) -> str:
    if math.isfinite(value):
        red, green, blue = POSITIVE if value >= 0 else NEGATIVE
        opacity = min(abs(value) / full, 1.0) * MAX_OPACITY
        background = f"rgba({red},{green},{blue},{opacity:.3f})"
        said = f"{label} {value:+.3f}"
    else:
        background, said = "transparent", f"no {label}"
    title = html.escape(f"{place}: {said}", quote=True)
    return (
        f'<span data-pos="{place}" title="{title}" style="background:{background};'
        'border-radius:3px;padding:2px 1px;margin:0 1px">'
        f"{html.escape(shown(token))}</span>"
    )
