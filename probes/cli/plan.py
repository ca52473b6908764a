"""`interp plan`: what a command would compute, write and hold, before it runs."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, assert_never, get_args

import typer

from interp.errors import ConfigError, closest
from probes.cli.capture import capture
from probes.cli.compare import compare, specs_of
from probes.cli.options import Json
from probes.cli.plan_told import tell
from probes.cli.study import spec_of, study, with_columns
from probes.cli.track import track


if TYPE_CHECKING:
    from probes.planning.capturing import Planned
    from probes.studies.kinds import StudySpec

Command = Literal["capture", "track", "compare", "study"]
COMMANDS: tuple[Command, ...] = get_args(Command)
Params = Mapping[str, object]


def plan(
    command: Annotated[
        str,
        typer.Argument(
            metavar="COMMAND [ARG]...",
            help="capture, track, compare or study, with its own arguments.",
        ),
    ],
    rest: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    machines: Annotated[
        int | None,
        typer.Option(
            "--machines",
            "--shards",
            help="Among how many machines the work would be shared; 1 by default.",
            min=1,
        ),
    ] = None,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate", help="Load the model, time three batches, say how long."
        ),
    ] = False,
    as_json: Json = False,
) -> int:
    """Say what a command would cost: tokens, FLOPs, bytes, memory; run nothing.

    Put `plan` in front of the command, options of the plan before its name:

    \b
        interp plan --machines 4 capture MODEL DATA --out STORE --sites 'resid_post.*'

    Config, tokenizer and data are read, weights only with --calibrate. Where parts are
    on disk already it says what is left. The exit code is 0 if it fits, else 3.
    """  # noqa: D301 - a real \b keeps the lines of the example apart
    name = _checked(command)
    params = _parsed(name, rest or [])
    wanted = machines or params.get("shards") or 1
    assert isinstance(wanted, int)
    planned = _planned(name, params)
    if calibrate:
        planned = _timed(planned, params)
    return tell(planned, wanted, as_json=as_json or params["as_json"] is True)


def _checked(command: str) -> Command:
    for known in COMMANDS:
        if command == known:
            return known
    raise ConfigError(
        f"There is no plan of {command!r}.",
        expected=f"Commands: {', '.join(COMMANDS)}.",
        remedy=closest(command, COMMANDS),
    )


def _parsed(name: Command, words: list[str]) -> Params:
    """The parameters of the planned command, as that command reads them."""
    alone = typer.Typer(rich_markup_mode=None)
    alone.command()(_function(name))
    own = typer.main.get_command(alone)
    return own.make_context(f"interp {name}", words).params


def _function(name: Command) -> Callable[..., int]:
    match name:
        case "capture":
            return capture
        case "track":
            return track
        case "compare":
            return compare
        case "study":
            return study
        case _:
            assert_never(name)


def _planned(name: Command, params: Params) -> "Planned":
    from probes.planning.capturing import planned_capture
    from probes.planning.studies import planned_studies
    from probes.planning.tracking import planned_track

    match name:
        case "capture":
            return planned_capture(params)
        case "track":
            return planned_track(params)
        case "compare" | "study":
            return planned_studies(_specs(name, params), params, command=name)
        case _:
            assert_never(name)


def _specs(name: Literal["compare", "study"], params: Params) -> "list[StudySpec]":
    if name == "compare":
        return specs_of(params)
    config = params["config"]
    assert isinstance(config, Path)
    columns = [params["statement_column"], params["label_column"]]
    assignments = with_columns(
        _list(params["assignments"]),
        *(None if one is None else str(one) for one in columns),
    )
    return [spec_of(str(params["name"]), config, assignments)]


def _list(value: object) -> list[str] | None:
    return [str(one) for one in value] if isinstance(value, list | tuple) else None


def _timed(planned: "Planned", params: Params) -> "Planned":
    from probes.planning.calibrating import calibrated

    return replace(planned, plan=calibrated(planned, params))
