"""What the layers make of one token of the prompt."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, assert_never

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from interp.figures import contribution_bars, lens_heatmap
from interp.figures.style import NEUTRAL, plain, styled
from interp.figures.tokens import shown
from interp.results.lens import LensReading
from interp.results.streams import TokenScores
from interp_explorer.lab.held import Held
from interp_explorer.lab.models import computed
from interp_explorer.lab.prompt import Asked
from interp_explorer.lab.settings import LOOKS, Look, drop_unless, key_of
from interp_explorer.widgets.chart import ink, show_figure
from interp_explorer.widgets.downloads import table_downloads
from interp_explorer.widgets.text import escaped


if TYPE_CHECKING:
    from interp.models.language_model import LanguageModel

TOP = 5
# Target and distractor.
Words = tuple[str | None, str | None]


def show_token(
    model: "LanguageModel",
    name: str,
    asked: Asked,
    chosen: Sequence[Held],
    scores: TokenScores,
    place: int,
) -> None:
    """Predictions and scores by layer, and what adds to a logit, at one token.

    Args:
        model: The model.
        name: All that decides which model it is.
        asked: The prompt.
        chosen: The directions that score tokens.
        scores: Their scores.
        place: Which token.
    """
    token = shown(scores.tokens[place])
    st.subheader(f"Token {place}: {escaped(token)}", anchor=False)
    left, middle, right = st.columns([3, 1, 1], vertical_alignment="bottom")
    with left:
        look = _choose_look(with_scores=bool(chosen))
    words = _choose_words(middle, right)
    match look:
        case "Predictions by layer":
            _show_lens(model, name, asked, place, words)
        case "Scores by layer":
            _show_layer_scores(model, name, asked, chosen, place)
        case "What adds to a logit":
            _show_contributions(model, name, asked, place, words)
        case _:
            assert_never(look)


def _choose_look(*, with_scores: bool) -> Look:
    looks = LOOKS if with_scores else (LOOKS[0], LOOKS[2])
    drop_unless("look", looks)
    return st.segmented_control(
        "What the model makes of it",
        looks,
        default=looks[0],
        required=True,
        key=key_of("look"),
        bind="query-params",
    )


def _choose_words(left: DeltaGenerator, right: DeltaGenerator) -> Words:
    """The token of interest and what it is compared with."""
    with left:
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
    return (target or None, (distractor or None) if target else None)


def _show_lens(
    model: "LanguageModel",
    name: str,
    asked: Asked,
    place: int,
    words: Words,
) -> None:
    from interp.lens import logit_lens

    target, distractor = words
    reading = computed(
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
    st.dataframe(
        lens_table(reading),
        hide_index=True,
        key="lab_lens_rows",
        alt="The likeliest next tokens at this token, one row for each layer.",
        column_config={
            "entropy (nats)": st.column_config.NumberColumn(format="%.2f"),
            "p(target)": st.column_config.ProgressColumn(
                format="%.3f", min_value=0.0, max_value=1.0
            ),
            "target − distractor": st.column_config.NumberColumn(format="%+.2f"),
        },
    )
    table_downloads(reading.to_dataframe(), key="lab_lens_rows", name="lens")
    if distractor:
        st.markdown(f"**{escaped(f'Logit of {target!r} minus {distractor!r}')}**")
        _show_difference(reading)
    _show_whole_lens(model, name, asked, words)


def _show_difference(reading: LensReading) -> None:
    show_figure(
        layer_lines(
            ["difference"],
            reading.difference[:, :1].T,
            y="difference (logits)",
            layers=reading.layers,
        ),
        alt="A line: logit of the target minus that of the distractor, by layer.",
        key="lab_difference",
    )


def lens_table(reading: LensReading) -> pd.DataFrame:
    """One row for each layer of a lens at its first position.

    Args:
        reading: What the lens has read.
    """
    columns: dict[str, object] = {"layer": reading.layers}
    if reading.target is not None:
        columns["p(target)"] = np.exp(reading.target_log_probability[:, 0])
        columns["rank"] = reading.target_rank[:, 0]
    if reading.distractor is not None:
        columns["target − distractor"] = reading.difference[:, 0]
    columns["entropy (nats)"] = reading.entropy[:, 0]
    for rank in range(min(TOP, reading.top_ids.shape[2])):
        tops = [reading.top(row, 0)[rank] for row in range(len(reading.layers))]
        columns[f"{rank + 1}."] = [
            f"{shown(word)}  {np.exp(value):.2f}" for word, value in tops
        ]
    return pd.DataFrame(columns)


def _show_whole_lens(
    model: "LanguageModel",
    name: str,
    asked: Asked,
    words: Words,
) -> None:
    box = st.expander("All tokens", key="lab_all_tokens", on_change="rerun")
    if not box.open:
        return
    from interp.lens import logit_lens

    with box:
        reading = computed(
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
        table_downloads(reading.to_dataframe(), key="lab_lens_map", name="lens-map")


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
    scores = computed(
        model,
        (name, "layers", asked, tuple(one.label for one in chosen)),
        lambda: token_scores(model, asked.text, readers, chat=asked.chat),
    )
    if scores is None:
        return
    values = scores.scores[:, place].reshape(len(chosen), model.n_layers)
    show_figure(
        layer_lines([one.label for one in chosen], values, y=unit_of(chosen)),
        alt="Lines: the score of each direction and probe at this token, by layer.",
        key="lab_layer_scores",
    )
    st.caption(
        "Each is read behind every block: a direction in class gaps from the midpoint "
        "at its own site, a probe by its logit. At other layers the scale is a guide."
    )
    table_downloads(
        pd.DataFrame({one.label: row for one, row in zip(chosen, values, strict=True)})
        .rename_axis("layer")
        .reset_index(),
        key="lab_layer_scores",
        name="scores-by-layer",
    )


def unit_of(chosen: Sequence[Held]) -> str:
    """The unit of an axis that all of them share.

    Args:
        chosen: Directions and probes.
    """
    are_probes = {one.probe is not None for one in chosen}
    if are_probes == {True}:
        return "score (logits)"
    return "score (class gaps)" if are_probes == {False} else "score (gaps or logits)"


def layer_lines(
    names: Sequence[str], values: np.ndarray, *, y: str, layers: Sequence[str] = ()
) -> go.Figure:
    """Numbers of one token by layer, one line for each name.

    Args:
        names: What the lines are.
        values: One row for each, one column for each layer.
        y: The unit.
        layers: What the layers are called, if not by number.
    """
    figure = go.Figure()
    words = list(layers) or [str(layer) for layer in range(values.shape[1])]
    for name, row in zip(names, values, strict=True):
        figure.add_trace(
            go.Scatter(
                x=np.arange(len(row), dtype=np.float32),
                y=np.asarray(row, dtype=np.float32),
                mode="lines+markers",
                name=plain(name),
                customdata=words,
                hovertemplate="layer %{customdata}: %{y:+.2f}"
                "<extra>%{fullData.name}</extra>",
            )
        )
    figure.add_hline(y=0, line={"color": NEUTRAL, "width": 1})
    shown_places = [*range(0, len(words), max(1, len(words) // 16))]
    figure.update_xaxes(
        tickvals=shown_places, ticktext=[words[place] for place in shown_places]
    )
    figure.update_layout(showlegend=len(names) > 1)
    return styled(figure, title="", x="layer", y=y, height=320)


def _show_contributions(
    model: "LanguageModel",
    name: str,
    asked: Asked,
    place: int,
    words: Words,
) -> None:
    from interp.lens import logit_contributions, logit_lens

    def best() -> int:
        reading = logit_lens(model, asked.text, positions=[place], k=1, chat=asked.chat)
        return int(reading.top_ids[-1, 0, 0])

    found = computed(
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
    table_downloads(found.to_dataframe(), key="lab_contributions", name="contributions")
