"""What all figures share: colours that read on light and on dark, axes, bands.

Backgrounds are never set, so that a notebook, the explorer and the report each put
their own behind a figure.
"""

import textwrap
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float32

from interp.results.truthfulness import ROLES, Role


# Contrast of at least 3 : 1 on white and on #15171b; apart for colour-blind readers.
MODEL_COLOURS: dict[Role, str] = {"base": "#2f7fc9", "post": "#d4691e"}
TRUE_COLOUR, FALSE_COLOUR = "#15907f", "#b0559c"
NEUTRAL = "#868b94"
BAND_OPACITY = 0.18
# So many characters stand beside each other on a phone, and at least in a panel.
PHONE_LINE, LEAST_LINE = 46, 10
# Pixels: a line of a panel's title, the gap below it, and what is around the axes.
TITLE_LINE, TITLE_GAP, AROUND = 17, 4, 120
# With more powers of ten only these have numbers.
MOST_DECADES = 3
# A diverging scale with a transparent middle shows the background there.
DIVERGING = (
    (0.0, "rgba(212,105,30,0.8)"),
    (0.5, "rgba(134,139,148,0.0)"),
    (1.0, "rgba(47,127,201,0.8)"),
)


def model_names(models: tuple[str, str]) -> dict[Role, str]:
    """How the two models are called in legends: role and short name.

    Example:
        >>> model_names(("owner/a", "owner/b"))["base"]
        'base · a'
    """
    short = [name.rstrip("/").split("/")[-1][:40] for name in models]
    return {
        # A folder is often called what its model is.
        role: role if name == role else f"{role} · {plain(name)}"
        for role, name in zip(ROLES, short, strict=True)
    }


def plain(text: str) -> str:
    """A text as plotly shows it letter for letter: its labels read a few HTML tags.

    Example:
        >>> plain("<b>x</b>")
        '&lt;b>x&lt;/b>'
    """
    return text.replace("&", "&amp;").replace("<", "&lt;")


def shortened(text: str, *, most: int = 16) -> str:
    """The beginning of a text, so that beside an axis it leaves room for the map.

    Args:
        text: Somebody's text.
        most: How many letters there are room for.

    Example:
        >>> shortened("<b>" * 9, most=4)
        '&lt;b>…'
    """
    return plain(text if len(text) <= most else f"{text[: most - 1]}…")


def faded(colour: str, opacity: float = BAND_OPACITY) -> str:
    """A colour made transparent.

    Example:
        >>> faded("#ff0000", 0.5)
        'rgba(255,0,0,0.5)'
    """
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def band(
    x: np.ndarray,
    low: Float32[np.ndarray, " layer"],
    high: Float32[np.ndarray, " layer"],
    *,
    colour: str,
    name: str,
) -> go.Scatter:
    """The area between two curves, without a line, a legend entry or a hover."""
    return go.Scatter(
        x=np.concatenate([x, x[::-1]]),
        y=np.concatenate([high, low[::-1]]).astype(np.float32),
        fill="toself",
        fillcolor=faded(colour),
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        showlegend=False,
        name=name,
    )


def styled(
    figure: go.Figure, *, title: str, x: str = "", y: str = "", height: int = 380
) -> go.Figure:
    """The figure with its title, axis titles and the common margins and legend."""
    figure.update_layout(
        title={"text": title, "x": 0, "xref": "paper"},
        height=height,
        margin={"l": 8, "r": 8, "t": 72, "b": 8},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        hovermode="closest",
        bargap=0.28,
    )
    figure.update_xaxes(automargin=True, zeroline=False)
    figure.update_yaxes(automargin=True, zeroline=False)
    if x:
        figure.update_xaxes(title_text=x)
    if y:
        figure.update_yaxes(title_text=y)
    _wrap_titles(figure)
    _lower_panels(figure, height)
    return figure


def log_ticks(values: Float32[np.ndarray, "..."]) -> dict[str, object]:
    """What an axis needs to be logarithmic with readable numbers.

    Plotly writes single digits between powers of ten, which says little on a phone.

    Args:
        values: What is drawn along it; only positive values have a place there.

    Example:
        >>> log_ticks(np.array([0.03, 0.4], np.float32))["ticktext"]
        ['0.02', '0.05', '0.1', '0.2', '0.5']
    """
    there = values[np.isfinite(values) & (values > 0)]
    if not there.size:
        return {"type": "log"}
    decades = np.arange(
        np.floor(np.log10(there.min())), np.ceil(np.log10(there.max())) + 1
    )
    steps = (1,) if len(decades) > MOST_DECADES else (1, 2, 5)
    ticks = [float(f"{step}e{decade:.0f}") for decade in decades for step in steps]
    low, high = float(there.min()) / 2, float(there.max()) * 2
    ticks = [tick for tick in ticks if low <= tick <= high]
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{one:g}" for one in ticks]}


def _wrap_titles(figure: go.Figure) -> None:
    """Break titles of horizontal axes and of panels that a phone would cut off."""
    axis: Any
    for axis in figure.select_xaxes():
        if axis.title.text:
            left, right = axis.domain or (0, 1)
            axis.title.text = _wrapped(str(axis.title.text), right - left)
    titles = _panel_titles(figure)
    for title in titles:
        beside = sum(one.y == title.y for one in titles)
        # Labels at the left take their part of the width.
        title.text = _wrapped(str(title.text), (1 if beside == 1 else 0.75) / beside)


def _wrapped(text: str, share: float) -> str:
    if "<br>" in text:
        return text
    width = max(LEAST_LINE, int(PHONE_LINE * share))
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    return "<br>".join(lines)


def _lower_panels(figure: go.Figure, height: int) -> None:
    """Put the titles of panels inside the area of the axes.

    Legends only make room for themselves above that area, so that one of several lines
    would stand on the titles.
    """
    titles = _panel_titles(figure)
    if not titles:
        return
    lines = 1 + max(str(title.text).count("<br>") for title in titles)
    kept = 1 - (TITLE_LINE * lines + TITLE_GAP) / max(height - AROUND, AROUND)
    axis: Any
    for axis in figure.select_yaxes():
        low, high = axis.domain or (0, 1)
        axis.domain = (low * kept, high * kept)
    layout: Any = figure.layout
    for note in layout.annotations:
        if note.yref == "paper":
            note.y *= kept


def _panel_titles(figure: go.Figure) -> list[go.layout.Annotation]:
    """The annotations by which plotly writes the titles of panels."""
    layout: Any = figure.layout
    return [
        note
        for note in layout.annotations
        if (note.xref, note.yref, note.yanchor) == ("paper", "paper", "bottom")
        and note.showarrow is False
        and note.text
    ]
