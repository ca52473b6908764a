"""What all figures share: colours that read on light and on dark, axes, bands.

Backgrounds are never set, so that a notebook, the explorer and the report each put
their own behind a figure.
"""

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float32

from interp.results.truthfulness import ROLES, Role


# Contrast of at least 3 : 1 on white and on #15171b; apart for colour-blind readers.
MODEL_COLOURS: dict[Role, str] = {"base": "#2f7fc9", "post": "#d4691e"}
TRUE_COLOUR, FALSE_COLOUR = "#15907f", "#b0559c"
NEUTRAL = "#868b94"
BAND_OPACITY = 0.18
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
    return figure
