"""`interp compare`: what post-training changed, as results and a report."""

import shlex
from collections.abc import Collection, Mapping
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


Base = Annotated[str, typer.Argument(help="Hub id or folder of the base model.")]
Post = Annotated[
    str, typer.Argument(help="Hub id or folder of the post-trained model.")
]
More = Annotated[
    Files,
    typer.Argument(
        metavar="[FILE]...",
        help="Further statement files, so that --statements *.csv works.",
    ),
]
Texts = Annotated[
    Files,
    typer.Option(
        help="Ordinary texts for the confidence study, one a line or a column "
        "text; true statements by default."
    ),
]
Studies = Annotated[
    str,
    typer.Option(
        help="truthfulness,refusal,knowledge,confidence; those whose data is given "
        "by default."
    ),
]
Group = Annotated[
    str | None,
    typer.Option(help="Column of what statements are about; found by default."),
]
Limit = Annotated[
    int | None,
    typer.Option(
        help="At most so many statements, and instructions of each kind.", min=8
    ),
]
MaxNewTokens = Annotated[
    int, typer.Option(help="Where answers to instructions are cut.", min=1)
]
BatchSize = Annotated[
    int, typer.Option(help="Instructions that are answered together.", min=1)
]
BaseRevision = Annotated[str | None, typer.Option(help="Revision of BASE on the hub.")]
PostRevision = Annotated[str | None, typer.Option(help="Revision of POST on the hub.")]


def compare(
    base: Base,
    post: Post,
    out: Out,
    more: More = None,
    statements: Statements = None,
    harmful: Harmful = None,
    harmless: Harmless = None,
    texts: Texts = None,
    studies: Studies = "",
    statement_column: StatementColumn = "statement",
    label_column: LabelColumn = "label",
    group: Group = None,
    limit: Limit = None,
    max_new_tokens: MaxNewTokens = 48,
    batch_size: BatchSize = 64,
    base_revision: BaseRevision = None,
    post_revision: PostRevision = None,
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
    # By name, as `interp plan` has them, too: most are settings of the studies.
    params = locals()
    share(shard, ray, shards, device=device)
    from probes.studies.comparing import compare as run
    from probes.studies.specs import LEFT_OUT_IF_UNSUITABLE

    done = run(
        specs_of(params),
        out=out,
        device=device,
        trust_remote_code=trust_remote_code,
        may_leave_out=() if named(studies) else LEFT_OUT_IF_UNSUITABLE,
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


def specs_of(params: Mapping[str, object]) -> "list[StudySpec]":
    """The settings of every study of a comparison.

    Args:
        params: The parameters of `interp compare` by name.

    Raises:
        ConfigError: If a study does not exist or lacks its data.
    """
    from probes.studies.kinds import Sources
    from probes.studies.specs import specs_for

    sources = Sources(
        statements=(*_files(params, "statements"), *_files(params, "more")),
        harmful=_files(params, "harmful"),
        harmless=_files(params, "harmless"),
        texts=_files(params, "texts"),
    )
    asked = named(str(params["studies"]))
    specs = specs_for(str(params["base"]), str(params["post"]), sources, studies=asked)
    data = {field.name for field in fields(sources)}
    return [_with(spec, params, leave=data) for spec in specs]


def _files(params: Mapping[str, object], name: str) -> tuple[str, ...]:
    given = params[name]
    return tuple(map(str, given)) if isinstance(given, list | tuple) else ()


def _with(
    spec: "StudySpec", params: Mapping[str, object], *, leave: Collection[str]
) -> "StudySpec":
    """A study's settings with those of the command line that it has."""
    own = {field.name for field in fields(spec)} & set(params) - set(leave)
    return replace(spec, **{name: params[name] for name in own})


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
