"""`interp export`: a result or its directions in the formats of other programs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, assert_never

import typer

from probes.cli.options import Json
from probes.cli.output import emit, say


if TYPE_CHECKING:
    from interp.directions import Direction

To = Literal["csv", "parquet", "html", "python", "gguf", "neuronpedia"]
FOLDER = "directions"


Place = Annotated[
    Path, typer.Argument(help="A run, a result, or the file of a direction.")
]
File = Annotated[Path, typer.Argument(help="The file to write.")]
Format = Annotated[To, typer.Option(help="Which format.")]
Names = Annotated[
    list[str] | None,
    typer.Option(
        help="For gguf and neuronpedia: which direction of the run, as truth-post; "
        "the only one by default. Repeatable for gguf: one for each layer."
    ),
]
ModelId = Annotated[str, typer.Option(help="What the other program calls the model.")]
Label = Annotated[str, typer.Option(help="For neuronpedia: what the vector is called.")]
Force = Annotated[bool, typer.Option("--force", help="Replace FILE if it is there.")]


def export(
    result: Place,
    file: File,
    to: Format,
    direction: Names = None,
    model_id: ModelId = "",
    label: Label = "",
    force: Force = False,
    as_json: Json = False,
) -> int:
    """Write RESULT to FILE as a table, a page, Python, or its directions for others.

    csv, parquet: the rows of the result. html: its figures, working offline. python:
    the lines that open it again. gguf: a control vector of llama.cpp and repeng, added
    behind the blocks at every position. neuronpedia: the JSON of one vector; nothing is
    sent anywhere.
    """
    from interp import atomic

    place = result.expanduser()
    _check_file(file, force=force)
    match to:
        case "csv" | "parquet" | "html" | "python":
            if direction or label or model_id:
                _refuse_options(to)
            atomic.write_bytes(file, _contents(place, to))
        case "gguf":
            from interp.interchange import write_control_vector

            found = _directions(place, direction or [])
            write_control_vector([*found.values()], file, model_hint=model_id)
        case "neuronpedia":
            from interp.interchange import write_vector

            write_vector(
                _one(place, direction or []), file, model_id=model_id, label=label
            )
        case _:
            assert_never(to)
    n_bytes = file.stat().st_size
    say(f"{file}: {n_bytes} bytes")
    if as_json:
        emit({"ok": True, "path": str(file), "format": to, "bytes": n_bytes})
    return 0


def _contents(place: Path, to: Literal["csv", "parquet", "html", "python"]) -> bytes:
    from interp import results
    from interp.figures.export import (
        csv_bytes,
        parquet_bytes,
        python_code,
        result_page,
    )

    found = results.load(place)
    match to:
        case "csv":
            return csv_bytes(found.to_dataframe())
        case "parquet":
            return parquet_bytes(found.to_dataframe())
        case "html":
            return result_page(found)
        case "python":
            return f"{python_code(place.resolve())}\n".encode()
        case _:
            assert_never(to)


def _directions(place: Path, names: list[str]) -> "dict[str, Direction]":
    """The directions that are asked for, or the only one.

    Raises:
        ConfigError: If there is none of a name, or several and none was named.
        ResultError: If the place holds no direction.
    """
    from interp.directions.stored import read_direction
    from interp.errors import ConfigError, ResultError, closest

    if place.is_file() and place.suffix == ".safetensors":
        return {place.stem: read_direction(place)}
    files = {path.stem: path for path in sorted(_folder(place).glob("*.safetensors"))}
    if not files:
        raise ResultError(
            f"{str(place)!r} has no saved directions.",
            expected=f"Runs of the truthfulness and refusal studies keep them in "
            f"{FOLDER}/, if they found a usable one.",
            remedy="Run the study again, or give the .safetensors file of a direction.",
        )
    unknown = [name for name in names if name not in files]
    if unknown:
        raise ConfigError(
            f"{str(place)!r} has no direction {unknown[0]!r}.",
            expected=f"Its directions: {', '.join(files)}.",
            remedy=closest(unknown[0], files),
        )
    if not names and len(files) > 1:
        raise ConfigError(
            f"{str(place)!r} has {len(files)} directions.",
            expected=f"One of {', '.join(files)}.",
            remedy=f"Name it: --direction {next(iter(files))}.",
        )
    return {name: read_direction(files[name]) for name in names or files}


def _one(place: Path, names: list[str]) -> "Direction":
    from interp.errors import ConfigError

    found = _directions(place, names)
    if len(found) > 1:
        raise ConfigError(
            f"{len(found)} directions were named.",
            expected="A file for Neuronpedia holds one vector.",
            remedy="Write one file for each.",
        )
    return next(iter(found.values()))


def _folder(place: Path) -> Path:
    """The folder of directions of a run, of its result, or the one that was given."""
    from interp.errors import ResultError

    if not place.exists():
        raise ResultError(
            f"There is no folder {str(place)!r}.",
            expected="A run, a result, or the file of a direction.",
            remedy="Check the path.",
        )
    place = place.parent if place.is_file() else place
    run = place.parent if place.name in ("result", FOLDER) else place
    return run / FOLDER


def _check_file(file: Path, *, force: bool) -> None:
    from interp.errors import ConfigError

    if file.is_dir():
        raise ConfigError(
            f"{str(file)!r} is a folder.",
            expected="The name of a file to write.",
        )
    if file.exists() and not force:
        raise ConfigError(
            f"{str(file)!r} is there already.",
            remedy="Choose another name, or replace it with --force.",
        )


def _refuse_options(to: str) -> None:
    from interp.errors import ConfigError

    raise ConfigError(
        f"--direction, --model-id and --label do nothing with --to {to}.",
        expected="They are for gguf and neuronpedia.",
        remedy="Leave them out.",
    )
