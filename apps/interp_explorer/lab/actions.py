"""What one takes away: a link, a saved result, the numbers, Python and command."""

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from interp import atomic
from interp.errors import InterpError
from interp.provenance import ModelRecord, record
from interp.results import SteeringAsked, steered_text
from interp.results.streams import SideBySide
from interp_explorer.catalog import check_inside
from interp_explorer.lab.held import Held
from interp_explorer.lab.links import SHARE, forget_link
from interp_explorer.lab.models import Offer, launched
from interp_explorer.lab.settings import current
from interp_explorer.lab.shares import share
from interp_explorer.lab.steering import OPERATIONS
from interp_explorer.lab.writing import Task
from interp_explorer.pages import TEXTS
from interp_explorer.state import root
from interp_explorer.widgets.downloads import table_downloads
from interp_explorer.widgets.text import escaped


if TYPE_CHECKING:
    from interp.models.language_model import LanguageModel

# Below the folder of results.
SAVED = "lab"
# So many letters of the hash of the settings name what was saved, as of runs.
SHORT = 12


def show_actions(offer: Offer, task: Task, found: SideBySide | None) -> None:
    """Link, saving, downloads, Python and command.

    Args:
        offer: The model.
        task: What was written.
        found: The texts, once there are any.
    """
    saves = False
    with st.container(horizontal=True):
        shares = st.button("Share", icon=":material/link:", key="lab_share")
        if found is not None:
            saves = st.button(
                "Save to results",
                icon=":material/save:",
                key="lab_save",
                help="Both texts with scores and divergence, below the folder of "
                "results: they open again without a model.",
            )
            table_downloads(found.to_dataframe(), key="lab", name="lab")
            st.download_button(
                "JSON",
                lambda: record_bytes(task, found),
                "lab.json",
                "application/json",
                key="lab_json",
                on_click="ignore",
                type="tertiary",
                icon=":material/download:",
                help="Prompt, settings and both texts.",
            )
    if shares:
        _share()
    if saves and found is not None:
        _save(offer, task, found)
    with st.expander("Python and command"):
        st.code(python_code(offer, task), language="python")
        st.code(command(offer), language="bash", wrap_lines=True)
        st.caption(
            "Python writes the same texts. The command opens this page again; a shared "
            "link opens this view."
        )
    forget_link()


def _share() -> None:
    try:
        name = share(current(), root())
    except InterpError as error:
        st.error(escaped(str(error)))
        return
    base = (st.context.url or "http://127.0.0.1/lab").partition("?")[0]
    st.code(f"{base}?{SHARE}={name}", language=None, wrap_lines=True)


def _save(offer: Offer, task: Task, found: SideBySide) -> None:
    try:
        name = save_texts(offer, task, found, root())
    except InterpError as error:
        st.error(escaped(str(error)))
        return
    st.page_link(
        TEXTS.view,
        label=f"Saved as {name}: open",
        icon=TEXTS.icon,
        query_params={f"{TEXTS.key}_run": name},
    )


def save_texts(offer: Offer, task: Task, found: SideBySide, folder: Path) -> str:
    """Keep both texts as a result; its path below the folder of results.

    The same settings have the same name: saved again, they replace themselves.

    Args:
        offer: The model.
        task: What was written.
        found: The texts.
        folder: The folder of results.

    Raises:
        InterpError: If it cannot be written, or would lie outside the folder.
    """
    link = share(current(), folder)
    place = folder / SAVED / link[:SHORT]
    check_inside(place, folder)
    settings = asked_of(task)
    source = record(
        "lab",
        models=[_identity(task.model, task.name)],
        spec_hash=link[:SHORT],
        seed=settings.seed,
        command=command(offer),
    )
    steered_text(found, settings, provenance=source, link=link).save(place)
    return place.relative_to(folder).as_posix()


@st.cache_resource(max_entries=2, show_spinner="Hashing the weights")
def _identity(_model: "LanguageModel", name: str) -> ModelRecord:
    del name  # the model, for the cache
    return _model.identity()


