"""`interp study`: one study with all its settings from a file."""

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from probes.cli.compare import report
from probes.cli.options import (
    Device,
    Json,
    Out,
    Ray,
    Shard,
    Shards,
    TrustRemoteCode,
)
from probes.cli.output import say
from probes.cli.sharing import share


if TYPE_CHECKING:
    from probes.studies.kinds import StudySpec


Name = Annotated[
    str, typer.Argument(help="truthfulness, refusal, knowledge or confidence.")
]
Config = Annotated[
    Path, typer.Argument(help="TOML file of settings, such as a run's spec.toml.")
]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Another value; repeatable."),
]
ShortForSet = Annotated[
    str | None, typer.Option(help="As in `interp compare`; short for --set.")
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Run nothing; say what it would cost, as `interp plan`."
    ),
]
Resume = Annotated[
    bool, typer.Option(help="Take what is finished, or compute everything again.")
]


def study(
    name: Name,
    config: Config,
    out: Out = Path("results"),
    assignments: Assignments = None,
    statement_column: ShortForSet = None,
    label_column: ShortForSet = None,
    dry_run: DryRun = False,
    resume: Resume = True,
    shard: Shard = None,
    ray: Ray = None,
    shards: Shards = None,
    device: Device = "auto",
    trust_remote_code: TrustRemoteCode = False,
    as_json: Json = False,
) -> int:
    """Run the study NAME with the settings in CONFIG.

    The same settings again load what is finished and go on from there. The least that
    CONFIG must hold are the two models and the data, for example

    \b
        base = "org/model"
        post = "org/model-instruct"
        statements = ["cities.csv"]
    """  # noqa: D301 - a real \b keeps the lines of the example apart
    assignments = with_columns(assignments, statement_column, label_column)
    spec = spec_of(name, config, assignments)
    if dry_run:
        from probes.cli.plan_told import plan_study

        return plan_study(spec, out, device, trust_remote_code, as_json=as_json)
    share(shard, ray, shards, device=device)
    from probes.studies.comparing import compare

    words = ["interp", "study", name, str(config), "--out", str(out)]
    words += [word for one in assignments for word in ("--set", one)]
    done = compare(
        [spec],
        out=out,
        device=device,
        trust_remote_code=trust_remote_code,
        resume=resume,
        command=shlex.join(words),
        tell=say,
    )
    report(done, as_json=as_json)
    return 0


def with_columns(
    assignments: list[str] | None,
    statement_column: str | None,
    label_column: str | None,
) -> list[str]:
    """What `--set` says, with what the options of columns say.

    Example:
        >>> with_columns(["seed=1"], "claim", None)
        ['seed=1', 'statement_column="claim"']
    """
    given = {"statement_column": statement_column, "label_column": label_column}
    named = [
        f"{key}={json.dumps(one)}" for key, one in given.items() if one is not None
    ]
    return [*(assignments or ()), *named]


def spec_of(name: str, config: Path, assignments: list[str] | None) -> "StudySpec":
    """The settings of a study from a file and from `--set`.

    Args:
        name: The study.
        config: The file.
        assignments: What `--set` says.

    Raises:
        ConfigError: If there is no such study or setting.
    """
    from interp.config import override, read_spec
    from probes.studies.kinds import checked_name, spec_class

    kind = spec_class(checked_name(name))
    return override(read_spec(config, kind), assignments or [])
