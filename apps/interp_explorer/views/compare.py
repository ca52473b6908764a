"""Two results of one kind: whether they may be compared, numbers, figures."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from interp.results.comparable import Difference, circumstances, differences
from interp_explorer.cache import Opened, opened
from interp_explorer.catalog import Entry, settings_of
from interp_explorer.pages import page_of
from interp_explorer.state import choose, listed, root
from interp_explorer.widgets.pair import Two, common_figures, show_numbers, show_pair
from interp_explorer.widgets.text import date, escaped, models_text


def choose_two(entries: Sequence[Entry]) -> tuple[Entry, Entry] | None:
    """Two results of one kind, which the address names; the newest by default."""
    kinds = sorted({entry.kind for entry in entries if entry.kind})
    counts = {kind: sum(entry.kind == kind for entry in entries) for kind in kinds}
    kinds = [kind for kind in kinds if counts[kind] > 1]
    if not kinds:
        st.info(
            "Comparing takes two results of one kind, and there are not two here. "
            "Run a study again with another model or seed and the same `--out`."
        )
        return None
    kind = choose("Kind of result", kinds, key="x_kind")
    names = [entry.name for entry in entries if entry.kind == kind]
    left, right = st.columns(2)
    with left:
        first = choose("First", names, key="x_a", default=names[1])
    with right:
        second = choose("Second", names, key="x_b", default=names[0])
    by_name = {entry.name: entry for entry in entries}
    if first is None or second is None or first not in names or second not in names:
        return None
    if first == second:
        st.info("That is the same result twice: choose another one.")
        return None
    return by_name[first], by_name[second]


def table(rows: Sequence[Difference]) -> pd.DataFrame:
    """Fields with both values."""
    return pd.DataFrame(
        [(row.field, row.first, row.second) for row in rows],
        columns=["field", "first", "second"],
    )


def may_compare(one: Entry, other: Entry, first: Opened, second: Opened) -> bool:
    """Whether nothing but what is compared differs, or the reader looks anyway."""
    origins = first.result.provenance, second.result.provenance
    settings = settings_of(one, root()), settings_of(other, root())
    found = differences(*origins, settings=settings)
    rest = circumstances(*origins)
    if rest:
        with st.expander(f"What else is not the same ({len(rest)})"):
            st.dataframe(table(rest), hide_index=True)
    if not found:
        if all(origin.spec_hash for origin in origins):
            st.success("Made alike: data, settings, seed, tokenizer, type of numbers.")
        else:
            st.info(
                "Nothing that is known of them differs, but their settings were not "
                "recorded: check that they were the same."
            )
        return True
    names = ", ".join(escaped(row.field) for row in found)
    st.error(f"These results are not comparable: they differ in {names}.")
    st.dataframe(table(found), hide_index=True)
    if not st.toggle("Look anyway", key="x_anyway", bind="query-params"):
        return False
    st.warning(
        "**Not a fair comparison.** What you see below may come from the fields above "
        "and not from what you want to compare. Do not report these differences.",
        icon=":material/warning:",
    )
    return True


def describe(name: str, entry: Entry) -> None:
    """One of the two: models, time, what was found."""
    with st.container(border=True):
        models = escaped(models_text(entry.models, kind=entry.kind))
        st.markdown(f"**{name}** · {models} · {date(entry.created)}")
        st.caption(escaped(entry.headline))
        if page := page_of(entry.kind):
            st.page_link(
                page.view,
                label=f"Open in {page.title}",
                icon=page.icon,
                query_params={f"{page.key}_run": entry.name},
            )


st.title("Compare", anchor=False)
st.caption(
    "Two results of one kind: the same figure twice on a common scale, and what the "
    "second adds to the first. Provenance decides whether that means anything."
)
if chosen := choose_two(listed().entries):
    left, right = st.columns(2)
    for column, name, entry in zip(
        (left, right), ("First", "Second"), chosen, strict=True
    ):
        with column:
            describe(name, entry)
    first, second = (opened(entry) for entry in chosen)
    if first and second and may_compare(*chosen, first, second):
        key = "x_" + "_".join(entry.name for entry in chosen)
        two = Two(entries=chosen, first=first, second=second)
        show_numbers(two, key=key)
        names = common_figures(two)
        titles = [f"{i}. {name}" for i, name in enumerate(names, start=1)]
        if not titles:
            st.info("The two results have no figure in common.")
        else:
            wanted = choose("Figure", titles, key="x_figure")
            if wanted in titles:
                show_pair(two, titles.index(wanted), key=key)
