"""No bytes make a reader fail otherwise than in one clear line."""

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from fuzz.damage import Damage, damages, examples, lies, of_header
from fuzz.readers import READERS, Reader
from hypothesis import given

from interp.errors import InterpError


DOCUMENTS = [name for name in READERS if name.endswith((".json", "share"))]
HEADERS = [
    *("direction", "subspace", "eraser", "arrays.safetensors", "store shard"),
    *("model model.safetensors", "measured", "patched", "training state.safetensors"),
]


def check(reader: Reader, path, content: bytes) -> None:
    path.write_bytes(content)
    said = "nothing"
    try:
        reader.signed(path)
        reader.read(path)
    except InterpError as error:
        said = str(error)
    assert said.strip()
    assert "\n" not in said


@pytest.mark.parametrize("name", READERS)
def test_damaged_bytes_are_refused_or_read(name, tmp_path, caplog):
    caplog.set_level(logging.CRITICAL)
    reader = READERS[name]
    path = reader.make(tmp_path)
    whole = path.read_bytes()
    # A fuzzer whose file is refused from the start would test nothing.
    reader.read(path)

    @examples(15)
    @given(damage=damages())
    def fuzz(damage: Damage) -> None:
        check(reader, path, damage(whole))

    fuzz()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_values_that_lie_are_refused_or_read(name, tmp_path, caplog):
    caplog.set_level(logging.CRITICAL)
    reader = READERS[name]
    path = reader.make(tmp_path)
    document = json.loads(path.read_bytes())

    @examples(15)
    @given(change=lies())
    def fuzz(change: Callable[[Any], Any]) -> None:
        check(reader, path, json.dumps(change(document)).encode())

    fuzz()


@pytest.mark.parametrize("name", HEADERS)
def test_headers_that_lie_are_refused_or_read(name, tmp_path, caplog):
    caplog.set_level(logging.CRITICAL)
    reader = READERS[name]
    path = reader.make(tmp_path)
    whole = path.read_bytes()

    @examples(15)
    @given(change=lies())
    def fuzz(change: Callable[[Any], Any]) -> None:
        check(reader, path, of_header(whole, change))

    fuzz()
