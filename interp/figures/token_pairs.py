"""Two prompts aligned token by token, as an escaped HTML string."""

import html
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from interp.errors import ShapeError
from interp.figures.tokens import (
    MAX_OPACITY,
    NEGATIVE,
    POSITIVE,
    Html,
    shown as visible,
)


def aligned_tokens(
    above: Sequence[str],
    below: Sequence[str],
    scores: Float[np.ndarray, " pos"],
    *,
    names: tuple[str, str] = ("clean", "corrupted"),
    label: str = "score",
    chosen: Sequence[int] = (),
) -> Html:
    """Two prompts of as many tokens, one above the other, coloured by a score.

    Blue is above zero and orange below, full colour at 1; zero is transparent, so that
    it reads on light and dark. Tokens that differ are bold, chosen ones underlined.

    Args:
        above: Tokens of the first prompt.
        below: Tokens of the second.
        scores: One score for each place; NaN is left uncoloured.
        names: What the two prompts are called, in our own words.
        label: What the score is, for the titles.
        chosen: Places that are underlined.

    Raises:
        ShapeError: If there are not as many tokens and scores.

    Example:
        >>> "&lt;b&gt;" in aligned_tokens(["<b>"], ["x"], np.array([1.0]))
        True
    """
    if not len(above) == len(below) == scores.size:
        raise ShapeError(
            f"There are {len(above)} and {len(below)} tokens and {scores.size} scores.",
            expected="One of each for every place.",
        )
    cells = "".join(
        _cell(pair, float(score), place, label, place in chosen)
        for place, (pair, score) in enumerate(
            zip(zip(above, below, strict=True), scores, strict=True)
        )
    )
    heads = "".join(f"<div>{html.escape(name)}</div>" for name in names)
    return Html(
        '<div class="interp-token-pairs" style="display:flex;flex-wrap:wrap;'
        'row-gap:10px;font-family:ui-monospace,monospace;line-height:1.7">'
        '<div style="font-family:sans-serif;opacity:0.75;margin-right:10px">'
        f"{heads}</div>{cells}</div>"
    )


def _cell(
    pair: tuple[str, str], score: float, place: int, label: str, chosen: bool
) -> str:
    background, said = "transparent", f"no {label}"
    if math.isfinite(score):
        red, green, blue = POSITIVE if score >= 0 else NEGATIVE
        opacity = min(abs(score), 1.0) * MAX_OPACITY
        background = f"rgba({red},{green},{blue},{opacity:.3f})"
        said = f"{label} {score:+.3f}"
    weight = "700" if pair[0] != pair[1] else "400"
    edge = "2px solid currentColor" if chosen else "2px solid transparent"
    title = html.escape(f"{place}: {said}", quote=True)
    lines = "".join(f"<div>{html.escape(visible(token))}</div>" for token in pair)
    return (
        f'<div data-pos="{place}" title="{title}" style="background:{background};'
        f"font-weight:{weight};border-bottom:{edge};border-radius:3px;"
        f'padding:1px 3px;margin:0 1px;white-space:pre">{lines}</div>'
    )
