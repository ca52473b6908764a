"""Tokens in a row, coloured by a score, which can be clicked or reached by keyboard.

Tokens and names are anybody's: the browser gets them as data and shows them as text.
Nothing of theirs is put into the markup, styles or code below.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from streamlit.components.v2 import component

from interp.errors import ShapeError
from interp.figures.tokens import MAX_OPACITY, NEGATIVE, POSITIVE, shown


# Of the scores' sizes: a single outlier shall not take the colour from all others.
FULL_COLOUR = 0.98


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StripScore:
    """A score of every token.

    Attributes:
        name: What it is called.
        values: One for each token; NaN is left without colour.
        unit: What one unit is, in words.
    """

    name: str
    values: Float[np.ndarray, " pos"]
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Strip:
    """What a strip shows.

    Attributes:
        label: What the tokens are, for readers who cannot see them.
        tokens: The decoded tokens.
        scores: All are told when a token is pointed at.
        colour: Which of the scores gives the colour; None for no colour.
        limit: The score with full colour.
        signed: Whether the legend has a side below zero; by default if a score has.
        masked: Tokens without colour, or None.
        marked: Tokens that are underlined, or None.
    """

    label: str
    tokens: Sequence[str]
    scores: Sequence[StripScore] = ()
    colour: int | None = 0
    limit: float = 1.0
    signed: bool | None = None
    masked: Bool[np.ndarray, " pos"] | None = None
    marked: Bool[np.ndarray, " pos"] | None = None


def limit_of(values: Sequence[Float[np.ndarray, "..."]]) -> float:
    """The score that gets full colour: nearly the largest in size, and never 0.

    Args:
        values: The scores that share colours; NaN does not count.

    Example:
        >>> limit_of([np.array([1.0, -4.0, np.nan]), np.array([2.0])])
        4.0
    """
    sizes = np.abs(np.concatenate([np.ravel(row) for row in values] or [np.zeros(0)]))
    sizes = sizes[np.isfinite(sizes)]
    if not sizes.size:
        return 1.0
    return float(np.quantile(sizes, FULL_COLOUR, method="higher")) or 1.0


def show_strip(
    strip: Strip, *, key: str, selected: int | None = None, clickable: bool = True
) -> int | None:
    """Draw a strip; the place of the token that was clicked, or None.

    Args:
        strip: What it shows.
        key: The key of its widget.
        selected: The token that is chosen until one is clicked.
        clickable: Whether tokens can be chosen.

    Raises:
        ShapeError: If there are not as many scores as tokens.
    """
    n = len(strip.tokens)
    for one in strip.scores:
        if len(one.values) != n:
            raise ShapeError(f"There are {len(one.values)} scores for {n} tokens.")
    result = _STRIP(
        key=key,
        data=payload(strip, selected=selected, clickable=clickable),
        default={"selected": selected},
        on_selected_change=lambda: None,
    )
    clicked = result.selected
    is_place = isinstance(clicked, int | float) and 0 <= clicked < n
    return int(clicked) if is_place and clickable else None


def payload(
    strip: Strip, *, selected: int | None, clickable: bool
) -> dict[str, object]:
    """What the browser is given: texts and numbers alone.

    Args:
        strip: What it shows.
        selected: The token that is chosen.
        clickable: Whether tokens can be chosen.
    """
    n = len(strip.tokens)
    coloured = strip.colour if strip.scores else None
    values = [] if coloured is None else strip.scores[coloured].values
    below = any(value < 0 for value in values)
    return {
        "label": strip.label,
        "tokens": [shown(token) for token in strip.tokens],
        "lines": ["\n" in token for token in strip.tokens],
        "scores": [
            {
                "name": one.name,
                "unit": one.unit,
                "values": [_number(float(value)) for value in one.values],
            }
            for one in strip.scores
        ],
        "colour": coloured,
        "limit": strip.limit,
        "signed": below if strip.signed is None else strip.signed,
        "masked": _flags(strip.masked, n),
        "marked": _flags(strip.marked, n),
        "selected": selected,
        "clickable": clickable,
        "positive": list(POSITIVE),
        "negative": list(NEGATIVE),
        "opacity": MAX_OPACITY,
    }


def _number(value: float) -> float | None:
    # What is no number in JSON has no colour.
    return round(value, 5) if math.isfinite(value) else None


def _flags(values: np.ndarray | None, n: int) -> list[bool]:
    return [False] * n if values is None else [bool(value) for value in values]


HTML = """
<div class="root">
  <div class="strip" role="group"></div>
  <div class="foot">
    <div class="told" aria-hidden="true"></div>
    <div class="legend" aria-hidden="true">
      <span class="low"></span>
      <span class="scale"><span class="bar"></span><span class="zero">0</span></span>
      <span class="high"></span>
    </div>
  </div>
