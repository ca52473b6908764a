"""A report as one HTML file that needs no network: figures, tables, its command."""

import html
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, TypeVar

import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from interp.provenance import Provenance
from interp.results.display import table_html


MAX_TABLE_ROWS = 200
Shown = TypeVar("Shown")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panel:
    """One figure of a report.

    Attributes:
        figure: The figure; its title becomes the heading above it.
        alt: What the figure shows, for readers who cannot see it.
        rows: The numbers behind it, shown on demand.
        name: The function that drew it, by which pages know it; empty if none asks.
    """

    figure: go.Figure
    alt: str
    rows: pd.DataFrame | None = None
    name: str = ""


def panel(
    draw: Callable[[Shown], go.Figure],
    result: Shown,
    *,
    alt: str,
    rows: pd.DataFrame | None = None,
) -> Panel:
    """The panel of a figure of a result, under the name of the function that draws it.

    Args:
        draw: The figure function.
        result: What it draws.
        alt: What the figure shows, for readers who cannot see it.
        rows: The numbers behind it.

    Example:
        >>> def empty(result: str) -> go.Figure:
        ...     return go.Figure()
        >>> panel(empty, "a result", alt="Nothing.").name
        'empty'
    """
    return Panel(name=draw.__name__, figure=draw(result), alt=alt, rows=rows)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Hidden:
    """A table that is shown only when the reader opens it.

    Attributes:
        title: What is inside, and why it is closed.
        rows: The table.
    """

    title: str
    rows: pd.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Section:
    """One result in a report.

    Attributes:
        title: Its heading.
        summary: What was found, in a sentence or two.
        panels: Its figures.
        notes: What limits the conclusions.
        hidden: Tables that are closed at first.
    """

    title: str
    summary: str
    panels: tuple[Panel, ...] = ()
    notes: tuple[str, ...] = ()
    hidden: tuple[Hidden, ...] = ()


def report_html(
    title: str,
    sections: Sequence[Section],
    provenance: Provenance,
    *,
    lead: str = "",
) -> str:
    """A whole HTML page that works from a disk without a network.

    All texts are escaped, plotly is in the page once, and the page follows the reader's
    light or dark setting.

    Args:
        title: The heading.
        sections: The results.
        provenance: What produced them.
        lead: A sentence below the heading.

    Example:
        >>> page = report_html("A & B", [], Provenance(study="compare"))
        >>> "<h1>A &amp; B</h1>" in page
        True
    """
    # Sections are numbered, so that two of one title have different anchors.
    body = "".join(_section(section, i) for i, section in enumerate(sections))
    links = "".join(
        f'<a href="#s{i}">{html.escape(section.title)}</a>'
        for i, section in enumerate(sections)
    )
    navigation = f"<nav>{links}</nav>" if len(sections) > 1 else ""
    has_figures = any(section.panels for section in sections)
    plotly = f"<script>{get_plotlyjs()}</script>" if has_figures else ""
    script = f"{plotly}<script>{_asset('report.js')}</script>" if has_figures else ""
    lead_html = f'<p class="lead">{html.escape(lead)}</p>' if lead else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{html.escape(title)}</title><style>{_asset('report.css')}</style>"
        f"</head>\n<body><main><header><h1>{html.escape(title)}</h1>{lead_html}"
        f"{navigation}</header>{body}{_repeat(provenance)}</main>{script}</body></html>\n"
    )


def _section(section: Section, number: int) -> str:
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in section.notes)
    limits = f'<ul class="notes">{notes}</ul>' if notes else ""
    panels = "".join(_panel(panel) for panel in section.panels)
    hidden = "".join(_hidden(table) for table in section.hidden)
    return (
        f'<section id="s{number}"><h2>{html.escape(section.title)}</h2>'
        f'<p class="summary">{html.escape(section.summary)}</p>{limits}'
        f"{panels}{hidden}</section>\n"
    )


def _panel(panel: Panel) -> str:
    content = json.loads(str(panel.figure.to_json()))
    layout = content["layout"]
    # Headings wrap on a phone; titles inside a figure do not. The template carries
    # backgrounds, which the page sets.
    heading = str((layout.pop("title", None) or {}).get("text", ""))
    layout.pop("template", None)
    _place_legend(layout, has_legend=len(content["data"]) > 1)
    height = int(layout.get("height", 380))
    data = json.dumps({"data": content["data"], "layout": layout})
    # Nothing in a script element may look like its end.
    safe = data.replace("<", "\\u003c").replace("\u2028", "\\u2028")
    numbers = ""
    if panel.rows is not None:
        table = table_html(panel.rows, max_rows=MAX_TABLE_ROWS)
        numbers = (
            f'<details class="numbers"><summary>Numbers</summary>'
            f'<div class="scroll">{table}</div></details>'
        )
    return (
        f"<figure><h3>{html.escape(html.unescape(heading))}</h3>"
        f'<div class="plot" role="img" aria-label="{html.escape(panel.alt)}" '
        f'style="height:{height}px"><script type="application/json">{safe}</script>'
        "<noscript>This figure needs JavaScript; its numbers are below.</noscript>"
        f"</div>{numbers}</figure>"
    )


def _place_legend(layout: dict[str, Any], *, has_legend: bool) -> None:
    """Put the legend at the upper edge, with room for it to wrap on a phone."""
    layout.setdefault("legend", {}).update(yref="container", y=1, yanchor="top")
    layout.setdefault("margin", {})["t"] = 48 if has_legend else 12


def _hidden(table: Hidden) -> str:
    rows = table_html(table.rows, max_rows=MAX_TABLE_ROWS)
    return (
        f"<details><summary>{html.escape(table.title)}</summary>"
        f'<div class="scroll texts">{rows}</div></details>'
    )


def provenance_facts(provenance: Provenance) -> dict[str, str]:
    """What a result depends on, as names and texts, without what is unknown.

    Args:
        provenance: What produced the result.

    Example:
        >>> provenance_facts(Provenance(study="refusal", seed=3))
        {'study': 'refusal', 'seed': '3'}
    """
    facts = {
        "study": provenance.study,
        "made": provenance.created,
        "seed": str(provenance.seed),
        "settings": provenance.spec_hash,
        "code": provenance.git_commit,
        "versions": ", ".join(f"{name} {v}" for name, v in provenance.versions),
    }
    for data in provenance.datasets:
        facts[f"data: {data.name}"] = f"{data.rows} rows, {data.fingerprint}"
    for number, model in enumerate(provenance.models, start=1):
        details = {
            "revision": model.revision,
            "weights": model.weights_hash[:16],
            "tokenizer": model.tokenizer_hash[:16],
            "template": model.template_hash[:16],
            "dtype": model.dtype,
            "attention": model.attention,
            "device": model.device,
        }
        said = ", ".join(f"{key} {value}" for key, value in details.items() if value)
        facts[f"model {number}: {model.name}"] = said
    return {name: text for name, text in facts.items() if text}


def _repeat(provenance: Provenance) -> str:
    """How to repeat the result, and everything that it depends on."""
    rows = "".join(
        f"<dt>{html.escape(key)}</dt><dd>{html.escape(value)}</dd>"
        for key, value in provenance_facts(provenance).items()
    )
    command = provenance.command
    again = f"<pre><code>{html.escape(command)}</code></pre>" if command else ""
    return (
        '<section id="repeat"><h2>How to repeat this</h2>'
        f"{again}<details><summary>What produced it</summary><dl>{rows}</dl></details>"
        "</section>"
    )


def _asset(name: str) -> str:
    return resources.files("interp.figures").joinpath(name).read_text(encoding="utf-8")
