"""The prompt, and how the model reads it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from interp.errors import InterpError
from interp_explorer.lab.embedded import Examples, examples_of
from interp_explorer.lab.models import Offer
from interp_explorer.lab.settings import MODES, key_of
from interp_explorer.widgets.text import escaped


if TYPE_CHECKING:
    from interp.models.language_model import LanguageModel

# Longer ones do not belong into an address; `Share` keeps them.
MAX_IN_ADDRESS = 400
PROMPT = key_of("prompt")
PLAIN = "The capital of France is"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A prompt as the model reads it.

    Attributes:
        text: What the reader typed.
        chat: Whether it goes through the chat template.
        ids: Its token ids.
        whole: The text with the template around it.
        n_bos: How many of its tokens begin a text.
    """

    text: str
    chat: bool
    ids: tuple[int, ...]
    whole: str
    n_bos: int


def ask(model: "LanguageModel", offer: Offer) -> Asked | None:
    """The prompt that is typed, or None if the model cannot read it.

    Args:
        model: The model.
        offer: What it was chosen as.
    """
    examples = _examples(offer)
    chats = bool(getattr(model.tokenizer, "chat_template", None))
    if PROMPT not in st.session_state:
        first = examples.harmless if chats and examples else ()
        default = first[0] if first else (examples.true[0] if examples else PLAIN)
        st.session_state[PROMPT] = st.query_params.get(PROMPT, default)
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    with left:
        mode = st.segmented_control(
            "Prompt",
            MODES if chats else MODES[1:],
            default="Chat" if chats else "Text",
            required=True,
            key=key_of("mode"),
            bind="query-params",
            help="Chat puts it into the model's chat template; Text is read as it is.",
        )
    with right:
        if examples:
            _offer_examples(examples)
    text = st.text_area("Prompt", key=PROMPT, height=80, label_visibility="collapsed")
    _keep_in_address(text)
    return _read(model, text, chat=mode == "Chat")


def _read(model: "LanguageModel", text: str, *, chat: bool) -> Asked | None:
    try:
        found = model.tokenize(text, chat=chat)
    except InterpError as error:
        st.error(escaped(str(error)))
        return None
    ids = found.ids[0]
    bos = getattr(model.tokenizer, "bos_token_id", None)
    return Asked(
        text=text,
        chat=chat,
        ids=ids,
        whole=found.texts[0] or "",
        n_bos=sum(token == bos for token in ids) if bos is not None else 0,
    )


def show_counts(model: "LanguageModel", asked: Asked) -> None:
    """How many tokens there are, and the text with the template around it.

    Args:
        model: The model.
        asked: The prompt.
    """
    room = f" of {model.context_length}" if model.context_length else ""
    tokens = f"{len(asked.ids)}{room} tokens"
    if getattr(model.tokenizer, "bos_token_id", None) is not None:
        tokens += f" · {asked.n_bos} BOS"
    st.caption(tokens)
    if asked.n_bos > 1:
        st.warning("The prompt begins twice: its text holds a BOS token of its own.")
    if asked.chat:
        with st.expander("As the model reads it, with its special tokens"):
            st.code(asked.whole, language=None, wrap_lines=True)


@st.cache_data(max_entries=4, show_spinner=False)
def _texts(family: str) -> Examples | None:
    try:
        return examples_of(family)
    except InterpError:
        return None


def _examples(offer: Offer) -> Examples | None:
    return _texts(str(offer.family)) if offer.family else None


def _offer_examples(examples: Examples) -> None:
    with st.popover("Examples", icon=":material/lightbulb:"):
        st.caption("What this model was trained for")
        _buttons("harmless", examples.harmless[:3], mode="Chat")
        _buttons("true", examples.true[:1], mode="Text")
        _buttons("false", examples.false[:1], mode="Text")
        if examples.harmful and st.toggle(
            "Show instructions that may be harmful", key="lab_harmful"
        ):
            _buttons("harmful", examples.harmful[:3], mode="Chat")


def _buttons(kind: str, texts: tuple[str, ...], *, mode: str) -> None:
    for number, text in enumerate(texts):
        st.button(
            escaped(text),
            key=f"lab_example_{kind}_{number}",
            on_click=_take,
            args=(text, mode),
            width="stretch",
        )


def _take(text: str, mode: str) -> None:
    st.session_state[PROMPT] = text
    st.session_state[key_of("mode")] = mode


def _keep_in_address(text: str) -> None:
    if len(text) <= MAX_IN_ADDRESS:
        if st.query_params.get(PROMPT) != text:
            st.query_params[PROMPT] = text
    elif PROMPT in st.query_params:
        del st.query_params[PROMPT]
