"""Settings of a study: frozen dataclasses, read strictly from TOML, hashed, overridden.

A spec is a frozen dataclass of plain values, tuples of them and nested specs. Unknown
keys and values of the wrong type are errors that name their path.
"""

import dataclasses
import json
import shlex
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from interp.errors import ConfigError, InterpError, closest


Spec = TypeVar("Spec")
HASH_LENGTH = 12
MOST_DOTS = 4000


def read_spec(path: str | Path, kind: type[Spec]) -> Spec:
    """The settings in a TOML file.

    Args:
        path: The file.
        kind: The dataclass of the settings.

    Raises:
        ConfigError: If the file is missing or not TOML, or a key is unknown or missing,
            or a value has the wrong type; the message names the key's path.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Probe:
        ...     folds: int = 5
        >>> path = getfixture("tmp_path") / "spec.toml"
        >>> _ = path.write_text("folds = 3")
        >>> read_spec(path, Probe).folds
        3
    """
    path = Path(path).expanduser()
    try:
        text = path.read_text(encoding="utf-8-sig")
        values = parse_toml(text)
    except FileNotFoundError as error:
        raise ConfigError(
            f"There is no settings file {str(path)!r}.", remedy="Check the path."
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{str(path)!r} is not TOML: {error}.", remedy="Correct that place."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{str(path)!r} is not a text file in UTF-8.", remedy="Check the path."
        ) from error
    except OSError as error:
        raise ConfigError(
            f"Cannot read {str(path)!r}: {error.strerror}.", remedy="Check the path."
        ) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"{str(path)!r} cannot be read: a number is too long, or values are nested "
            "too deep.",
            remedy="Correct that place.",
        ) from error
    return parse_spec(values, kind, where=path.name)


def parse_toml(text: str) -> dict[str, Any]:
    """The values of a TOML document from anywhere, in bounded memory.

    Args:
        text: The document.

    Raises:
        ValueError: If it is no TOML, or has a number or a key that is too long.
        RecursionError: If it is nested too deep.

    Example:
        >>> parse_toml("a.b = 1")
        {'a': {'b': 1}}
    """
    # The parser takes memory for the square of the parts of a dotted key.
    if any(line.count(".") > MOST_DOTS for line in text.split("\n")):
        raise ValueError("a key of very many parts")
    return tomllib.loads(text)


def parse_spec(
    values: Mapping[str, object], kind: type[Spec], *, where: str = "settings"
) -> Spec:
    """The settings in a nested mapping of plain values.

    Args:
        values: What TOML or JSON gave.
        kind: The dataclass of the settings.
        where: What the values came from, for the error.

    Raises:
        ConfigError: As `read_spec`.
    """
    _refuse_unknown_keys(values, kind, where, ())
    # Strict JSON rules: a list becomes a tuple, but "3" never becomes 3.
    text = json.dumps(values, default=str)
    try:
        return TypeAdapter(kind).validate_json(text, strict=True)
    except ValidationError as error:
        problem = error.errors()[0]
        cause = problem.get("ctx", {}).get("error")
        if isinstance(cause, InterpError):
            raise cause from error
        place = ".".join(str(part) for part in problem["loc"]) or "all of it"
        given = problem["input"]
        shown = "" if isinstance(given, dict) else f" (given: {given!r})"
        raise ConfigError(
            f"{where}: {place}: {problem['msg']}{shown}.",
            expected=_expected(kind, problem["loc"]),
        ) from error


def override(spec: Spec, assignments: Sequence[str]) -> Spec:
    """A copy of the settings with some values replaced.

    Args:
        spec: The settings.
        assignments: Each `path.to.key=value`; the value is TOML, or else plain text.

    Raises:
        ConfigError: If an assignment cannot be read, the key does not exist or the
            value does not fit.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Probe:
        ...     folds: int = 5
        >>> override(Probe(), ["folds=3"])
        Probe(folds=3)
    """
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        path = tuple(part.strip() for part in name.split("."))
        if not equals or not all(path):
            raise ConfigError(
                f"Cannot read the setting {assignment!r}.",
                expected="Settings are written 'path.to.key=value'.",
            )
        spec = _assigned(spec, path, text.strip(), assignment)
    return spec


