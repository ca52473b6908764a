"""Vectors as Neuronpedia takes them: the JSON of its call that makes a new vector.

What is sent is written to a file and read back from one; nothing here talks to a
server. There a strength is a multiple of the vector that was given, here of the
distance between the class means. So vectors are written with length 1 and the distance
as default strength, which also holds where a server normalises vectors.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from interp import atomic
from interp.directions import Direction
from interp.errors import ConfigError, DataError
from interp.sites import parse


HOOKS = {"resid_pre": "hook_resid_pre", "resid_post": "hook_resid_post"}
RULE = "Neuronpedia vector"
# What the server accepts.
MAX_STRENGTH, MAX_DIMENSIONS = 300.0, 24_576
# The default strength of vectors that would need more: half of the slider is left.
USUAL_STRENGTH = 100.0
MAX_LABEL = 200
# A vector of the most dimensions takes less than 1 MB.
MAX_BYTES = 8 * 2**20


def vector_payload(
    direction: Direction, *, model_id: str = "", label: str = "", strength: float = 1.0
) -> dict[str, str | int | float | list[float]]:
    """What Neuronpedia's `POST /api/vector/new` takes for a direction.

    Args:
        direction: In the residual stream, before or after a block.
        model_id: What Neuronpedia calls the model, as `"gemma-2-2b"`; by default the
            last part of the direction's own model name.
        label: What the vector is called; by default how the direction was made.
        strength: The default strength, in units of the distance of the class means.

    Raises:
        ConfigError: If the direction is of another site or of too many dimensions, no
            model is named, or the strength is not finite.

    Source:
        https://docs.neuronpedia.org/api; the repository hijohnnylin/neuronpedia.

    Example:
        >>> up = Direction.from_vector(np.array([0.0, 4.0]), site="resid_post.3")
        >>> found = vector_payload(up, model_id="gpt2-small", label="up")
        >>> found["vector"], found["vectorDefaultSteerStrength"], found["hookType"]
        ([0.0, 1.0], 4.0, 'hook_resid_post')
    """
    hook, layer = _hook(direction)
    name = model_id or direction.model.rstrip("/").split("/")[-1]
    if not name:
        raise ConfigError(
            "The direction does not know its model.",
            expected="Neuronpedia needs the name of one, as 'gpt2-small'.",
            remedy="Give model_id, on the command line --model-id.",
        )
    if not math.isfinite(strength):
        raise ConfigError(f"The strength is {strength}.", expected="A finite number.")
    if len(direction.unit) > MAX_DIMENSIONS:
        raise ConfigError(
            f"The direction has {len(direction.unit)} dimensions.",
            expected=f"Neuronpedia takes at most {MAX_DIMENSIONS}.",
        )
    raw = strength * direction.scale
    length = 1.0 if abs(raw) <= MAX_STRENGTH else abs(raw) / USUAL_STRENGTH
    vector = direction.unit.astype(np.float64) * length
    return {
        "modelId": name,
        "layerNumber": layer,
        "hookType": hook,
        "vector": [float(value) for value in vector],
        "vectorDefaultSteerStrength": raw / length,
        "vectorLabel": (label or direction.rule)[:MAX_LABEL],
    }


def write_vector(
    direction: Direction,
    path: str | Path,
    *,
    model_id: str = "",
    label: str = "",
    strength: float = 1.0,
) -> Path:
    """Write a direction as the JSON that Neuronpedia takes, whole or not at all.

    Args:
        direction: In the residual stream, before or after a block.
        path: The file; `.json` by convention.
        model_id: See `vector_payload`.
        label: See `vector_payload`.
        strength: See `vector_payload`.

    Returns:
        The file.

    Raises:
        ConfigError: If the direction cannot be a vector of Neuronpedia.
        DiskFullError: If the disk is full.
        UnwritableError: If the file cannot be written.
    """
    payload = vector_payload(
        direction, model_id=model_id, label=label, strength=strength
    )
    path = Path(path)
    atomic.write_text(path, json.dumps(payload, allow_nan=False) + "\n")
    return path


def read_vector(path: str | Path) -> Direction:
    """Read a vector of Neuronpedia as a direction; strength 1 is its default strength.

    Args:
        path: A file of `write_vector`, or of the same fields from elsewhere.

    Raises:
        DataError: If the file is absent, damaged, or no such vector.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES} bytes")
        fields = json.loads(path.read_bytes(), parse_constant=_not_finite)
        return _direction(fields)
    except FileNotFoundError as error:
        raise DataError(f"There is no file {str(path)!r}.") from error
    except (OSError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise DataError(
            f"{str(path)!r} cannot be read as a vector of Neuronpedia: {error}",
            expected="A JSON object with modelId, layerNumber, hookType, vector,"
            " vectorDefaultSteerStrength and vectorLabel.",
        ) from error


def _hook(direction: Direction) -> tuple[str, int]:
    site = parse(direction.site) if direction.site else None
    if site is not None and site.component in HOOKS and site.layer is not None:
        return HOOKS[site.component], site.layer
    raise ConfigError(
        f"A direction at {direction.site or 'no site'!r} cannot be a vector of"
        " Neuronpedia.",
        expected="It steers in the residual stream: resid_pre or resid_post.",
        remedy="Find it there, or give it a site: dataclasses.replace(direction,"
        " site='resid_post.12').",
    )


def _direction(fields: object) -> Direction:
    if not isinstance(fields, Mapping):
        raise ValueError("it is no JSON object.")
    components = {hook: component for component, hook in HOOKS.items()}
    hook, layer = fields.get("hookType"), fields.get("layerNumber")
    if hook not in components:
        raise ValueError(f"its hookType is {hook!r:.40}.")
    if not isinstance(layer, int) or isinstance(layer, bool) or layer < 0:
        raise ValueError(f"its layerNumber is {layer!r:.40}.")
    values = fields.get("vector")
    if not isinstance(values, list) or not all(_is_number(one) for one in values):
        raise ValueError("its vector is no list of numbers.")
    strength = fields.get("vectorDefaultSteerStrength", 1.0)
    if not _is_number(strength) or not strength:
        raise ValueError(f"its vectorDefaultSteerStrength is {strength!r:.40}.")
    # A negative default strength steers against the vector.
    vector = np.array(values, dtype=np.float64) * float(strength)
    site = f"{components[str(hook)]}.{layer}"
    direction = Direction.from_vector(vector, site=site)
    return replace(
        direction,
        rule=str(fields.get("vectorLabel") or RULE),
        model=str(fields.get("modelId") or ""),
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _not_finite(word: str) -> float:
    raise ValueError(f"it holds {word}, which is not finite.")
