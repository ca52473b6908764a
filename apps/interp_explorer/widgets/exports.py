"""A direction in the formats of other programs, or why that cannot be."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from interp.directions import Direction
from interp.errors import InterpError
from interp.interchange import vector_payload, write_control_vector
from interp_explorer.saved import SavedDirection
from interp_explorer.widgets.text import escaped


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A file, or why there is none.

    Attributes:
        content: The file.
        reason: Then why, in a sentence.
    """

    content: bytes = b""
    reason: str = ""


def gguf(direction: Direction, *, model_hint: str = "") -> Written:
    """A control vector of llama.cpp and repeng with this one direction.

    Args:
        direction: The direction.
        model_hint: What llama.cpp calls the model's architecture.
    """
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "vector.gguf"
            write_control_vector([direction], path, model_hint=model_hint)
            return Written(content=path.read_bytes())
    except InterpError as error:
        return Written(reason=str(error))


def neuronpedia(
    direction: Direction, *, model_id: str = "", label: str = ""
) -> Written:
    """The JSON that makes a vector at Neuronpedia; nothing is sent.

    Args:
        direction: The direction.
        model_id: What Neuronpedia calls the model.
        label: What the vector is called there.
    """
    from interp.atomic import json_text

    try:
        payload = vector_payload(direction, model_id=model_id, label=label)
    except InterpError as error:
        return Written(reason=str(error))
    return Written(content=f"{json_text(payload)}\n".encode())


@st.fragment
def show_exports(saved: SavedDirection) -> None:
    """Downloads of a direction, with what each format cannot say.

    Args:
        saved: The direction.
    """
    left, right = st.columns(2)
    model_id = left.text_input(
        "What the other program calls the model",
        key="d_model_id",
        bind="query-params",
        help="By default the last part of the model's own name.",
    )
    label = right.text_input(
        "What the vector is called there",
        key="d_label",
        bind="query-params",
        help="By default how the direction was made.",
    )
    stem = saved.path.stem
    if saved.probe is not None:
        st.caption(
            "Of a probe, GGUF and Neuronpedia get the direction along its weights, as "
            "long as its classes are apart; only safetensors keeps the threshold."
        )
    files = {
        "safetensors": (Written(content=saved.path.read_bytes()), "safetensors"),
        "GGUF control vector": (gguf(saved.direction, model_hint=model_id), "gguf"),
        "Neuronpedia JSON": (
            neuronpedia(saved.direction, model_id=model_id, label=label),
            "json",
        ),
    }
    with st.container(horizontal=True):
        for name, (written, ending) in files.items():
            st.download_button(
                name,
                written.content,
                f"{stem}.{ending}",
                key=f"d_{ending}",
                disabled=bool(written.reason),
                on_click="ignore",
            )
    for name, (written, _) in files.items():
        if written.reason:
            st.warning(f"No {name}: {escaped(written.reason)}")
    st.caption(
        "llama.cpp adds a control vector behind its block at every position: where it "
        "was read and how it was made are lost. At Neuronpedia strength 1 is the "
        "vector's own length, so it is written with length 1 and the norm as default "
        "strength."
    )
