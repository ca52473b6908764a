"""What can be wrong with a file: bytes changed, cut, put in; values that lie."""

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from hypothesis import HealthCheck, settings, strategies as st


# Many more examples, and others in each run.
LONG = settings.get_current_profile_name() == "long"
TIMES = 100

Damage = Callable[[bytes], bytes]
PIECES = (
    *(b"", b"\0", b"\n", b"\r\n", b'"', b"{", b"}", b"[", b",", b":", b"\\", b"'''"),
    *(b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\x80", b"\xf4\x90\x80\x80"),
    *(b"NaN", b"-1", b"1e999", b"null", b"9" * 5000, b"[" * 2000, b'{"a":' * 500),
    b"\xff" * 8,
    b"\xff" * 7 + b"\x7f",
    b"\x00" * 64,
)
# In place of any value of a JSON document.
LIES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 2**31, 2**63, 2**64, 10**400, -0.5, 1e308, float("nan")),
    *("", "x", "0", "\ud800", "a\nb", "../../../etc/passwd", "/etc/passwd", "x" * 3000),
    *([], [[]], {}, {"": {}}, [1, "a", None], {"a": [1]}, "NaN", [None] * 20),
)


def examples(number: int) -> settings:
    """So many examples, the same ones each time; many more in the long form."""
    return settings(
        max_examples=number * (TIMES if LONG else 1),
        derandomize=not LONG,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )


@st.composite
def damages(draw: st.DrawFn) -> Damage:
    """One to four changes of bytes, at places that follow the length of the file."""
    changes = draw(st.lists(_changes(), min_size=1, max_size=4))

    def damaged(content: bytes) -> bytes:
        for change in changes:
            content = change(content)
        return content

    return damaged


@st.composite
def _changes(draw: st.DrawFn) -> Damage:
    where, length = draw(st.floats(0, 1)), draw(st.integers(0, 40))
    kind = draw(st.sampled_from(("byte", "cut", "out", "in", "twice", "header")))
    piece = draw(st.sampled_from(PIECES) | st.binary(max_size=9))
    number = draw(st.integers(0, 255))

    def changed(content: bytes) -> bytes:
        at = int(where * max(0, len(content) - 1))
        before, after = content[:at], content[at:]
        match kind:
            case "byte":
                return before + bytes([number]) + after[1:]
            case "cut":
                return before
            case "out":
                return before + after[length:]
            case "in":
                return before + piece + after
            case "twice":
                return before + after[:length] + after
            case _:
                # The lengths that a header claims stand in its first bytes.
                at %= 16
                return content[:at] + piece + content[at + len(piece) :]

    return changed


@st.composite
def lies(draw: st.DrawFn) -> Callable[[Any], Any]:
    """Values of a JSON document replaced, left out or added."""
    changes = draw(
        st.lists(
            st.tuples(
                st.lists(st.integers(0, 30), min_size=1, max_size=6),
                st.sampled_from(("value", "out", "more", "swap")),
                st.sampled_from(LIES),
            ),
            min_size=1,
            max_size=3,
        )
    )

    def told(document: Any) -> Any:
        document = json.loads(json.dumps(document))
        for path, kind, value in changes:
            document = _replaced(document, path, kind, deepcopy(value))
        return document

    return told


def of_header(content: bytes, change: Callable[[Any], Any]) -> bytes:
    """A safetensors file of which the header is changed, but not its length's truth."""
    length = int.from_bytes(content[:8], "little")
    header = json.dumps(change(json.loads(content[8 : 8 + length]))).encode()
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


def _replaced(document: Any, path: list[int], kind: str, value: Any) -> Any:
    if not isinstance(document, dict | list) or not document:
        return value
    keys = list(document) if isinstance(document, dict) else list(range(len(document)))
    key = keys[path[0] % len(keys)]
    if len(path) > 1 and isinstance(document[key], dict | list) and document[key]:
        document[key] = _replaced(document[key], path[1:], kind, value)
        return document
    match kind:
        case "out":
            del document[key]
        case "more" if isinstance(document, dict):
            document["more"] = value
        case "swap":
            other = keys[path[-1] % len(keys)]
            document[key], document[other] = document[other], document[key]
        case _:
            document[key] = value
    return document
