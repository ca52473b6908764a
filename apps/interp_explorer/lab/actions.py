"""What one takes away: a link, the numbers, the Python and the command."""

import shlex

import streamlit as st

from interp import atomic
from interp.errors import InterpError
from interp.figures.export import csv_bytes
from interp.results.streams import SideBySide
from interp_explorer.lab.links import SHARE, forget_link
from interp_explorer.lab.models import Offer, launched
from interp_explorer.lab.settings import current
from interp_explorer.lab.shares import share
from interp_explorer.lab.steering import OPERATIONS
from interp_explorer.lab.writing import Task
from interp_explorer.state import root
from interp_explorer.widgets.text import escaped


def show_actions(offer: Offer, task: Task, found: SideBySide | None) -> None:
    """Link, downloads, Python and command.

    Args:
        offer: The model.
        task: What was written.
        found: The texts, once there are any.
    """
    with st.container(horizontal=True):
        if st.button("Share", icon=":material/link:", key="lab_share"):
            _share()
        if found is not None:
            st.download_button(
                "CSV",
                lambda: csv_bytes(found.to_dataframe()),
                "lab.csv",
                "text/csv",
                key="lab_csv",
                on_click="ignore",
                help="One row for each token of the steered text.",
            )
            st.download_button(
                "JSON",
                lambda: record_bytes(task, found),
                "lab.json",
                "application/json",
                key="lab_json",
                on_click="ignore",
                help="Prompt, settings and both texts.",
            )
    with st.expander("Python and command"):
        st.code(python_code(offer, task), language="python")
        st.code(command(offer), language="bash", wrap_lines=True)
        st.caption("The command opens this page again; a shared link opens this view.")
    forget_link()


def _share() -> None:
    try:
        name = share(current(), root())
    except InterpError as error:
        st.error(escaped(str(error)))
        return
    base = (st.context.url or "http://127.0.0.1/lab").partition("?")[0]
    st.code(f"{base}?{SHARE}={name}", language=None, wrap_lines=True)


def record_bytes(task: Task, found: SideBySide) -> bytes:
    """Prompt, settings and both texts as JSON.

    Args:
        task: What was written.
        found: The texts.
    """
    steering, draw = task.steering, task.draw
    values = {
        "model": task.model.name,
        "prompt": task.asked.text,
        "chat": task.asked.chat,
        "direction": steering.held.label,
        "operation": OPERATIONS[steering.doing],
        "strength": steering.strength,
        "layers": steering.layers,
        "when": steering.when,
        "max_new_tokens": draw.length,
        "temperature": draw.temperature,
        "seed": draw.seed,
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
    return "\n".join(
        [
            "import interp",
            "from interp import directions, figures, streaming",
            "",
            f"model = interp.load({offer.source!r}{revision}{dtype})",
            *_direction_code(offer, task),
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
            "    readers=[streaming.reader_of(direction)],",
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


def _direction_code(offer: Offer, task: Task) -> list[str]:
    held = task.steering.held
    if held.path is not None:
        return [f"direction = directions.load({str(held.path)!r})"]
    name = held.label.partition(" ")[0]
    return [
        "from interp_explorer.lab.embedded import embedded_directions, examples_of",
        "",
        f"examples = examples_of({str(offer.family)!r})",
        f"direction = embedded_directions(model, examples)[{name!r}]",
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
