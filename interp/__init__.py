"""Mechanistic interpretability of causal language models.

Importing this package imports nothing heavy: every name below is loaded on first use.
"""

from typing import TYPE_CHECKING

from interp.lazy import lazy_names


if TYPE_CHECKING:
    from interp.activations import Activations as Activations, capture as capture
    from interp.directions.files import load_probe as load_probe
    from interp.edits import (
        ablate as ablate,
        clamp as clamp,
        edit as edit,
        erase as erase,
        orthogonalise as orthogonalise,
        patch as patch,
        steer as steer,
    )
    from interp.errors import InterpError as InterpError
    from interp.models.language_model import LanguageModel as LanguageModel
    from interp.models.loading import load as load
    from interp.sites import Site as Site

    from . import (
        activations as activations,
        data as data,
        directions as directions,
        edits as edits,
        errors as errors,
        figures as figures,
        formation as formation,
        heads as heads,
        interchange as interchange,
        lens as lens,
        models as models,
        neurons as neurons,
        organism as organism,
        patching as patching,
        positions as positions,
        progress as progress,
        results as results,
        sites as sites,
        statistics as statistics,
        store as store,
        streaming as streaming,
    )


_WHERE = {
    "load": "interp.models.loading",
    "load_probe": "interp.directions.files",
    "LanguageModel": "interp.models.language_model",
    "Site": "interp.sites",
    "InterpError": "interp.errors",
    "capture": "interp.activations",
    "Activations": "interp.activations",
    "edit": "interp.edits",
    "erase": "interp.edits",
    "steer": "interp.edits",
    "ablate": "interp.edits",
    "patch": "interp.edits",
    "clamp": "interp.edits",
    "orthogonalise": "interp.edits",
}
_MODULES = (
    "activations",
    "data",
    "directions",
    "edits",
    "errors",
    "figures",
    "formation",
    "heads",
    "interchange",
    "lens",
    "models",
    "neurons",
    "organism",
    "patching",
    "positions",
    "progress",
    "results",
    "sites",
    "statistics",
    "store",
    "streaming",
)

__getattr__, __dir__ = lazy_names(__name__, _WHERE, _MODULES)