</div>
"""

CSS = """
.root { font-family: var(--st-font); color: var(--st-text-color); }
.strip {
  font-family: var(--st-code-font, ui-monospace, monospace);
  font-size: 0.9rem; line-height: 2; max-height: 21rem; overflow-y: auto;
  border: 1px solid var(--st-border-color); border-radius: 0.5rem;
  padding: 0.45rem 0.6rem; overflow-wrap: anywhere;
}
.token {
  font: inherit; color: inherit; border: 0; border-radius: 0.25rem; margin: 0 1px;
  padding: 0.12rem 0.16rem; background: transparent; white-space: pre-wrap;
  text-align: left; max-width: 100%; line-height: 1.35; display: inline-block;
}
button.token { cursor: pointer; }
button.token:hover { box-shadow: inset 0 0 0 1px var(--st-text-color); }
button.token:focus-visible {
  outline: 2px solid var(--st-primary-color); outline-offset: 1px;
}
.token.chosen { box-shadow: inset 0 0 0 2px var(--st-text-color); }
.token.masked { opacity: 0.55; }
.token.marked {
  text-decoration: underline 2px var(--st-primary-color); text-underline-offset: 0.25em;
}
.foot {
  display: flex; flex-wrap: wrap; gap: 0.25rem 1rem; justify-content: space-between;
  align-items: center; min-height: 1.7rem; padding-top: 0.3rem; font-size: 0.8rem;
}
.told { flex: 1 1 12rem; min-width: 0; overflow-wrap: anywhere; }
.told .name { opacity: 0.75; }
.told .value { font-variant-numeric: tabular-nums; }
.told > span { margin-right: 0.9rem; display: inline-block; }
.legend { display: flex; gap: 0.4rem; align-items: center; white-space: nowrap; }
.scale { position: relative; width: 8rem; height: 0.6rem; margin-bottom: 0.85rem; }
.bar {
  position: absolute; inset: 0; border-radius: 0.2rem;
  border: 1px solid var(--st-border-color);
}
.zero { position: absolute; top: 0.62rem; transform: translateX(-50%); opacity: 0.8; }
.low, .high { font-variant-numeric: tabular-nums; }
"""

JS = """
const rgba = (colour, opacity) => `rgba(${colour.join(",")},${opacity.toFixed(3)})`;
const said = (value) =>
  value === null ? "none" : (value < 0 ? "\\u2212" : "+") + Math.abs(value).toFixed(2);

function background(data, at) {
  if (data.colour === null || data.masked[at]) return "transparent";
  const value = data.scores[data.colour].values[at];
  if (value === null) return "transparent";
  const share = Math.min(Math.abs(value) / data.limit, 1) * data.opacity;
  return rgba(value < 0 ? data.negative : data.positive, share);
}

