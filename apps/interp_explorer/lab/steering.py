"""What is done to the model while it writes, and how large that is."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import streamlit as st

from interp_explorer.lab.held import Held, chosen_of
from interp_explorer.lab.models import computed
from interp_explorer.lab.prompt import Asked
from interp_explorer.lab.settings import (
    DOINGS,
    LAYERS,
    MAX_STRENGTH,
    WHENS,
    Doing,
    When,
    drop_unless,
    key_of,
)
from interp_explorer.widgets.text import escaped, models_text


if TYPE_CHECKING:
    from interp.edits import Edit
    from interp.models.language_model import LanguageModel
    from interp.streaming import Operation

STRENGTH = key_of("strength")
OPERATIONS: dict[Doing, "Operation"] = {
    "add": "add",
    "project out": "project_out",
    "at most": "at_most",
    "at least": "at_least",
}
MEANING = (
    "add moves every token by so many class gaps; project out removes the direction; "
    "at most and at least cap a token's score, as the strip shows it."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Steering:
    """What is done along a direction.

    Attributes:
        held: The direction.
        doing: What is done.
        strength: In units of its class gap.
        layers: Where, as `steering_edits` takes it.
        when: At the prompt's tokens, at generated ones, or both.
    """

    held: Held
    doing: Doing
    strength: float
    layers: Literal["own", "all"] | tuple[int, int]
    when: When

    @property
    def name(self) -> tuple[object, ...]:
        """All that decides it."""
        strength = 0.0 if self.doing == "project out" else self.strength
        return (self.held.label, self.doing, strength, self.layers, self.when)

    def edits(self, model: "LanguageModel") -> "tuple[Edit, ...]":
        """The edits of a model.

        Args:
            model: The model.
        """
        from interp.streaming import steering_edits

        return steering_edits(
            model,
            self.held.direction,
            operation=OPERATIONS[self.doing],
            strength=self.strength,
            layers=self.layers,
            when=self.when,
        )

    def in_words(self) -> str:
        """What is done, in a few words."""
        match self.doing:
            case "add":
                return f"{self.strength:+g} × {self.held.label}"
            case "project out":
                return f"without {self.held.label}"
            case "at most" | "at least":
                return f"{self.held.label} {self.doing} {self.strength:+g}"


def choose_steering(model: "LanguageModel", held: tuple[Held, ...]) -> Steering | None:
    """What is to be done; None if there is no direction.

    Args:
        model: The model.
        held: The directions.
    """
    held = tuple(one for one in held if one.steers)
    if not held:
        return None
    labels = [one.label for one in held]
    drop_unless("direction", labels)
    columns = st.columns([3, 2, 2])
    with columns[0]:
        label = st.selectbox(
            "Steer along", labels, key=key_of("direction"), bind="query-params"
        )
    with columns[1]:
        doing: Doing = st.selectbox(
            "Operation",
            DOINGS,
            key=key_of("doing"),
            bind="query-params",
            help=MEANING,
        )
    with columns[2]:
        when: When = st.selectbox(
            "Tokens",
            WHENS,
            key=key_of("when"),
            bind="query-params",
            help="Of the prompt, generated ones, or both.",
        )
    one = chosen_of(held, label)
    assert one is not None
    if one.is_foreign:
        source = one.direction.model or "a model that its file does not name"
        found = escaped(models_text([source]))
        st.caption(f"It was found in {found}: another model, or a copy of this one.")
    left, right = st.columns([2, 5])
    with left:
        layers = _layers(model, one)
    with right:
        strength = _strength(doing)
    return Steering(held=one, doing=doing, strength=strength, layers=layers, when=when)


def _layers(
    model: "LanguageModel", one: Held
) -> Literal["own", "all"] | tuple[int, int]:
    chosen = st.selectbox(
        "Layers",
        LAYERS,
        key=key_of("layers"),
        bind="query-params",
        help=f"Its own is {one.direction.site}.",
    )
    if chosen != "a range" or model.n_layers < 2:
        return "all" if chosen == "all" else "own"
    key, last = key_of("between"), model.n_layers - 1
    kept: Any = st.session_state.get(key)
    if kept is not None and not (len(kept) == 2 and 0 <= kept[0] <= kept[1] <= last):
        del st.session_state[key]
    middle = one.direction.layer or 0
    first, until = st.slider(
        "From layer to layer",
        0,
        last,
        value=(middle, middle),
        key=key,
        bind="query-params",
    )
    return (first, until)


def _strength(doing: Doing) -> float:
    left, right = st.columns([6, 1], vertical_alignment="bottom")
    with left:
        strength = st.slider(
            "Strength, in class gaps" if doing == "add" else "Score, in class gaps",
            -MAX_STRENGTH,
            MAX_STRENGTH,
            value=1.0,
            step=0.1,
            format="%+.1f",
            key=STRENGTH,
            bind="query-params",
            disabled=doing == "project out",
            help="1 is the distance between the means of the direction's two classes.",
        )
    with right:
        st.button(
            "Reset",
            key="lab_reset",
            on_click=_reset,
            help="Strength 0: nothing is changed.",
            width="stretch",
        )
    return float(strength)


def _reset() -> None:
    st.session_state[STRENGTH] = 0.0


def show_size(
    model: "LanguageModel", name: str, asked: Asked, steering: Steering
) -> None:
    """How far the edits move activations, beside how long these usually are.

    Args:
        model: The model.
        name: All that decides which model it is.
        asked: The prompt.
        steering: What is done.
    """
    from interp.streaming import edit_sizes

    sizes = computed(
        model,
        (name, "size", asked, steering.name),
        lambda: edit_sizes(model, asked.text, steering.edits(model), chat=asked.chat),
    )
    if sizes is None:
        return
    largest = max(sizes, key=lambda one: one.ratio)
    where = largest.site + (f" and {len(sizes) - 1} other sites" if sizes[1:] else "")
    said = f"Moves activations by {largest.ratio:.2f} of their usual length ({where})."
    if largest.is_large:
        st.warning(
            f"{said} Beyond 1.5 a model is where it has never been: what it writes "
            "says little about the direction.",
            icon=":material/warning:",
        )
    else:
        st.caption(said)
