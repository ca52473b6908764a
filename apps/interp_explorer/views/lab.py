"""The Lab: colour a prompt by directions, look into the layers, steer what is written.

The only page that loads a model.
"""

from typing import TYPE_CHECKING

import streamlit as st

from interp.errors import InterpError
from interp_explorer.lab.actions import show_actions
from interp_explorer.lab.held import Held, directions_for
from interp_explorer.lab.links import open_link
from interp_explorer.lab.models import Offer, launched, loaded, offers, words_of
from interp_explorer.lab.prompt import Asked, ask, show_counts
from interp_explorer.lab.reading import show_reading
from interp_explorer.lab.settings import DTYPES, drop_unless, key_of
from interp_explorer.lab.steering import choose_steering, show_size
from interp_explorer.lab.writing import Task, choose_draw, show_texts
from interp_explorer.saved import saved_directions
from interp_explorer.state import choose, listed, root
from interp_explorer.widgets.text import escaped


if TYPE_CHECKING:
    from interp.models.language_model import LanguageModel

COLOUR = key_of("colour")
ABOUT = (
    "One model and one prompt: how saved directions and probes score every token, what "
    "each layer would predict (logit lens, nostalgebraist 2020), and what the model "
    "writes when activations are moved along a direction (Rimsky et al. 2024). "
    "Strengths are in class gaps: 1 is as far as the direction's classes are apart."
)


def explain() -> None:
    """What to do where there is no model."""
    st.info("The Lab needs a model, and none was named.")
    st.markdown("With the embedded models, which train here once, in minutes:")
    st.code(f"interp demo --out {root()}\ninterp explore {root()}", language="bash")
    st.markdown("With a model of yours, or one of the hub:")
    st.code(f"interp explore {root()} --model FOLDER_OR_ID", language="bash")


def choose_model(offered: tuple[Offer, ...]) -> tuple[Offer, str]:
    """The model and the precision of its weights."""
    labels = [one.label for one in offered]
    drop_unless("model", labels)
    left, right = st.columns([3, 1])
    with left:
        label = choose("Model", labels, key=key_of("model"))
    with right:
        dtype = choose(
            "Precision",
            DTYPES,
            key=key_of("dtype"),
            help_text="auto is the checkpoint's own.",
        )
    offer = next((one for one in offered if one.label == label), offered[0])
    return offer, dtype or "auto"


@st.fragment
def show_steering(
    model: "LanguageModel",
    name: str,
    asked: Asked,
    held: tuple[Held, ...],
    offer: Offer,
) -> None:
    """Steering, both texts, and what one takes away."""
    st.subheader("Steer", anchor=False)
    steering = choose_steering(model, held)
    if steering is None:
        st.caption("There is no direction to steer along.")
        return
    show_size(model, name, asked, steering)
    draw = choose_draw()
    labels = st.session_state.get(key_of("readers"), [])
    # The one that colours the prompt colours the texts too.
    labels = sorted(labels, key=lambda label: label != st.session_state.get(COLOUR))
    readers = tuple(one for label in labels for one in held if one.label == label)
    task = Task(
        model=model,
        name=name,
        asked=asked,
        steering=steering,
        draw=draw,
        readers=readers,
    )
    found = show_texts(task)
    show_actions(offer, task, found)


def show() -> None:
    """The whole page."""
    st.title("Lab", anchor=False)
    st.caption(ABOUT)
    open_link()
    offered = offers(listed())
    if not offered:
        explain()
        return
    offer, dtype = choose_model(offered)
    try:
        device = launched("device") or "auto"
        model = loaded(offer.source, offer.revision, dtype, device)
    except InterpError as error:
        st.error(escaped(str(error)))
        return
    st.caption(escaped(" · ".join(words_of(model))))
    asked = ask(model, offer)
    if asked is None:
        return
    name = f"{offer.source}@{offer.revision}:{dtype}"
    saved = saved_directions(root())
    held = directions_for(model, offer, saved)
    show_counts(model, asked)
    show_reading(model, name, asked, held)
    show_steering(model, name, asked, held, offer)


show()