function tell(root, data, at) {
  const place = root.querySelector(".told");
  place.replaceChildren();
  const add = (name, value) => {
    const part = document.createElement("span");
    const label = document.createElement("span");
    const number = document.createElement("span");
    label.className = "name";
    number.className = "value";
    label.textContent = name + " ";
    number.textContent = value;
    part.append(label, number);
    place.append(part);
  };
  if (at === null) {
    if (data.colour !== null) add(data.scores[data.colour].name, "");
    if (data.clickable) add("Point at a token, or click it.", "");
    return;
  }
  add("token " + at, data.tokens[at]);
  for (const score of data.scores) add(score.name, said(score.values[at]));
}

function legend(root, data) {
  const box = root.querySelector(".legend");
  box.style.display = data.colour === null ? "none" : "flex";
  if (data.colour === null) return;
  const full = rgba(data.positive, data.opacity);
  const from = data.signed ? rgba(data.negative, data.opacity) : "transparent";
  root.querySelector(".bar").style.background = data.signed
    ? `linear-gradient(to right, ${from}, transparent 50%, ${full})`
    : `linear-gradient(to right, transparent, ${full})`;
  root.querySelector(".zero").style.left = data.signed ? "50%" : "0";
  const limit = data.limit.toPrecision(2);
  root.querySelector(".low").textContent = data.signed ? "\\u2212" + limit : "";
  root.querySelector(".high").textContent =
    data.limit.toPrecision(2) + " " + data.scores[data.colour].unit;
}

export default function (component) {
  const { data, parentElement, setStateValue } = component;
  const root = parentElement.querySelector(".root");
  const strip = root.querySelector(".strip");
  const had = root.getRootNode().activeElement;
  const focused = had && had.dataset ? had.dataset.pos : undefined;
  let chosen = data.selected;
  strip.setAttribute("aria-label", data.label);
  const tokens = data.tokens.map((text, at) => {
    const token = document.createElement(data.clickable ? "button" : "span");
    token.className = "token";
    token.textContent = text;
    token.dataset.pos = at;
    token.style.backgroundColor = background(data, at);
    token.classList.toggle("masked", data.masked[at]);
    token.classList.toggle("marked", data.marked[at]);
    const scores = data.scores.map((one) => `${one.name} ${said(one.values[at])}`);
    const words = [`token ${at}: ${text}`, ...scores];
    if (data.marked[at]) words.push("differs");
    token.title = words.join("\\n");
    token.onmouseenter = () => tell(root, data, at);
    if (data.clickable) {
      token.type = "button";
      token.tabIndex = at === (chosen ?? 0) ? 0 : -1;
      token.setAttribute("aria-label", words.join(", "));
      token.setAttribute("aria-pressed", String(at === chosen));
      token.classList.toggle("chosen", at === chosen);
      token.onfocus = () => tell(root, data, at);
      token.onclick = () => {
        chosen = at;
        tokens.forEach((other, place) => {
          other.classList.toggle("chosen", place === at);
          other.setAttribute("aria-pressed", String(place === at));
          other.tabIndex = place === at ? 0 : -1;
        });
        setStateValue("selected", at);
      };
    }
    return token;
  });
  const parts = [];
  tokens.forEach((token, at) => {
    parts.push(token);
    if (data.lines[at]) parts.push(document.createElement("br"));
  });
  strip.replaceChildren(...parts);
  strip.onmouseleave = () => tell(root, data, chosen);
  strip.onkeydown = (event) => {
    const at = Number(event.target.dataset.pos);
    const last = tokens.length - 1;
    const to = {
      ArrowRight: Math.min(at + 1, last), ArrowLeft: Math.max(at - 1, 0),
      Home: 0, End: last,
    }[event.key];
    if (to === undefined || !data.clickable) return;
    event.preventDefault();
    tokens[at].tabIndex = -1;
    tokens[to].tabIndex = 0;
    tokens[to].focus();
  };
  if (focused !== undefined && tokens[focused]) tokens[focused].focus();
  tell(root, data, chosen);
  legend(root, data);
}
"""

# Once for each server; a page that is opened again uses it.
_STRIP = component("interp_token_strip", html=HTML, css=CSS, js=JS)
