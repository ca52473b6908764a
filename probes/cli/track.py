"""`interp track`: metrics of every checkpoint of a series, and when they change."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from probes.cli.options import (
    Device,
    Dtype,
    Json,
    LabelColumn,
    Out,
    Ray,
    Seed,
    Shard,
    Shards,
    StatementColumn,
    TrustRemoteCode,
)
from probes.cli.output import emit, say
from probes.cli.sharing import share
from probes.series_metrics import CHEAP, chosen_metrics, metric_names


if TYPE_CHECKING:
    from interp.results import HeadTimeline

Files = list[str] | None
EXIT_SOME_FAILED = 4


Series = Annotated[
    str,
    typer.Argument(
        help="Hub id with revisions, folder of checkpoints, or a trainer's output."
    ),
]
Revisions = Annotated[
    Files, typer.Option(help="Names or patterns such as 'step*000'; repeatable.")
]
Metrics = Annotated[
    str,
    typer.Option(
        help="Attention scores (prefix_matching, previous_token, duplicate_token, "
        "...), loss, copying, composition, entropy_neurons, truth, refusal, probe; "
        f"{CHEAP} by default, and what the given data allows."
    ),
]
Statements = Annotated[
    Files, typer.Option(help="For truth and probe; as in `interp compare`.")
]
Harmful = Annotated[Files, typer.Option(help="Instructions, for refusal.")]
Harmless = Annotated[Files, typer.Option(help="The same, harmless.")]
Limit = Annotated[int | None, typer.Option(help="At most so many statements.", min=8)]
Layer = Annotated[
    int | None,
    typer.Option(help="Layer of truth, refusal and probe; the middle by default."),
]
NSequences = Annotated[int, typer.Option(help="Sequences of repeated tokens.", min=2)]
NTokens = Annotated[
    int | None, typer.Option(help="Their length; 128 by default.", min=8)
]
TokensPerStep = Annotated[
    float | None, typer.Option(help="Where the names of checkpoints do not say.")
]
Keep = Annotated[bool, typer.Option("--keep", help="Keep what is downloaded.")]


def track(
    series: Series,
    out: Out,
    revisions: Revisions = None,
    metrics: Metrics = "",
    statements: Statements = None,
    statement_column: StatementColumn = "statement",
    label_column: LabelColumn = "label",
    harmful: Harmful = None,
    harmless: Harmless = None,
    limit: Limit = None,
    layer: Layer = None,
    n_sequences: NSequences = 64,
    n_tokens: NTokens = None,
    tokens_per_step: TokensPerStep = None,
    keep: Keep = False,
    seed: Seed = 0,
    shard: Shard = None,
    ray: Ray = None,
    shards: Shards = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    trust_remote_code: TrustRemoteCode = False,
    as_json: Json = False,
) -> int:
    """Measure every checkpoint of SERIES, and say when what changes.

    The same command resumes after any interruption. Checkpoints that cannot be read are
    named and passed over; the exit code is then 4, and the same command tries them
    again.
    """
    share(shard, ray, shards, device=device)
    from interp import heads

    wanted = metric_names(metrics, statements, harmful, harmless)
    chosen = chosen_metrics(
        wanted,
        statements,
        harmful,
        harmless,
        layer=layer,
        limit=limit,
        columns=(statement_column, label_column),
    )
    timeline = heads.track(
        heads.find_series(
            series, revisions=revisions or None, tokens_per_step=tokens_per_step
        ),
        metrics=chosen,
        sequences=heads.SequenceSpec(n_sequences=n_sequences, n_tokens=n_tokens),
        out=out,
        keep=keep,
        loading=heads.Loading(
            device=device, dtype=dtype, trust_remote_code=trust_remote_code
        ),
        seed=seed,
    )
    report = _write_report(out, timeline)
    _tell(timeline, report, as_json=as_json)
    return EXIT_SOME_FAILED if timeline.failed else 0


def _write_report(out: Path, timeline: "HeadTimeline") -> Path:
    from dataclasses import replace

    from interp import atomic
    from interp.figures import report_html, report_section
    from probes.studies.report import REPORT, short_name
    from probes.studies.summary import sentences

    page = report_html(
        f"{short_name(timeline.models[0])} over training",
        [replace(report_section(timeline), summary=" ".join(sentences(timeline)))],
        timeline.provenance,
        lead="What changed during training, when and how abruptly. Bounds are 95% "
        "intervals over evaluation sequences; between two checkpoints nothing was "
        "measured, and other seeds of training may differ by far more than either.",
    )
    path = out / REPORT
    atomic.write_text(path, page)
    return path


def _tell(timeline: "HeadTimeline", report: Path, *, as_json: bool) -> None:
    from probes.studies.summary import numbers, sentences

    if as_json:
        emit({"ok": True, "report": str(report), **numbers(timeline)})
        return
    for sentence in sentences(timeline):
        say(sentence)
    for row in timeline.failed:
        say(f"Passed over {row.name}: {row.reason}")
    say(f"\nReport: {report}")
