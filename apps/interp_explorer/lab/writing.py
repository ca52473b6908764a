"""The unchanged and the steered text, written side by side while one watches."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from interp.figures import divergence_curve
from interp.results.streams import SideBySide
from interp_explorer.lab.held import Held
from interp_explorer.lab.memory import keep, recall
from interp_explorer.lab.models import (
    failures,
    in_turns,
    own_turn,
    show_failure,
)
from interp_explorer.lab.prompt import Asked
from interp_explorer.lab.settings import MAX_SEED, MAX_TEMPERATURE, MAX_TOKENS, key_of
from interp_explorer.lab.steering import Steering
from interp_explorer.widgets.chart import show_figure
from interp_explorer.widgets.sides import as_html, fill_sides, side_places


if TYPE_CHECKING:
    from interp.models.language_model import LanguageModel
    from interp.streaming import Sampling, TokenReader

Ids = list[int]
# Up to this size a model writes as soon as anything changes.
AT_ONCE = 60_000_000
LIVE = "lab_live"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """How the next token is chosen.

    Attributes:
        length: Tokens at most.
        temperature: 0 takes the likeliest.
        seed: Of the draws.
    """

    length: int
    temperature: float
    seed: int

    def sampling(self) -> "Sampling":
        """The same for the model."""
        from interp.streaming import Sampling

        return Sampling(
            max_new_tokens=self.length, temperature=self.temperature, seed=self.seed
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """What is to be written.

    Attributes:
        model: The model.
        name: All that decides which model it is.
        asked: The prompt.
        steering: What is done.
        draw: How tokens are chosen.
        readers: The directions that score what is written.
    """

    model: "LanguageModel"
    name: str
    asked: Asked
    steering: Steering
    draw: Draw
    readers: tuple[Held, ...]

    @property
    def plain_key(self) -> tuple[object, ...]:
        """All that decides the unchanged text."""
        return (self.name, "plain", self.asked, self.draw)

    @property
    def key(self) -> tuple[object, ...]:
        """All that decides both texts and their scores."""
        labels = tuple(one.label for one in self.readers)
        return (self.name, "pair", self.asked, self.draw, self.steering.name, labels)


def choose_draw() -> Draw:
    """How tokens are chosen, as the reader sets it."""
    columns = st.columns(3)
    with columns[0]:
        length = st.number_input(
            "New tokens",
            1,
            MAX_TOKENS,
            value=32,
            key=key_of("length"),
            bind="query-params",
        )
    with columns[1]:
        temperature = st.number_input(
            "Temperature",
            0.0,
            MAX_TEMPERATURE,
            value=0.0,
            step=0.1,
            key=key_of("temperature"),
            bind="query-params",
            help="0 takes the likeliest token each time.",
        )
    with columns[2]:
        seed = st.number_input(
            "Seed",
            0,
            MAX_SEED,
            value=0,
            key=key_of("seed"),
            bind="query-params",
            help="Of the draws, the same for both texts.",
        )
    return Draw(length=int(length), temperature=float(temperature), seed=int(seed))


def show_texts(task: Task) -> SideBySide | None:
    """Both texts; written now if the reader wants them and they are not known yet.

    Args:
        task: What is to be written.
    """
    small = sum(p.numel() for p in task.model.hf.parameters()) <= AT_ONCE
    left, right = st.columns([2, 5], vertical_alignment="center")
    with left:
        pressed = st.button(
            "Write", key="lab_write", type="primary", icon=":material/play_arrow:"
        )
    with right:
        live = st.toggle(
            "Write whenever something changes",
            value=small,
            key=LIVE,
            help="Convenient for small models.",
        )
    columns, places = side_places(task.steering.in_words())
    found: SideBySide | None = recall(task.key)
    if found is None and not (pressed or live):
        places[0].caption("Press Write.")
        return None
    if found is None:
        try:
            found = keep(task.key, _write(task, places[0].html, places[1].html))
        except failures() as error:
            show_failure(error)
            return None
    fill_sides(found, columns, places, key="lab")
    if len(found.kl):
        st.markdown("**How far steering moves the prediction of each token**")
        show_figure(
            divergence_curve(found),
            alt="A line: the KL divergence of the steered model's prediction from the "
            "unchanged model's at each token of the steered text.",
            key="lab_kl",
        )
    return found


def _write(
    task: Task, left: Callable[[str], object], right: Callable[[str], object]
) -> SideBySide:
    """Both texts, shown token by token; the unchanged one only if it is not known."""
    from interp.streaming import compare, stream, stream_pair

    model, asked, sampling = task.model, task.asked, task.draw.sampling()
    edits = task.steering.edits(model)
    known: Ids | None = recall(task.plain_key)
    unchanged, steered = list(known or ()), []
    left(as_html(_decoded(model, unchanged), going_on=known is None))
    right(as_html("", going_on=True))
    if known is None:
        pairs = stream_pair(
            model, asked.text, edits=edits, sampling=sampling, chat=asked.chat
        )
        # Closed also where this script is stopped: by a closed tab or another choice.
        with closing(pairs):
            for pair in in_turns(model, pairs):
                if pair.unchanged:
                    unchanged.append(pair.unchanged.token_id)
                    left(as_html(pair.unchanged.text, going_on=True))
                if pair.steered:
                    steered.append(pair.steered.token_id)
                    right(as_html(pair.steered.text, going_on=True))
        keep(task.plain_key, unchanged)
    else:
        steps = stream(
            model, asked.text, edits=edits, sampling=sampling, chat=asked.chat
        )
        with closing(steps):
            for step in in_turns(model, steps):
                steered.append(step.token_id)
                right(as_html(step.text, going_on=True))
    readers: list[TokenReader] = [one.reader() for one in task.readers]
    with own_turn(model):
        return compare(
            model,
            asked.text,
            (unchanged, steered),
            edits=edits,
            readers=readers,
            chat=asked.chat,
        )


def _decoded(model: "LanguageModel", ids: Ids) -> str:
    if model.tokenizer is None:
        return " ".join(map(str, ids))
    return model.tokenizer.decode(ids, skip_special_tokens=True)
