"""Hook points of the sites that are asked for, remembered from call to call."""

from collections.abc import Hashable, Iterable
from weakref import WeakKeyDictionary

from torch import nn

from interp.models.architecture import Architecture
from interp.models.hookpoints import HookPoint
from interp.models.language_model import LanguageModel
from interp.sites import Site


Sites = str | Site | Iterable[str | Site]

# With small models finding the points again would be a good part of a capture's cost.
_known: "WeakKeyDictionary[Architecture, dict[Hashable, _Found]]" = WeakKeyDictionary()


class _Found:
    """Hook points, and where their modules were found."""

    def __init__(self, hf: nn.Module, points: list[HookPoint]) -> None:
        self.points = points
        self._places: list[tuple[nn.Module, str, nn.Module]] = []
        for point in points:
            parent, _, name = point.path.rpartition(".")
            if name:
                self._places.append((hf.get_submodule(parent), name, point.module))

    def holds(self) -> bool:
        """Whether no module has been replaced since, by an adapter for instance."""
        return all(
            parent._modules.get(name) is module for parent, name, module in self._places
        )


def hook_points(model: LanguageModel, sites: Sites) -> list[HookPoint]:
    """The hook points of the sites, in forward order.

    Raises:
        UnknownSiteError: If a name is no site or a layer is not in the model.
        MissingSiteError: If the architecture has no such site.
    """
    key = sites if isinstance(sites, str | Site) else tuple(sites)
    known = _known.setdefault(model.architecture, {})
    if key not in known or not known[key].holds():
        known[key] = _Found(model.hf, model.architecture.points(key))
    return known[key].points
