"""Directions and probes that fit a model: saved below the folder, or fitted here."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import streamlit as st

from interp.directions import Direction
from interp.directions.probe import Probe
from interp.errors import InterpError
from interp_explorer.lab.embedded import embedded_directions, examples_of
from interp_explorer.lab.models import Offer
from interp_explorer.saved import Saved, SavedDirection


if TYPE_CHECKING:
    from interp.models.language_model import LanguageModel
    from interp.streaming import TokenReader


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Held:
    """A direction or probe that the Lab can use.

    Attributes:
        label: What it is called on the page and in links.
        direction: The direction; of a probe that along its weights.
        probe: The probe, if it is one: it scores tokens by its logit.
        steers: Whether strengths in class gaps mean something along it.
        path: Its file; None if it was fitted here.
        is_foreign: Whether it was found in another model.
    """

    label: str
    direction: Direction
    probe: Probe | None = None
    steers: bool = True
    path: Path | None = None
    is_foreign: bool = False

    def reader(self, site: str = "") -> "TokenReader":
        """Its score of a token, at its own site or at another one.

        Args:
            site: Another site.
        """
        from interp.streaming import reader_of

        return reader_of(
            self.probe or self.direction,
            name=self.label,
            site=site or self.direction.site,
        )


def directions_for(
    model: "LanguageModel", offer: Offer, saved: Saved
) -> tuple[Held, ...]:
    """Directions and probes that fit a model, those that were found in it first.

    Args:
        model: The model.
        offer: What it was chosen as.
        saved: What lies below the folder.
    """
    fitting = [one for one in saved.found if _fits(model, one)]
    if not fitting and offer.family is not None:
        return _fitted(model, offer.source, offer.family)
    fitting.sort(key=lambda one: _order(offer, one))
    short = [one.label for one in fitting]
    often = Counter(short)
    return tuple(
        Held(
            label=label if often[label] == 1 else f"{label} · {one.name}",
            direction=one.direction,
            probe=one.probe,
            steers=one.has_gap,
            path=one.path,
            is_foreign=_distance(offer, one.direction) > 0,
        )
        for label, one in zip(short, fitting, strict=True)
    )


def chosen_of(held: tuple[Held, ...], label: str) -> Held | None:
    """The direction with a label.

    Args:
        held: The directions.
        label: As on the page.
    """
    return next((one for one in held if one.label == label), None)


def _fits(model: "LanguageModel", saved: SavedDirection) -> bool:
    one = saved.direction
    return (
        bool(one.site)
        and (saved.probe is not None or one.scale > 0)
        and len(one.unit) == model.d_model
        and (one.layer is None or one.layer < model.n_layers)
    )


def _order(offer: Offer, saved: SavedDirection) -> tuple[int, bool, str]:
    """What was found in this model first, and of that directions before probes."""
    distance = _distance(offer, saved.direction)
    return distance, saved.probe is not None, saved.name


def _distance(offer: Offer, direction: Direction) -> int:
    """0 for a direction of this model, 1 for one of the same name, 2 for others."""
    own, other = PurePosixPath(offer.source), PurePosixPath(direction.model)
    # A family that was trained in another home is the same in its last two folders.
    if other.parts and own.parts[-2:] == other.parts[-2:]:
        return 0
    return 1 if own.name == other.name else 2


@st.cache_resource(max_entries=4, show_spinner="Fitting directions")
def _fitted(_model: "LanguageModel", source: str, family: Path) -> tuple[Held, ...]:
    del source  # the model, for the cache
    try:
        with _model.lock:
            found = embedded_directions(_model, examples_of(family))
    except InterpError:
        # A folder that only looks like a family: then there are none.
        return ()
    return tuple(
        Held(label=f"{name} · {one.site}", direction=one) for name, one in found.items()
    )
