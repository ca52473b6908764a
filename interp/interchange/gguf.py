"""GGUF control vectors, which llama.cpp and repeng steer with.

A control vector is one vector per layer, added to the output of the block: the tensor
`direction.L` belongs to `resid_post.L`, both counted from 0. llama.cpp refuses a file
with `direction.0`: it has no way to steer behind the first block.

Files are written by the package `gguf` and read by a reader of our own: files come from
anywhere, and it allocates nothing that a header merely claims.
"""

import logging
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Float

from interp import atomic
from interp.directions import Direction
from interp.errors import ConfigError, DataError, IncompatibleError, ShapeError
from interp.sites import parse


logger = logging.getLogger("interp.interchange")
ARCHITECTURE = "controlvector"
RULE = "control vector"
# The header of a control vector of 200 layers has about 12 kB.
MAX_HEADER = 4 * 2**20
MAX_ALIGNMENT = 2**16
ALIGNMENT = 32
VERSIONS = (2, 3)
_STRING, _ARRAY = 8, 9
# Bytes of each type of metadata value that has a fixed size.
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_UINT32 = 4
_DTYPES = {0: np.dtype("<f4"), 1: np.dtype("<f2")}
_NAME = re.compile(r"direction\.(\d{1,6})")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tensor:
    """One entry of the header: what the file says about a tensor."""

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int


def write_control_vector(
    directions: Sequence[Direction], path: str | Path, *, model_hint: str = ""
) -> Path:
    """Write directions as a control vector, whole or not at all.

    Each is written with its scale, so that strength 1 there is strength 1 of
    `interp.steer` here.

    Args:
        directions: One for each layer, all at `resid_post`; not of layer 0.
        path: The file; `.gguf` by convention.
        model_hint: Which model they are for; by default the directions' own. llama.cpp
            and repeng write the architecture here, as `"llama"`.

    Returns:
        The file.

    Raises:
        ConfigError: If there is no direction, one of another site or of layer 0, two of
            one layer, or no package `gguf`.
        ShapeError: If they have different dimensions.
        IncompatibleError: If they are of different models.
        DiskFullError: If the disk is full.
        UnwritableError: If the file cannot be written.

    Source:
        https://github.com/ggml-org/ggml/blob/master/docs/gguf.md;
        https://github.com/vgel/repeng.
    """
    by_layer: dict[int, Direction] = {}
    for direction in directions:
        layer = _layer(direction)
        if layer in by_layer:
            raise ConfigError(
                f"Two directions of layer {layer} were to be one control vector.",
                expected="One for each layer.",
            )
        by_layer[layer] = direction
    if not by_layer:
        raise ConfigError("No direction was given to write as a control vector.")
    widths = sorted({len(one.unit) for one in by_layer.values()})
    if len(widths) > 1:
        raise ShapeError(
            f"Directions of {widths} dimensions were to be one control vector.",
            expected="Directions of one model.",
        )
    models = sorted({one.model for one in by_layer.values() if one.model})
    if len(models) > 1:
        raise IncompatibleError(
            f"Directions of {models} were to be one control vector.",
            expected="Directions of one model.",
        )
    path = Path(path)
    vectors = {layer: by_layer[layer].vector for layer in sorted(by_layer)}
    with atomic.replacing(path) as beside:
        _write(vectors, beside, model_hint or "".join(models))
    return path


