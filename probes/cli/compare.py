"""`interp compare`: what post-training changed, as results and a report."""

import shlex
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Annotated

import typer

from probes.cli.options import (
    Device,
    Dtype,
    Files,
    Harmful,
    Harmless,
    Json,
    LabelColumn,
    Out,
    Ray,
    Seed,
    Shard,
    Shards,
    StatementColumn,
    Statements,
    TrustRemoteCode,
)
from probes.cli.output import emit, say
from probes.cli.sharing import share


if TYPE_CHECKING:
    from probes.studies.comparing import Comparison
    from probes.studies.kinds import StudySpec


def compare(
    base: Annotated[str, typer.Argument(help="Hub id or folder of the base model.")],
    post: Annotated[
        str, typer.Argument(help="Hub id or folder of the post-trained model.")
    ],
    out: Out,
    more: Annotated[
        Files,
        typer.Argument(
            metavar="[FILE]...",
            help="Further statement files, so that --statements *.csv works.",
        ),
    ] = None,
    statements: Statements = None,
    harmful: Harmful = None,
    harmless: Harmless = None,
    texts: Annotated[
        Files,
        typer.Option(
            help="Ordinary texts for the confidence study, one a line or a column "
            "text; true statements by default."
        ),
    ] = None,
    studies: Annotated[
        str,
        typer.Option(
            help="truthfulness,refusal,knowledge,confidence; those whose data is given "
            "by default."
        ),
    ] = "",
    statement_column: StatementColumn = "statement",
    label_column: LabelColumn = "label",
    group: Annotated[
        str | None,
        typer.Option(help="Column of what statements are about; found by default."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            help="At most so many statements, and instructions of each kind.", min=8
        ),
    ] = None,
    max_new_tokens: Annotated[
        int, typer.Option(help="Where answers to instructions are cut.", min=1)
    ] = 48,
    batch_size: Annotated[
        int, typer.Option(help="Instructions that are answered together.", min=1)
    ] = 64,
    base_revision: Annotated[
        str | None, typer.Option(help="Revision of BASE on the hub.")
    ] = None,
    post_revision: Annotated[
        str | None, typer.Option(help="Revision of POST on the hub.")
    ] = None,
    seed: Seed = 0,
    shard: Shard = None,
    ray: Ray = None,
    shards: Shards = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    trust_remote_code: TrustRemoteCode = False,
    as_json: Json = False,
) -> int:
    """Compare a base model with the model that was post-trained from it.

    Runs the studies whose data is given and writes OUT/report.html. The same command
    again loads what is finished and goes on from there.
    """
    share(shard, ray, shards, device=device)
    from probes.studies.comparing import compare as run
    from probes.studies.specs import LEFT_OUT_IF_UNSUITABLE

    settings = {
        "base_revision": base_revision,
        "post_revision": post_revision,
        "dtype": dtype,
        "limit": limit,
        "statement_column": statement_column,
        "label_column": label_column,
        "group": group,
        "max_new_tokens": max_new_tokens,
        "batch_size": batch_size,
        "seed": seed,
    }
    files = {
        "statements": [*(statements or ()), *(more or ())],
        "harmful": harmful,
        "harmless": harmless,
        "texts": texts,
    }
    asked = named(studies)
    done = run(
        specs_of(base, post, files, asked=asked, settings=settings),
        out=out,
        device=device,
        trust_remote_code=trust_remote_code,
        may_leave_out=() if asked else LEFT_OUT_IF_UNSUITABLE,
        tell=say,
    )
    report(done, as_json=as_json)
    return 0


def named(studies: str) -> list[str]:
    """The names in a list with commas.

    Example:
        >>> named("truthfulness, refusal,")
        ['truthfulness', 'refusal']
    """
    return [name.strip() for name in studies.split(",") if name.strip()]


def specs_of(
    base: str,
    post: str,
    files: Mapping[str, Files],
    *,
    asked: list[str],
    settings: Mapping[str, object],
) -> "list[StudySpec]":
    """The settings of every study of a comparison.

    Args:
        base: Hub id or folder of the base model.
        post: Hub id or folder of the post-trained model.
        files: Data by the fields of `Sources`.
        asked: The studies that were named; none for those whose data is given.
        settings: Settings of the command line; a study takes those that it has.

    Raises:
        ConfigError: If a study does not exist or lacks its data.
    """
    from probes.studies.kinds import Sources
    from probes.studies.specs import specs_for

    sources = Sources(**{name: tuple(given or ()) for name, given in files.items()})
    specs = specs_for(base, post, sources, studies=asked)
    return [_with(spec, settings) for spec in specs]


def _with(spec: "StudySpec", settings: Mapping[str, object]) -> "StudySpec":
    """A study's settings with those of the command line that it has."""
    own = {field.name for field in fields(spec)} & set(settings)
    return replace(spec, **{name: settings[name] for name in own})


def report(done: "Comparison", *, as_json: bool) -> None:
    """Say what a comparison found: as one JSON object, or in a few lines."""
    from probes.studies.summary import numbers, sentences

    for name, result in done.results.items():
        say(f"\n{name}")
        for sentence in sentences(result):
            say(f"  {sentence}")
    say(f"\nReport: {done.report}")
    say(f"In the browser: interp explore {shlex.quote(str(done.out))}")
    if as_json:
        emit(
            {
                "ok": True,
                "out": str(done.out),
                "report": str(done.report),
                "resumed": list(done.resumed),
                "studies": {
                    name: {"run": str(done.runs[name]), **numbers(result)}
                    for name, result in done.results.items()
                },
            }
        )
