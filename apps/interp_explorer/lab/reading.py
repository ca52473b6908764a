"""The prompt's tokens, coloured by directions and probes, and the one clicked on."""

from typing import TYPE_CHECKING

import streamlit as st

from interp_explorer.lab.held import Held, chosen_of
from interp_explorer.lab.links import forget_link
from interp_explorer.lab.models import computed
from interp_explorer.lab.prompt import Asked
from interp_explorer.lab.settings import (
    MAX_READERS,
    drop_unless,
    key_of,
)
from interp_explorer.lab.token import show_token
from interp_explorer.widgets.sides import strip_of
from interp_explorer.widgets.token_strip import show_strip


if TYPE_CHECKING:
    from interp.models.language_model import LanguageModel

TOKEN = key_of("token")
OF_PROMPT = "lab_token_of"


@st.fragment
def show_reading(
    model: "LanguageModel", name: str, asked: Asked, held: tuple[Held, ...]
) -> None:
    """The strip of the prompt, and below it the token that was clicked.

    Args:
        model: The model.
        name: All that decides which model it is.
        asked: The prompt.
        held: The directions.
    """
    chosen, colour, mask = _choose_readers(held)
    readers = [one.reader() for one in chosen]
    from interp.streaming import token_scores

    scores = computed(
        model,
        (name, "scores", asked, tuple(one.label for one in chosen)),
        lambda: token_scores(model, asked.text, readers, chat=asked.chat),
    )
    if scores is None:
        return
    place = show_strip(
        strip_of(scores, colour=colour, mask=mask),
        key=f"lab_strip_{hash((name, asked))}",
        selected=_chosen_before(asked, len(scores.tokens)),
    )
    _keep_in_address(place)
    if place is not None:
        show_token(model, name, asked, chosen, scores, place)
    forget_link()


def _choose_readers(held: tuple[Held, ...]) -> tuple[list[Held], int, bool]:
    """What scores tokens, which of it colours them, and whether some have no colour."""
    labels = [one.label for one in held]
    drop_unless("readers", labels)
    if not held:
        st.info(
            "No direction or probe that fits this model is saved below this folder, so "
            "tokens are not coloured and nothing can be steered. To find some: `interp "
            "compare BASE POST --statements FILE --out DIR`"
        )
        return [], 0, True
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    with left:
        picked = st.multiselect(
            "Score tokens by directions and probes",
            labels,
            default=labels[: min(2, len(labels))],
            max_selections=MAX_READERS,
            key=key_of("readers"),
            bind="query-params",
            help="Point at a token, or go to it with the arrow keys, to read all "
            "scores. A direction scores in class gaps from the midpoint of its "
            "classes, a probe by its logit above its threshold.",
        )
    colour = 0
    drop_unless("colour", picked)
    if len(picked) > 1:
        with right:
            first = st.selectbox(
                "Colour by", picked, key=key_of("colour"), bind="query-params"
            )
        colour = picked.index(first)
    mask = st.toggle(
        "Leave out first and template tokens",
        value=True,
        key=key_of("mask"),
        bind="query-params",
        help="Their activations are so large that they would set all colours.",
    )
    found = [chosen_of(held, label) for label in picked]
    return [one for one in found if one is not None], colour, mask


def _chosen_before(asked: Asked, n: int) -> int | None:
    """The token of this prompt that was chosen before, or that the address names."""
    if st.session_state.setdefault(OF_PROMPT, asked.ids) != asked.ids:
        st.session_state[OF_PROMPT] = asked.ids
        return None
    kept = st.session_state.get(TOKEN)
    if kept is None:
        named = st.query_params.get(TOKEN, "")
        is_number = named.isascii() and named.isdigit() and len(named) < 8
        kept = int(named) if is_number else None
    return kept if isinstance(kept, int) and 0 <= kept < n else None


def _keep_in_address(place: int | None) -> None:
    if place is None:
        st.session_state.pop(TOKEN, None)
        if TOKEN in st.query_params:
            del st.query_params[TOKEN]
    else:
        st.session_state[TOKEN] = place
        if st.query_params.get(TOKEN) != str(place):
            st.query_params[TOKEN] = str(place)
