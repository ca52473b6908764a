"""The prompt's tokens, coloured by directions, and what each layer makes of one."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar, assert_never

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from interp.errors import InterpError
from interp.figures import contribution_bars, lens_heatmap
from interp.figures.style import NEUTRAL, plain, styled
from interp.figures.tokens import shown
from interp.results.streams import TokenScores
from interp_explorer.lab.held import Held, chosen_of
from interp_explorer.lab.links import forget_link
from interp_explorer.lab.memory import remembered
from interp_explorer.lab.models import own_turn
from interp_explorer.lab.prompt import Asked
from interp_explorer.lab.settings import (
    LOOKS,
    MAX_READERS,
    Look,
    drop_unless,
    key_of,
)
from interp_explorer.widgets.chart import ink, show_figure
from interp_explorer.widgets.text import escaped
from interp_explorer.widgets.token_strip import Strip, StripScore, limit_of, show_strip


if TYPE_CHECKING:
    from interp.models.language_model import LanguageModel

T = TypeVar("T")
TOKEN = key_of("token")
OF_PROMPT = "lab_token_of"
TOP = 5


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
    chosen, mask = _choose_readers(held)
    readers = [one.reader() for one in chosen]
    from interp.streaming import token_scores

    scores = _computed(
        model,
        (name, "scores", asked, tuple(one.label for one in chosen)),
        lambda: token_scores(model, asked.text, readers, chat=asked.chat),
    )
    if scores is None:
        return
    place = show_strip(
        strip_of(scores, mask=mask),
        key=f"lab_strip_{hash((name, asked))}",
        selected=_chosen_before(asked, len(scores.tokens)),
    )
    _keep_in_address(place)
    if place is not None:
        _show_token(model, name, asked, chosen, scores, place)
    forget_link()


def strip_of(scores: TokenScores, *, mask: bool) -> Strip:
    """Tokens with their scores, the first of which gives the colour.

    Args:
        scores: What readers say.
        mask: Whether first and template tokens are left without colour.
    """
    values = scores.masked if mask else scores.scores
    return Strip(
        label="Tokens of the prompt",
        tokens=scores.tokens,
        scores=[
            StripScore(name=name, values=row, unit=unit)
            for name, row, unit in zip(
                scores.readers, scores.scores, scores.units, strict=True
            )
        ],
        colour=0 if scores.readers else None,
        limit=limit_of([values[0]]) if scores.readers else 1.0,
        masked=scores.first | scores.template if mask else None,
    )


def _choose_readers(held: tuple[Held, ...]) -> tuple[list[Held], bool]:
    labels = [one.label for one in held]
    drop_unless("readers", labels)
    if not held:
        st.info(
            "No direction that fits this model is saved below this folder, so tokens "
            "are not coloured and nothing can be steered. To find some: `interp "
            "compare BASE POST --statements FILE --out DIR`"
        )
        return [], True
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    with left:
        picked = st.multiselect(
            "Colour tokens by",
            labels,
            default=labels[: min(2, len(labels))],
            max_selections=MAX_READERS,
            key=key_of("readers"),
            bind="query-params",
            help="The first gives the colour; point at a token to read all of them.",
        )
    with right:
        mask = st.toggle(
            "Leave out first and template tokens",
            value=True,
            key=key_of("mask"),
            bind="query-params",
            help="Their activations are so large that they would set all colours.",
        )
    found = [chosen_of(held, label) for label in picked]
    return [one for one in found if one is not None], mask


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


def _show_token(
    model: "LanguageModel",
    name: str,
    asked: Asked,
    chosen: Sequence[Held],
    scores: TokenScores,
    place: int,
) -> None:
    token = shown(scores.tokens[place])
    st.subheader(f"Token {place}: {escaped(token)}", anchor=False)
    left, middle, right = st.columns([3, 1, 1], vertical_alignment="bottom")
    with left:
        looks = LOOKS if chosen else (LOOKS[0], LOOKS[2])
        drop_unless("look", looks)
        look: Look = st.segmented_control(
            "What the model makes of it",
            looks,
            default=looks[0],
            required=True,
            key=key_of("look"),
            bind="query-params",
        )
    with middle:
        target = st.text_input(
            "Target",
            key=key_of("target"),
            bind="query-params",
            max_chars=100,
            placeholder="' TRUE'",
            help="One token, with the space in front of it if it has one.",
        )
    with right:
        distractor = st.text_input(
            "Distractor",
            key=key_of("distractor"),
            bind="query-params",
            max_chars=100,
            disabled=not target,
            help="What the target is compared with.",
        )
    words = (target or None, (distractor or None) if target else None)
    match look:
        case "Predictions by layer":
            _show_lens(model, name, asked, place, words)
        case "Scores by layer":
            _show_layer_scores(model, name, asked, chosen, place)
        case "What adds to a logit":
            _show_contributions(model, name, asked, place, words)
        case _:
            assert_never(look)


def _show_lens(
    model: "LanguageModel",
    name: str,
    asked: Asked,
    place: int,
    words: tuple[str | None, str | None],
) -> None:
    from interp.lens import logit_lens

    target, distractor = words
    reading = _computed(
        model,
        (name, "lens", asked, place, words),
        lambda: logit_lens(
            model,
            asked.text,
            target=target,
            distractor=distractor,
            positions=[place],
            k=TOP,
            chat=asked.chat,
        ),
    )
    if reading is None:
        return
    st.caption(escaped(reading.headline()))
    columns: dict[str, object] = {"layer": reading.layers}
    if target:
        columns["p(target)"] = np.exp(reading.target_log_probability[:, 0])
        columns["rank"] = reading.target_rank[:, 0]
    if distractor:
        columns["target − distractor"] = reading.difference[:, 0]
    columns["entropy (nats)"] = reading.entropy[:, 0]
    for rank in range(min(TOP, reading.top_ids.shape[2])):
        tops = [reading.top(row, 0)[rank] for row in range(len(reading.layers))]
        columns[f"{rank + 1}."] = [
            f"{shown(word)}  {np.exp(value):.2f}" for word, value in tops
        ]
    st.dataframe(
        pd.DataFrame(columns),
        hide_index=True,
        key="lab_lens_rows",
        column_config={
            "entropy (nats)": st.column_config.NumberColumn(format="%.2f"),
            "p(target)": st.column_config.ProgressColumn(
                format="%.3f", min_value=0.0, max_value=1.0
            ),
            "target − distractor": st.column_config.NumberColumn(format="%+.2f"),
        },
    )
    _show_whole_lens(model, name, asked, words)


def _show_whole_lens(
    model: "LanguageModel",
    name: str,
    asked: Asked,
    words: tuple[str | None, str | None],
) -> None:
    box = st.expander("All tokens", key="lab_all_tokens", on_change="rerun")
    if not box.open:
        return
    from interp.lens import logit_lens

    with box:
        reading = _computed(
            model,
            (name, "whole lens", asked, words),
            lambda: logit_lens(
                model,
                asked.text,
                target=words[0],
                distractor=words[1],
                k=TOP,
                chat=asked.chat,
            ),
        )
        if reading is None:
            return
        show = "difference" if words[1] else "target" if words[0] else "entropy"
        figure = lens_heatmap(reading, show=show)
        # Plotly takes the transparent middle for white and writes on it in black.
        figure.update_traces(textfont_color=ink())
        show_figure(
            figure,
            alt="A map of the likeliest token by layer and token of the prompt.",
            key="lab_lens_map",
        )


def _show_layer_scores(
    model: "LanguageModel",
    name: str,
    asked: Asked,
    chosen: Sequence[Held],
    place: int,
) -> None:
    from interp.streaming import token_scores

    layers = range(model.n_layers)
    readers = [one.reader(site=f"resid_post.{at}") for one in chosen for at in layers]
    scores = _computed(
        model,
        (name, "layers", asked, tuple(one.label for one in chosen)),
        lambda: token_scores(model, asked.text, readers, chat=asked.chat),
    )
    if scores is None:
        return
    values = scores.scores[:, place].reshape(len(chosen), model.n_layers)
    show_figure(
        layer_scores([one.label for one in chosen], values),
        alt="Lines: the score of each direction at this token, by layer.",
        key="lab_layer_scores",
    )
    st.caption(
        "Each direction is read behind every block, in class gaps from the midpoint at "
        "its own site. At other layers the scale is only a guide."
    )


def layer_scores(names: Sequence[str], values: np.ndarray) -> go.Figure:
    """The scores of directions behind every block, at one token.

    Args:
        names: The directions.
        values: One row for each, one column for each layer.
    """
    figure = go.Figure()
    for name, row in zip(names, values, strict=True):
        figure.add_trace(
            go.Scatter(
                x=np.arange(len(row), dtype=np.float32),
                y=np.asarray(row, dtype=np.float32),
                mode="lines+markers",
                name=plain(name),
                hovertemplate="layer %{x}: %{y:+.2f}<extra>%{fullData.name}</extra>",
            )
        )
    figure.add_hline(y=0, line={"color": NEUTRAL, "width": 1})
    step = max(1, values.shape[1] // 16)
    figure.update_xaxes(tickvals=list(range(0, values.shape[1], step)))
    figure.update_layout(showlegend=True)
    return styled(
        figure, title="Scores by layer", x="layer", y="score (class gaps)", height=320
    )


def _show_contributions(
    model: "LanguageModel",
    name: str,
    asked: Asked,
    place: int,
    words: tuple[str | None, str | None],
) -> None:
    from interp.lens import logit_contributions, logit_lens

    def best() -> int:
        reading = logit_lens(model, asked.text, positions=[place], k=1, chat=asked.chat)
        return int(reading.top_ids[-1, 0, 0])

    found = _computed(
        model,
        (name, "contributions", asked, place, words),
        lambda: logit_contributions(
            model,
            asked.text,
            target=words[0] or best(),
            distractor=words[1],
            positions=[place],
            chat=asked.chat,
        ),
    )
    if found is None:
        return
    if not words[0]:
        st.caption("Without a target, that of the likeliest next token is taken apart.")
    st.caption(escaped(found.headline()))
    show_figure(
        contribution_bars(found),
        alt="Bars: what embedding, attention and MLP of each layer add to the logit.",
        key="lab_contributions",
    )


def _computed(
    model: "LanguageModel", what: tuple[object, ...], make: Callable[[], T]
) -> T | None:
    """A value that needs the model; None after saying why there is none."""

    def in_turn() -> T:
        with own_turn(model):
            return make()

    try:
        return remembered(what, in_turn)
    except InterpError as error:
        st.error(escaped(str(error)))
        return None
