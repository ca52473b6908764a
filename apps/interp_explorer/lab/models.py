"""Which models the Lab offers, and the one that is loaded, shared by all readers."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import streamlit as st

from interp import atomic
from interp.errors import InterpError
from interp.home import interp_home
from interp_explorer.catalog import Catalog
from interp_explorer.lab.memory import remembered
from interp_explorer.widgets.text import escaped


if TYPE_CHECKING:
    from interp.models.language_model import LanguageModel

T = TypeVar("T")
DTYPES = ("auto", "float32", "bfloat16", "float16")
# Two readers take turns token by token; who waits longer than this is told.
PATIENCE = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A model that the Lab can load.

    Attributes:
        label: What it is called on the page and in links.
        source: Its hub id or folder.
        revision: On the hub.
        family: The folder of the embedded family it belongs to, if it does.
    """

    label: str
    source: str
    revision: str | None = None
    family: Path | None = None


def launched(name: str) -> str | None:
    """What `interp explore` was told of the model: `model`, `revision` or `device`."""
    given = [word for word in sys.argv[2:] if word.startswith(f"--{name}=")]
    return given[-1].partition("=")[2] if given else None


def offers(found: Catalog) -> tuple[Offer, ...]:
    """The models that can be chosen: that of the command line, or an embedded family.

    Args:
        found: The results; of several embedded families theirs is taken.
    """
    asked = launched("model")
    if asked is not None:
        folder = Path(asked)
        family = folder.parent if _is_family(folder.parent) else None
        label = folder.name if folder.is_dir() else asked
        return (
            Offer(
                label=label, source=asked, revision=launched("revision"), family=family
            ),
        )
    family = _embedded(found)
    if family is None:
        return ()
    return tuple(
        Offer(label=f"embedded {role}", source=str(family / role), family=family)
        for role in ("post", "base")
    )


def _embedded(found: Catalog) -> Path | None:
    """The embedded family of the newest results, or the one trained last."""
    place = interp_home() / "organism"
    try:
        families = [path for path in place.glob("facts-*") if _is_family(path)]
    except OSError:
        return None
    named = {
        Path(name).parent.name: number
        for number, entry in reversed([*enumerate(found.entries)])
        for name in entry.models
    }
    order = sorted(
        families,
        key=lambda path: (
            named.get(path.name, len(found.entries)),
            -path.stat().st_mtime,
        ),
    )
    return order[0] if order else None


def _is_family(folder: Path) -> bool:
    try:
        told = atomic.parse_json((folder / "family.json").read_bytes())
    except (OSError, ValueError):
        return False
    return (
        isinstance(told, dict)
        and told.get("family") == "facts"
        and (folder / "post" / "config.json").is_file()
    )


def _release(model: "LanguageModel") -> None:
    """Give the memory of a device back, once the model is not used any more."""
    del model
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


# One for all readers: a second model may not fit beside the first.
@st.cache_resource(
    max_entries=1,
    show_spinner="Loading the model (the first time with PyTorch: some seconds)",
    on_release=_release,
)
def loaded(
    source: str, revision: str | None, dtype: str, device: str
) -> "LanguageModel":
    """The model; another choice takes its place.

    Args:
        source: Hub id or folder.
        revision: On the hub.
        dtype: As in `interp.load`.
        device: As in `interp.load`.

    Raises:
        InterpError: If it cannot be loaded.
    """
    import interp

    return interp.load(source, revision=revision, dtype=dtype, device=device)


@contextmanager
def own_turn(model: "LanguageModel") -> Iterator[None]:
    """Hold the model, after telling the reader if another run has it.

    Nothing that a page shows may be written inside: that is where a script ends when
    its tab is closed, and it must not end with the lock.
    """
    began = time.monotonic()
    notice = None
    while not model.lock.acquire(timeout=PATIENCE):
        if notice is None:
            notice = st.empty()
        seconds = time.monotonic() - began
        notice.caption(f"Waiting for another run ({seconds:.0f} s)")
    try:
        yield
    finally:
        model.lock.release()
    if notice is not None:
        notice.empty()


def in_turns(model: "LanguageModel", steps: Iterator[T]) -> Iterator[T]:
    """The steps of a generation, each in its own turn; free of the lock between them.

    Args:
        model: The model.
        steps: A generator; whoever stops listening closes it.
    """
    while True:
        with own_turn(model):
            step = next(steps, None)
        if step is None:
            return
        yield step


def words_of(model: "LanguageModel") -> Sequence[str]:
    """What the model is, in a few words each."""
    size = sum(parameter.numel() for parameter in model.hf.parameters())
    return (
        f"{model.n_layers} layers",
        f"d_model {model.d_model}",
        f"{_short(size)} parameters",
        str(model.dtype).removeprefix("torch."),
        str(model.device),
    )


def _short(number: int) -> str:
    for size, word in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number / size:.3g} {word}"
    return str(number)


def computed(
    model: "LanguageModel", what: tuple[object, ...], make: Callable[[], T]
) -> T | None:
    """A value that needs the model; None after saying why there is none.

    Args:
        model: The model.
        what: All that decides the value, for this session to remember it.
        make: Computes it; shows nothing.
    """

    def in_turn() -> T:
        with own_turn(model):
            return make()

    try:
        return remembered(what, in_turn)
    except failures() as error:
        show_failure(error)
        return None


def failures() -> tuple[type[Exception], ...]:
    """What can go wrong with a model without anything being wrong with the page."""
    import torch

    return (InterpError, torch.OutOfMemoryError)


def show_failure(error: Exception) -> None:
    """Say in one line what went wrong.

    Args:
        error: One of `failures()`.
    """
    if isinstance(error, InterpError):
        st.error(escaped(str(error)))
    else:
        st.error(
            "The device has no memory left for this: shorten the prompt, write fewer "
            "tokens, or choose another precision."
        )