def read_control_vector(path: str | Path) -> list[Direction]:
    """Read a control vector as directions at `resid_post`, in the order of layers.

    The length of each vector becomes the scale; vectors of length 0 are left out.

    Args:
        path: A file of llama.cpp, of repeng, or of `write_control_vector`, in float32
            or float16.

    Raises:
        DataError: If the file is absent, damaged, or no control vector.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            hint, vectors = _read(file, path.stat().st_size)
    except FileNotFoundError as error:
        raise DataError(f"There is no file {str(path)!r}.") from error
    except (OSError, _DamagedError) as error:
        raise DataError(
            f"{str(path)!r} cannot be read as a control vector: {error}.",
            expected="A GGUF file of llama.cpp or repeng with tensors 'direction.1',"
            " 'direction.2', ....",
        ) from error
    found = []
    for layer, vector in sorted(vectors.items()):
        if not vector.any():
            logger.info("direction.%d of %s is zero and left out", layer, path)
            continue
        direction = Direction.from_vector(vector, site=f"resid_post.{layer}")
        found.append(replace(direction, rule=RULE, model=hint))
    if not found:
        raise DataError(f"All directions in {str(path)!r} are zero.")
    return found


def _layer(direction: Direction) -> int:
    """The number of the tensor: that of the block whose output is steered."""
    site = parse(direction.site) if direction.site else None
    component = site.component if site else ""
    layer = site.layer if site else None
    if layer is not None and component in ("resid_post", "resid_pre"):
        layer -= component == "resid_pre"
        if layer > 0:
            return layer
        raise ConfigError(
            f"The direction at {direction.site!r} cannot be in a control vector.",
            expected="llama.cpp steers behind the second block at the earliest: it"
            " refuses a file with 'direction.0'.",
            remedy="Leave it out, or find the direction at resid_post.1.",
        )
    raise ConfigError(
        f"A direction at {direction.site or 'no site'!r} cannot be in a control"
        " vector.",
        expected="Directions at 'resid_post.1', 'resid_post.2', ....",
        remedy="Find it in the residual stream, or give it a site: dataclasses.replace("
        "direction, site='resid_post.12').",
    )


def _write(
    vectors: dict[int, Float[np.ndarray, " d_model"]], path: Path, hint: str
) -> None:
    try:
        from gguf import GGUFWriter
    except ImportError as error:
        raise ConfigError(
            "Writing a control vector needs the package 'gguf'.",
            remedy="pip install 'interp[gguf]'.",
        ) from error
    writer = GGUFWriter(path, ARCHITECTURE)
    try:
        writer.add_string(f"{ARCHITECTURE}.model_hint", hint)
        writer.add_uint32(f"{ARCHITECTURE}.layer_count", len(vectors))
        for layer, vector in vectors.items():
            writer.add_tensor(f"direction.{layer}", np.ascontiguousarray(vector))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


class _DamagedError(Exception):
    """What is wrong with a file, in words that go behind its name."""


class _Header:
    """The bytes of a header in their order, never more than there are."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._limit = min(size, MAX_HEADER)
        self.size = size
        self.at = 0

    def take(self, count: int, what: str) -> bytes:
        if self.at + count > self._limit:
            whole = self._limit == self.size
            reason = "the file ends" if whole else f"{MAX_HEADER} bytes are exceeded"
            raise _DamagedError(f"{reason} in the header, in {what}")
        held = self._file.read(count)
        if len(held) != count:
            raise _DamagedError(f"the file ends in the header, in {what}")
        self.at += count
        return held

    def number(self, code: str, what: str) -> int:
        return struct.unpack(f"<{code}", self.take(struct.calcsize(code), what))[0]

    def text(self, what: str) -> str:
        held = self.take(self.number("Q", what), what)
        try:
            return held.decode()
        except UnicodeDecodeError as error:
            raise _DamagedError(f"{what} is no text") from error


