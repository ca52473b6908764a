"""An unchanged and a steered text side by side, with scores and what differs."""

import html
from collections.abc import Sequence
from difflib import SequenceMatcher

import numpy as np
import streamlit as st
from jaxtyping import Bool
from streamlit.delta_generator import DeltaGenerator

from interp.results.streams import SideBySide, TokenScores, WrittenText
from interp_explorer.widgets.text import escaped
from interp_explorer.widgets.token_strip import Strip, StripScore, limit_of, show_strip


NAMES = ("unchanged", "steered")


def side_places(done: str) -> tuple[list[DeltaGenerator], list[DeltaGenerator]]:
    """Two columns with their headings, and in each the place of its text.

    Args:
        done: What was done to the steered one, in words.
    """
    columns = st.columns(2)
    places: list[DeltaGenerator] = []
    titles = ("Unchanged", f"Steered: {done}")
    for column, title in zip(columns, titles, strict=True):
        with column:
            st.markdown(f"**{escaped(title)}**")
            places.append(st.empty())
    return list(columns), places


def as_html(text: str, *, going_on: bool = False) -> str:
    """A text of a model as it is, with a mark where more is coming.

    Args:
        text: Anybody's text.
        going_on: Whether more is coming.

    Example:
        >>> "&lt;b&gt;" in as_html("<b>")
        True
    """
    mark = "▍" if going_on else ""
    # A model can write nothing but new lines.
    return (
        '<div style="white-space:pre-wrap;overflow-wrap:anywhere;min-height:1.6rem;'
        f'max-height:21rem;overflow-y:auto;line-height:1.6">{html.escape(text)}{mark}</div>'
    )


def fill_sides(
    found: SideBySide,
    columns: Sequence[DeltaGenerator],
    places: Sequence[DeltaGenerator],
    *,
    key: str,
) -> None:
    """Both texts with their tokens below, and where they part.

    Args:
        found: The texts.
        columns: As `side_places` gives them.
        places: As `side_places` gives them.
        key: What the keys of the widgets begin with.
    """
    texts = (found.unchanged, found.steered)
    marks = differing(found.unchanged.token_ids, found.steered.token_ids)
    shared = [text.scores[:1] for text in texts]
    scale = limit_of(shared), any(bool((row < 0).any()) for row in shared)
    for name, column, place, text, marked in zip(
        NAMES, columns, places, texts, marks, strict=True
    ):
        place.html(as_html(text.text or "(nothing)"))
        with column:
            if text.tokens:
                show_strip(
                    _strip(found.prompt, text, name, scale, marked),
                    key=f"{key}_strip_{name}",
                    clickable=False,
                )
    differs = " What differs is underlined." if marks[1].any() else ""
    st.caption(escaped(found.headline()) + differs)


def strip_of(scores: TokenScores, *, colour: int = 0, mask: bool) -> Strip:
    """Tokens with their scores, one of which gives the colour.

    Args:
        scores: What readers say.
        colour: Which of them gives the colour.
        mask: Whether first and template tokens are left without colour.
    """
    values = scores.masked if mask else scores.scores
    return Strip(
        label="Tokens of the prompt",
        tokens=scores.tokens,
        scores=[
            StripScore(name=name, values=row, unit=unit)
            for name, row, unit in zip(
                scores.readers, scores.scores, scores.units, strict=True
            )
        ],
        colour=colour if scores.readers else None,
        limit=limit_of([values[colour]]) if scores.readers else 1.0,
        masked=scores.first | scores.template if mask else None,
    )


def _strip(
    prompt: TokenScores,
    text: WrittenText,
    name: str,
    scale: tuple[float, bool],
    marked: Bool[np.ndarray, " pos"],
) -> Strip:
    return Strip(
        label=f"Tokens of the {name} text",
        tokens=text.tokens,
        scores=[
            StripScore(name=reader, values=row, unit=unit)
            for reader, row, unit in zip(
                prompt.readers, text.scores, prompt.units, strict=True
            )
        ],
        colour=0 if prompt.readers else None,
        limit=scale[0],
        signed=scale[1],
        marked=marked,
    )


def differing(
    first: Sequence[int], second: Sequence[int]
) -> tuple[Bool[np.ndarray, " pos"], Bool[np.ndarray, " pos"]]:
    """Which tokens of each text are not in the other one at that place.

    Args:
        first: Token ids.
        second: Token ids.

    Example:
        >>> [marks.tolist() for marks in differing([1, 2, 3], [1, 9, 3, 4])]
        [[False, True, False], [False, True, False, True]]
    """
    marks = np.ones(len(first), dtype=bool), np.ones(len(second), dtype=bool)
    matcher = SequenceMatcher(a=list(first), b=list(second), autojunk=False)
    for block in matcher.get_matching_blocks():
        marks[0][block.a : block.a + block.size] = False
        marks[1][block.b : block.b + block.size] = False
    return marks