def asked_of(task: Task) -> SteeringAsked:
    """What was asked for, as results keep it.

    Args:
        task: What was written.
    """
    steering, draw = task.steering, task.draw
    layers = steering.layers
    return SteeringAsked(
        prompt=task.asked.text,
        chat=task.asked.chat,
        direction=steering.held.label,
        operation=OPERATIONS[steering.doing],
        strength=steering.strength,
        layers=layers if isinstance(layers, str) else f"{layers[0]} to {layers[1]}",
        when=steering.when,
        max_new_tokens=draw.length,
        temperature=draw.temperature,
        seed=draw.seed,
    )


def record_bytes(task: Task, found: SideBySide) -> bytes:
    """Prompt, settings and both texts as JSON.

    Args:
        task: What was written.
        found: The texts.
    """
    values = {
        "model": task.model.name,
        **asdict(asked_of(task)),
        "unchanged": found.unchanged.text,
        "steered": found.steered.text,
        "unchanged_ids": found.unchanged.token_ids,
        "steered_ids": found.steered.token_ids,
        "kl": [float(value) for value in found.kl],
    }
    return atomic.json_text(values).encode("utf-8")


def python_code(offer: Offer, task: Task) -> str:
    """The Python that writes the same texts.

    Args:
        offer: The model.
        task: What was written.
    """
    steering, draw = task.steering, task.draw
    revision = f", revision={offer.revision!r}" if offer.revision else ""
    dtype = f", dtype={current().dtype!r}" if current().dtype != "auto" else ""
    is_fitted = any(one.path is None for one in (steering.held, *task.readers))
    return "\n".join(
        [
            "import interp",
            "from interp import directions, figures, streaming",
            "",
            f"model = interp.load({offer.source!r}{revision}{dtype})",
            *(_fitting_code(offer) if is_fitted else ()),
            f"direction = {_loading(steering.held)}",
            "readers = [",
            *(
                f"    streaming.reader_of({_loading(one, is_read=True)}, "
                f"name={one.label!r}),"
                for one in task.readers
            ),
            "]",
            "edits = streaming.steering_edits(",
            "    model,",
            "    direction,",
            f"    operation={OPERATIONS[steering.doing]!r},",
            f"    strength={steering.strength!r},",
            f"    layers={steering.layers!r},",
            f"    when={steering.when!r},",
            ")",
            "result = streaming.side_by_side(",
            "    model,",
            f"    {task.asked.text!r},",
            "    edits=edits,",
            "    readers=readers,",
            "    sampling=streaming.Sampling(",
            f"        max_new_tokens={draw.length}, temperature={draw.temperature!r},"
            f" seed={draw.seed}",
            "    ),",
            f"    chat={task.asked.chat},",
            ")",
            "print(result.unchanged.text)",
            "print(result.steered.text)",
            "figures.divergence_curve(result).show()",
        ]
    )


def _loading(held: Held, *, is_read: bool = False) -> str:
    """The expression that loads what is read, or the direction along it."""
    if held.path is None:
        return f"fitted[{held.label.partition(' ')[0]!r}]"
    if held.probe is None:
        return f"directions.load({str(held.path)!r})"
    loaded = f"directions.load_probe({str(held.path)!r})"
    return loaded if is_read else f"{loaded}.direction"


def _fitting_code(offer: Offer) -> list[str]:
    return [
        "from interp_explorer.lab.embedded import embedded_directions, examples_of",
        "",
        f"examples = examples_of({str(offer.family)!r})",
        "fitted = embedded_directions(model, examples)",
    ]


def command(offer: Offer) -> str:
    """The command that opens the Lab on this model.

    Args:
        offer: The model.
    """
    words = ["interp", "explore", str(root()), "--model", offer.source]
    words += ["--revision", offer.revision] if offer.revision else []
    device = launched("device")
    words += ["--device", device] if device not in (None, "auto") else []
    return shlex.join(words)
