"""The probes of a sweep, and what lies behind one of them."""

from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from interp.figures import Panel, sweep_scores
from interp.results import ProbeSweep
from interp_explorer.state import choose
from interp_explorer.widgets.chart import show_figure
from interp_explorer.widgets.clickable import Choice, choose_cell, choose_point
from interp_explorer.widgets.downloads import table_downloads
from interp_explorer.widgets.made import made
from interp_explorer.widgets.text import escaped, number
from interp_explorer.widgets.truth_site import (
    AUROC,
    CALIBRATION,
    RANDOM,
    link_to_lab,
)


MOST_ROWS = 1_000
CORRECTED = (
    "How often shuffled labels give a probe of any site as high an AUROC: corrected "
    "for looking at all of them."
)


def show_sites(result: ProbeSweep, panel: Panel) -> None:
    """A sweep's map of sites and positions; below it the chosen probe.

    Args:
        result: The sweep.
        panel: Its map.
    """
    sites, positions = (
        list(dict.fromkeys(names)) for names in (result.sites, result.positions)
    )
    best = result.best
    i, j = choose_cell(
        panel.figure,
        rows=Choice(
            key="t_site",
            label="Site",
            names=tuple(sites),
            default=sites.index(result.sites[best]),
        ),
        columns=Choice(
            key="t_position",
            label="Position",
            names=tuple(name or "one position" for name in positions),
            default=positions.index(result.positions[best]),
        ),
        alt=panel.alt,
    )
    pairs = list(zip(result.sites, result.positions, strict=True))
    if (sites[i], positions[j]) in pairs:
        show_probe(result, pairs.index((sites[i], positions[j])))
    else:
        st.info("There is no probe of this site at this position.")


def show_curve(result: ProbeSweep, panel: Panel) -> None:
    """A sweep by layer; a point opens its probe where no map does.

    Args:
        result: The sweep.
        panel: Its curve.
    """
    if len({*result.positions}) > 1:
        show_figure(panel.figure, alt=panel.alt, key="t_curve_figure")
        return
    names = tuple(result.sites)
    at = choose_point(
        panel.figure,
        points=Choice(key="t_site", label="Site", names=names, default=result.best),
        alt=panel.alt,
        name_of=lambda values: names[int(values[4])],
    )
    show_probe(result, at)


@st.fragment
def show_alone(result: ProbeSweep) -> None:
    """The probes of a sweep that has no figures, for it is of one layer and position.

    Args:
        result: The sweep.
    """
    at = result.best
    if len(result.sites) > 1:
        site = choose("Site", result.sites, key="t_site", default=result.sites[at])
        at = result.sites.index(site) if site in result.sites else at
    st.subheader(f"The probe at {escaped(result.sites[at])}", anchor=False)
    show_probe(result, at)


def show_probe(result: ProbeSweep, at: int) -> None:
    """Measures, scores and held-out examples of one probe, the most wrong first.

    Args:
        result: The sweep.
        at: Which of its probes.
    """
    with st.container(horizontal=True):
        low, high = result.auroc_lo[at], result.auroc_hi[at]
        interval = f"95 % interval: {low:.3f} to {high:.3f}. {AUROC}"
        st.metric("AUROC", number(float(result.auroc[at])), help=interval)
        st.metric("Accuracy", number(float(result.accuracy[at]), ".1%"))
        st.metric("Calibration error", number(float(result.ece[at])), help=CALIBRATION)
        drawn = np.fmax(result.random_auroc[at], result.covariance_auroc[at])
        st.metric("Random directions", number(float(drawn)), help=RANDOM)
        st.metric(
            "p, corrected", number(float(result.permutation_p_corrected[at]), ".2g")
        )
    rows = result.examples_dataframe(at)
    if rows.empty:
        st.info(
            "This sweep was too large to keep the scores of all its probes: those of "
            "the best are kept, and this is none of them."
        )
        return
    show_figure(
        made(partial(sweep_scores, result, at)),
        alt="Histograms of the held-out scores of positive and negative examples.",
        key="t_sweep_scores",
    )
    show_examples(rows, key="t_sweep_rows")


def show_examples(rows: pd.DataFrame, *, key: str) -> None:
    """Examples by wrongness; a chosen one in full, with a way into the Lab.

    Args:
        rows: The examples, the most wrong first, with their texts if they are known.
        key: The key of the table's widget.
    """
    wrong = int(np.sum(rows["wrongness"].to_numpy() > 0))
    known = "text" in rows
    st.caption(
        f"{len(rows)} examples, {wrong} of them judged wrongly; these first. "
        + (
            "A row shows its text."
            if known
            else "The result was made of arrays without texts: examples are known by "
            "number and group."
        )
    )
    shown = rows.head(MOST_ROWS)
    picked = st.dataframe(
        shown,
        hide_index=True,
        key=key,
        on_select="rerun",
        selection_mode="single-row",
    )
    table_downloads(rows, key=key, name="examples")
    # A table that has become shorter may still hold an older choice.
    chosen = [i for i in picked.selection.rows if i < len(shown)]
    if known and chosen:
        row = shown.iloc[chosen[0]]
        with st.container(border=True):
            st.caption(f"Example {row['example']}")
            st.text(row["text"])
            with st.container(horizontal=True):
                positive = bool(row["label"])
                st.badge(
                    "positive" if positive else "negative",
                    color="green" if positive else "violet",
                )
                link_to_lab(row["text"])
