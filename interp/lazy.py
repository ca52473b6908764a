"""Packages whose names are imported on first use, so that importing them is quick."""

import gc
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import no_type_check


@contextmanager
def collector_paused() -> Iterator[None]:
    """Imports without the garbage collector, which is as it was afterwards.

    What modules define stays until the end, so that searching it for garbage finds
    none: it takes a fifth of the time in which torch and transformers are imported.

    Example:
        >>> with collector_paused():
        ...     import json
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def lazy_names(
    package: str, where: Mapping[str, str], modules: Sequence[str] = ()
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """The `__getattr__` and `__dir__` of a package that imports its names when used.

    A type checker does not see through it: the package repeats the imports under
    `if TYPE_CHECKING`.

    Args:
        package: Its `__name__`.
        where: The module of each name.
        modules: Modules of the package that are imported on first use, too.

    Example:
        >>> getattribute, listing = lazy_names("interp", {"Site": "interp.sites"})
        >>> getattribute("Site").__name__, "Site" in listing()
        ('Site', True)
    """

    # Python asks for submodules here before it imports them: too early for type checks.
    @no_type_check
    def getattribute(name: str) -> object:
        if name not in modules and name not in where:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with collector_paused():
            if name in modules:
                return importlib.import_module(f"{package}.{name}")
            value = getattr(importlib.import_module(where[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    @no_type_check
    def listing() -> list[str]:
        # What completion offers: the public names, not the imports of the package.
        internal = (name for name in vars(sys.modules[package]) if "__" in name)
        return sorted({*where, *modules, *internal})

    return getattribute, listing
