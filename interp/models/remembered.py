"""Maps of architectures, kept between runs.

Importing TransformerLens takes many seconds, and all that is taken from it is a few
dozen strings that depend on the config and the versions alone. They are computed once
for each config and kept under `INTERP_HOME`. What cannot be read is made again.
"""

import logging
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from transformers import PreTrainedModel

from interp import atomic
from interp.errors import InterpError
from interp.home import interp_home
from interp.models.paths import ArchitectureMap


logger = logging.getLogger("interp.models")

# A change of what is stored or of how it is found makes older entries void.
SCHEMA = 2
_ADAPTER = TypeAdapter(ArchitectureMap)
# Where the files came from says nothing about the architecture.
_NOT_ARCHITECTURE = ("_name_or_path", "transformers_version")

Make = Callable[[PreTrainedModel], ArchitectureMap | None]


def remembered_map(hf: PreTrainedModel, make: Make) -> ArchitectureMap | None:
    """The map of a model's architecture: as kept, or made now and kept.

    Args:
        hf: The model.
        make: Makes the map; None, which is not kept, where there is no adapter.
    """
    path = _path(hf)
    found = _read(path)
    if found is not None:
        return found
    made = make(hf)
    if made is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic.write_json(path, asdict(made))
        except (OSError, InterpError) as error:
            # Nothing depends on it but the time of the next start.
            logger.info("the map of %s was not kept: %s", type(hf).__name__, error)
    return made


def _path(hf: PreTrainedModel) -> Path:
    config = hf.config.to_dict()
    for name in _NOT_ARCHITECTURE:
        config.pop(name, None)
    key = {
        "schema": SCHEMA,
        "transformers": version("transformers"),
        "transformer_lens": _adapters(),
        "class": type(hf).__name__,
        "config": repr(sorted(config.items(), key=lambda item: item[0])),
    }
    return interp_home() / "architectures" / f"{atomic.json_hash(key)}.json"


def _adapters() -> str:
    try:
        return version("transformer-lens")
    except PackageNotFoundError:
        # The core runs without; then the structure tells where things are.
        return ""


def _read(path: Path) -> ArchitectureMap | None:
    try:
        return _ADAPTER.validate_json(path.read_bytes(), strict=False, extra="forbid")
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        logger.info("%s cannot be read and is made again: %s", path, error)
        return None