def _read(
    file: BinaryIO, size: int
) -> tuple[str, dict[int, Float[np.ndarray, " d_model"]]]:
    header = _Header(file, size)
    magic = header.take(4, "the magic")
    if magic != b"GGUF":
        raise _DamagedError(f"it begins with {magic!r} and not with 'GGUF'")
    version = header.number("I", "the version")
    if version not in VERSIONS:
        swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
        big = " (it is big-endian)" if swapped in VERSIONS else ""
        raise _DamagedError(
            f"its version is {version}{big}, and versions {VERSIONS} are known"
        )
    n_tensors = header.number("Q", "the number of tensors")
    n_facts = header.number("Q", "the number of facts")
    facts: dict[str, str | int | None] = {}
    for _ in range(n_facts):
        key = header.text("a name of the metadata")
        if key in facts:
            raise _DamagedError(f"its metadata has {key!r:.60} twice")
        facts[key] = _fact(header, header.number("I", "a type of the metadata"))
    architecture = facts.get("general.architecture")
    if architecture != ARCHITECTURE:
        raise _DamagedError(
            f"its architecture is {architecture!r:.60} and not {ARCHITECTURE!r}"
        )
    tensors = [_entry(header) for _ in range(n_tensors)]
    alignment = facts.get("general.alignment", ALIGNMENT)
    if (
        not isinstance(alignment, int)
        or not 0 < alignment <= MAX_ALIGNMENT
        or alignment & (alignment - 1)
    ):
        raise _DamagedError(f"its alignment is {alignment!r:.40}")
    start = -(-header.at // alignment) * alignment
    hint = facts.get(f"{ARCHITECTURE}.model_hint")
    vectors = _vectors(file, tensors, start=start, size=size, alignment=alignment)
    return hint if isinstance(hint, str) else "", vectors


def _fact(header: _Header, kind: int) -> str | int | None:
    """A value of the metadata if it is text or a uint32; others are passed over."""
    if kind == _STRING:
        return header.text("a text of the metadata")
    if kind == _UINT32:
        return header.number("I", "a number of the metadata")
    if kind in _SIZES:
        header.take(_SIZES[kind], "a value of the metadata")
        return None
    if kind != _ARRAY:
        raise _DamagedError(f"its metadata has a value of the unknown type {kind}")
    item = header.number("I", "an array of the metadata")
    count = header.number("Q", "an array of the metadata")
    if item == _STRING:
        for _ in range(count):
            header.text("an array of the metadata")
    elif item in _SIZES:
        header.take(count * _SIZES[item], "an array of the metadata")
    else:
        raise _DamagedError(f"its metadata has an array of the type {item}")
    return None


def _entry(header: _Header) -> _Tensor:
    name = header.text("the name of a tensor")
    n_dims = header.number("I", "the shape of a tensor")
    if n_dims > 4:
        raise _DamagedError(f"the tensor {name!r:.60} has {n_dims} axes")
    shape = tuple(header.number("Q", "the shape of a tensor") for _ in range(n_dims))
    return _Tensor(
        name=name,
        shape=shape,
        kind=header.number("I", "the type of a tensor"),
        offset=header.number("Q", "the place of a tensor"),
    )


def _vectors(
    file: BinaryIO, tensors: list[_Tensor], *, start: int, size: int, alignment: int
) -> dict[int, Float[np.ndarray, " d_model"]]:
    """The tensors that are directions, by layer."""
    found: dict[int, np.ndarray] = {}
    width = read = 0
    for tensor in tensors:
        layer = _layer_named(tensor.name)
        if layer is None:
            continue
        if layer in found:
            raise _DamagedError(f"it has direction.{layer} twice")
        width = width or _width(tensor)
        if _width(tensor) != width:
            raise _DamagedError(
                f"{tensor.name} has {_width(tensor)} dimensions, and others {width}"
            )
        n_bytes = width * _DTYPES[tensor.kind].itemsize
        place = start + tensor.offset
        read += n_bytes
        # Also all together: many entries may claim the same bytes of a large file.
        if place + n_bytes > size or start + read > size or tensor.offset % alignment:
            raise _DamagedError(
                f"{tensor.name} is said to have {n_bytes} bytes at {place}, and the"
                f" file has {size}"
            )
        file.seek(place)
        held = file.read(n_bytes)
        if len(held) != n_bytes:
            raise _DamagedError(f"the file ends in {tensor.name}")
        found[layer] = np.frombuffer(held, _DTYPES[tensor.kind]).astype(np.float32)
        if not np.isfinite(found[layer]).all():
            raise _DamagedError(f"{tensor.name} has values that are not finite")
    if not found:
        raise _DamagedError("it has no tensor 'direction.1' or the like")
    return found


def _layer_named(name: str) -> int | None:
    match = _NAME.fullmatch(name)
    if match is None and name.startswith("direction"):
        raise _DamagedError(f"the tensor {name!r:.60} names no layer")
    return int(match[1]) if match else None


def _width(tensor: _Tensor) -> int:
    if tensor.kind not in _DTYPES:
        raise _DamagedError(
            f"{tensor.name} is of the type {tensor.kind}, neither F32 nor F16"
        )
    # ggml may write axes of length 1 behind the first.
    if not tensor.shape or not tensor.shape[0] or {*tensor.shape[1:]} - {1}:
        raise _DamagedError(
            f"{tensor.name} has the shape {list(tensor.shape)}, and no vector has"
        )
    return tensor.shape[0]
