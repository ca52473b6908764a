"""Everything that is chosen in the Lab, as a value that a link can carry."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, Literal, get_args

import streamlit as st
from pydantic import ConfigDict, Field


Mode = Literal["Chat", "Text"]
Look = Literal["Predictions by layer", "Scores by layer", "What adds to a logit"]
Doing = Literal["add", "project out", "at most", "at least"]
Layers = Literal["its own", "a range", "all"]
When = Literal["both", "prompt", "generated"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
MODES: tuple[Mode, ...] = get_args(Mode)
LOOKS: tuple[Look, ...] = get_args(Look)
DOINGS: tuple[Doing, ...] = get_args(Doing)
LAYERS: tuple[Layers, ...] = get_args(Layers)
WHENS: tuple[When, ...] = get_args(When)
DTYPES: tuple[Dtype, ...] = get_args(Dtype)

MAX_READERS, MAX_TOKENS, MAX_STRENGTH, MAX_TEMPERATURE = 6, 256, 3.0, 2.0
MAX_SEED = 2**31 - 1
# Names of models and of files below the folder, and words to compare.
Name = Annotated[str, Field(max_length=400)]
Word = Annotated[str, Field(max_length=100)]
# What every parameter of this page in the address begins with.
PREFIX = "l_"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabSettings:
    """What the Lab shows. The same settings and files show the same page again.

    Attributes:
        model: The label of the model.
        dtype: Of its weights.
        mode: Whether the prompt goes through the chat template.
        prompt: The prompt.
        readers: The directions and probes that score tokens.
        colour: Which of them gives the colour, if not the first.
        mask: Whether first and template tokens are left without colour.
        token: The token that was clicked, or None.
        look: What is shown of it.
        target: A token of interest.
        distractor: What it is compared with.
        direction: What the model is steered along.
        doing: What is done along it.
        layers: Where.
        between: From which layer to which, if in a range.
        when: At the prompt's tokens, at generated ones, or both.
        strength: In units of the direction's class gap.
        length: Tokens to write at most.
        temperature: Of the draws; 0 takes the likeliest token.
        seed: Of the draws.
    """

    # A link is somebody's text: nothing in it is converted or passed over.
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    model: Name = ""
    dtype: Dtype = "auto"
    mode: Mode = "Chat"
    prompt: Annotated[str, Field(max_length=40_000)] = ""
    readers: Annotated[tuple[Name, ...], Field(max_length=MAX_READERS)] = ()
    colour: Name = ""
    mask: bool = True
    token: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    look: Look = "Predictions by layer"
    target: Word = ""
    distractor: Word = ""
    direction: Name = ""
    doing: Doing = "add"
    layers: Layers = "its own"
    between: tuple[
        Annotated[int, Field(ge=0, le=10_000)], Annotated[int, Field(ge=0, le=10_000)]
    ] = (0, 0)
    when: When = "both"
    strength: Annotated[
        float, Field(ge=-MAX_STRENGTH, le=MAX_STRENGTH, allow_inf_nan=False)
    ] = 1.0
    length: Annotated[int, Field(ge=1, le=MAX_TOKENS)] = 32
    temperature: Annotated[
        float, Field(ge=0, le=MAX_TEMPERATURE, allow_inf_nan=False)
    ] = 0.0
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = 0


def key_of(name: str) -> str:
    """The key of the widget of a setting, which is its parameter in the address."""
    return PREFIX + name


def current() -> LabSettings:
    """The settings as the widgets of this session have them now."""
    chosen: dict[str, Any] = {}
    for field in fields(LabSettings):
        value = st.session_state.get(key_of(field.name))
        if value is not None:
            is_list = isinstance(value, list | tuple)
            chosen[field.name] = tuple(value) if is_list else value
    return LabSettings(**chosen)


def apply(settings: LabSettings) -> None:
    """Set the widgets, before any of them is made.

    Args:
        settings: What they shall show.
    """
    for field in fields(LabSettings):
        value = getattr(settings, field.name)
        if value is not None:
            key = key_of(field.name)
            as_list = field.name == "readers"
            st.session_state[key] = list(value) if as_list else value


def drop_unless(name: str, options: Sequence[str]) -> None:
    """Forget a choice that is none of the options; before its widget is made.

    Args:
        name: The setting.
        options: What can be chosen now.
    """
    key = key_of(name)
    kept = st.session_state.get(key)
    if isinstance(kept, list):
        if any(one not in options for one in kept):
            st.session_state[key] = [one for one in kept if one in options]
    elif kept is not None and kept not in options:
        del st.session_state[key]