def spec_hash(spec: object, *, content: Sequence[str] = ()) -> str:
    """Twelve hexadecimal characters that name these settings and what they point to.

    Args:
        spec: The settings.
        content: Hashes of what the settings name by path or id (weights, data), so that
            a changed file under an old name is a new run.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Probe:
        ...     folds: int = 5
        >>> spec_hash(Probe()) == spec_hash(Probe(folds=5)) != spec_hash(Probe(folds=3))
        True
    """
    values = _plain(_normalised(spec))
    described = [type(spec).__name__, values, *content]
    text = json.dumps(described, sort_keys=True, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()[:HASH_LENGTH]


def to_toml(spec: object) -> str:
    r"""The settings as TOML that `read_spec` turns back into them.

    A value of None is left out, since TOML has no word for it.

    Raises:
        ConfigError: If a None stands where the default is another value.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Probe:
        ...     folds: int = 5
        >>> to_toml(Probe())
        'folds = 5\n'
    """
    _refuse_lost_none(spec, ())
    values = _plain(spec)
    return "\n".join(_table_lines(values, ())).lstrip("\n") + "\n"


def _refuse_unknown_keys(
    value: object, kind: object, where: str, path: tuple[str, ...]
) -> None:
    """Walk nested specs: pydantic ignores unknown keys of standard dataclasses."""
    if isinstance(value, list | tuple):
        inner = [part for part in typing.get_args(kind) if part is not Ellipsis]
        for i, item in enumerate(value):
            for part in inner:
                _refuse_unknown_keys(item, part, where, (*path, str(i)))
    if not isinstance(value, Mapping):
        return
    for dataclass_type in _dataclasses_in(kind):
        hints = typing.get_type_hints(dataclass_type)
        known = [field.name for field in dataclasses.fields(dataclass_type)]
        for key, item in value.items():
            if key not in known:
                raise ConfigError(
                    f"{where}: there is no setting {'.'.join((*path, key))!r}.",
                    expected=f"Settings there: {', '.join(known)}.",
                    remedy=closest(key, known),
                )
            _refuse_unknown_keys(item, hints[key], where, (*path, key))


def _dataclasses_in(kind: object) -> list[type]:
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return [kind]
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return [d for part in typing.get_args(kind) for d in _dataclasses_in(part)]
    return []


def _expected(kind: type, path: tuple[int | str, ...]) -> str:
    """The type of the setting in words, when it can be found."""
    found: object = kind
    for part in path:
        nested = _dataclasses_in(found)
        if not nested or not isinstance(part, str):
            return ""
        hints = typing.get_type_hints(nested[0])
        if part not in hints:
            return ""
        found = hints[part]
    if isinstance(found, type) and not typing.get_args(found):
        return f"Its type is {found.__name__}."
    return f"Its type is {str(found).replace('typing.', '')}."


def _assigned(spec: Spec, path: tuple[str, ...], text: str, assignment: str) -> Spec:
    where = f"--set {assignment}"
    choices: list[object] = [text]
    with suppress(ValueError, RecursionError):
        choices.insert(0, parse_toml(f"value = {text}")["value"])
    problem: ConfigError | None = None
    for choice in choices:
        # Plain text that reads as a number (a revision, a name) is tried as text too.
        try:
            return parse_spec(_with(spec, path, choice), type(spec), where=where)
        except ConfigError as error:
            problem = problem or error
    assert problem is not None
    problem.remedy = problem.remedy or _as_list(spec, path, text)
    raise problem


def _with(spec: object, path: tuple[str, ...], value: object) -> dict[str, Any]:
    """The plain values of the settings, one of them replaced."""
    values = _plain(spec)
    place = values
    for part in path[:-1]:
        nested = place.get(part)
        place[part] = nested if isinstance(nested, dict) else {}
        place = place[part]
    place[path[-1]] = value
    return values


def _as_list(spec: object, path: tuple[str, ...], text: str) -> str:
    """How the same is written where the setting is a list, and the text one item."""
    try:
        parse_spec(_with(spec, path, [text]), type(spec))
    except ConfigError:
        return ""
    written = f"{'.'.join(path)}={_value([text])}"
    return f"Write it as a list: --set {shlex.quote(written)}."


def _normalised(spec: Spec) -> Spec:
    """The settings as their types say, so that 1 and 1.0 of a float hash alike."""
    return TypeAdapter(type(spec)).validate_json(json.dumps(_plain(spec)))


def _plain(spec: object) -> Any:
    """The settings as values that JSON and TOML have (infinities included)."""
    return TypeAdapter(type(spec)).dump_python(spec, mode="json", warnings=False)


def _refuse_lost_none(spec: object, path: tuple[str, ...]) -> None:
    if not dataclasses.is_dataclass(spec):
        return
    for field in dataclasses.fields(spec):
        value = getattr(spec, field.name)
        if value is None and field.default is not None:
            raise ConfigError(
                f"The setting {'.'.join((*path, field.name))!r} is None.",
                expected="TOML has no None, and leaving it out gives another value.",
            )
        _refuse_lost_none(value, (*path, field.name))


def _table_lines(values: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    """Plain values first, then one table per nested spec."""
    lines: list[str] = []
    tables: list[str] = []
    for key, value in values.items():
        if isinstance(value, dict):
            tables += ["", f"[{'.'.join(map(_key, (*path, key)))}]"]
            tables += _table_lines(value, (*path, key))
        elif value is not None:
            lines.append(f"{_key(key)} = {_value(value)}")
    return lines + tables


def _key(key: str) -> str:
    bare = key.isascii() and key.replace("-", "").replace("_", "").isalnum()
    return key if bare else _value(key)


def _value(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            # TOML spells nan and inf in lower case, as Python does.
            return repr(value)
        case str():
            # JSON's escapes are TOML's, but JSON leaves the delete character as it is.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case list() | tuple():
            return f"[{', '.join(_value(item) for item in value)}]"
        case dict():
            pairs = ", ".join(
                f"{_key(k)} = {_value(v)}" for k, v in value.items() if v is not None
            )
            return f"{{{pairs}}}"
        case _:
            raise ConfigError(f"{value!r} cannot be written as TOML.")
