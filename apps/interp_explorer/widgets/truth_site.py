"""What lies behind one probe of one layer, down to the single statement."""

from functools import partial
from urllib.parse import quote

import numpy as np
import pandas as pd
import streamlit as st

from interp.figures import component_scatter, site_scores, statement_curve
from interp.results import ProbeScore, TruthfulnessComparison
from interp_explorer.widgets.chart import show_figure
from interp_explorer.widgets.clickable import Choice, choose_point
from interp_explorer.widgets.downloads import table_downloads
from interp_explorer.widgets.made import made


STATEMENT = "t_statement"
# The numbers of the statements inside the reader's lasso.
ENCLOSED = "t_enclosed"
# Longer texts do not belong in an address.
MOST_LETTERS = 500
MOST_ROWS = 1_000
BIND = "query-params"
AUROC = (
    "The chance that a true or positive example scores higher than another one; 0.5 is "
    "guessing."
)
CALIBRATION = (
    "How far stated probabilities are from how often they are right, on average over "
    "bins; 0 is best (expected calibration error, ECE)."
)
RANDOM = (
    "AUROC that 95 % of random directions stay below on the same examples, drawn "
    "evenly or from the covariance of the activations, whichever is higher. Where it "
    "is as high as the probe's, what examples differ in most goes with the labels, and "
    "no one direction stands out."
)
KINDS = ("all", "wrong", "true", "false")


def show_site(result: TruthfulnessComparison, row: ProbeScore) -> None:
    """Measures, histogram, calibration, scatter and statements of one probe.

    Args:
        result: The comparison.
        row: The probe.
    """
    with st.container(horizontal=True):
        interval = f"{row.auroc_low:.3f} to {row.auroc_high:.3f}"
        st.metric(
            "AUROC", f"{row.auroc:.3f}", help=f"95 % interval: {interval}. {AUROC}"
        )
        st.metric("Accuracy", f"{row.accuracy:.1%}")
        st.metric("Calibration error", f"{row.ece:.3f}", help=CALIBRATION)
        drawn = np.fmax(row.random_auroc, row.covariance_auroc)
        st.metric("Random directions", f"{drawn:.3f}", help=RANDOM)
        st.metric("p, labels shuffled", f"{row.permutation_p:.2g}")
    if not row.converged:
        st.warning("The fit of this probe did not reach its optimum.")
    frame = result.scores_dataframe(row.model, row.probe, row.layer)
    if frame.empty:
        st.info(
            "This result is of a version that did not keep the scores of single "
            "statements by probe and layer. The command below, into a new folder, "
            "keeps them."
        )
        return
    show_figure(
        made(partial(site_scores, result, row.model, row.probe, row.layer)),
        alt="Histograms of the scores of true and false statements, and how often "
        "statements of each probability are true.",
        key="t_site_scores",
    )
    names = {int(i): _name(result, i) for i in result.shown}
    statement = _scatter(result, row, names, default=int(frame["number"].iloc[0]))
    _show_table(frame, names)
    show_statement(result, row, statement)


def show_statement(
    result: TruthfulnessComparison, row: ProbeScore, statement: int
) -> None:
    """One statement in full, its scores at every layer, and a way into the Lab.

    Args:
        result: The comparison.
        row: The probe that scores it.
        statement: Which test statement.
    """
    text = result.statements[statement]
    with st.container(border=True):
        st.caption(f"Statement {statement}")
        st.text(text)
        with st.container(horizontal=True):
            truth = bool(result.labels[statement])
            st.badge("true" if truth else "false", color="green" if truth else "violet")
            link_to_lab(text)
        show_figure(
            made(partial(statement_curve, result, row.probe, statement)),
            alt="The logit of this statement at every layer of both models.",
            key="t_statement_curve",
        )


@st.fragment
def show_statements(result: TruthfulnessComparison) -> None:
    """The test statements as results hold them that keep no scores of single layers.

    Args:
        result: The comparison.
    """
    st.subheader("Statements", anchor=False)
    rows = _with_words(result.examples_dataframe())
    st.caption(f"{len(rows)} statements. A column's head sorts them.")
    st.dataframe(rows, hide_index=True)


def link_to_lab(text: str) -> None:
    """A link that opens a short text in the Lab.

    Args:
        text: Anybody's text.
    """
    if len(text) <= MOST_LETTERS:
        st.link_button(
            "Open in the Lab",
            f"/lab?l_prompt={quote(text)}",
            icon=":material/science:",
            type="tertiary",
        )


def _name(result: TruthfulnessComparison, number: int) -> str:
    """How boxes and addresses call a statement: its number and its beginning."""
    return f"{number} · {result.statements[number][:60]}"


def _scatter(
    result: TruthfulnessComparison,
    row: ProbeScore,
    names: dict[int, str],
    *,
    default: int,
) -> int:
    numbers = list(names)
    number_of = {name: number for number, name in names.items()}

    def enclose(held: list[str]) -> None:
        st.session_state[ENCLOSED] = [number_of[name] for name in held]

    at = choose_point(
        made(partial(component_scatter, result, row.model, row.layer)),
        points=Choice(
            key=STATEMENT,
            label="Statement",
            names=tuple(names.values()),
            default=numbers.index(default),
            help_text="The most wrong one by default. A click on a point or on a row "
            "of the table chooses another; a lasso or box lists what it encloses.",
        ),
        alt="True and false statements on the two principal components.",
        name_of=lambda values: names.get(int(values[0]), ""),
        several=enclose,
    )
    return numbers[at]


def _show_table(frame: pd.DataFrame, names: dict[int, str]) -> None:
    enclosed = st.session_state.get(ENCLOSED)
    if enclosed:
        frame = frame.loc[frame["number"].isin(enclosed)]
    with st.container(horizontal=True):
        frame = _with_words(frame)
        kind = st.segmented_control(
            "Show", KINDS, default="all", required=True, key="t_kind", bind=BIND
        )
    if kind == "wrong":
        frame = frame.loc[frame["wrongness"] > 0]
    elif kind in ("true", "false"):
        frame = frame.loc[frame["label"] == (kind == "true")]
    wrong = int(np.sum(frame["wrongness"].to_numpy() > 0))
    where = " inside the lasso; a double click on the figure lifts it" * bool(enclosed)
    st.caption(
        f"{len(frame)} statements{where}. {wrong} are judged wrongly; these first."
    )
    shown = frame.head(MOST_ROWS)

    def pick() -> None:
        for at in st.session_state["t_table"].selection.rows:
            st.session_state[STATEMENT] = names[int(shown["number"].iloc[at])]

    st.dataframe(
        shown,
        hide_index=True,
        key="t_table",
        on_select=pick,
        selection_mode="single-row",
        column_order=("statement", "label", "score", "wrongness", "source", "group"),
    )
    table_downloads(frame, key="t_table", name="statements")


def _with_words(rows: pd.DataFrame) -> pd.DataFrame:
    words = st.text_input(
        "Statements that contain",
        key="t_statements",
        bind=BIND,
        help="Upper and lower case do not matter.",
    )
    if not words:
        return rows
    return rows.loc[rows["statement"].str.contains(words, case=False, regex=False)]
