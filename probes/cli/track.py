"""`interp track`: metrics of every checkpoint of a series, and when they change."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, assert_never, get_args

import typer

from probes.cli.options import Device, Dtype, Json, Seed, TrustRemoteCode
from probes.cli.output import emit, say
from probes.cli.sharing import RayOption, ShardOption, ShardsOption, share


if TYPE_CHECKING:
    from interp.heads import CheckpointMetric
    from interp.results import HeadTimeline

Files = list[str] | None
EXIT_SOME_FAILED = 4
# Other than the attention scores, which go by their own names.
Other = Literal[
    "loss", "copying", "composition", "entropy_neurons", "truth", "refusal", "probe"
]
OTHERS: tuple[Other, ...] = get_args(Other)
CHEAP = "prefix_matching,previous_token,loss"


def track(
    series: Annotated[
        str,
        typer.Argument(
            help="Hub id with revisions, folder of checkpoints, or a trainer's output."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for results and report.")],
    revisions: Annotated[
        list[str] | None,
        typer.Option(help="Names or patterns such as 'step*000'; repeatable."),
    ] = None,
    metrics: Annotated[
        str,
        typer.Option(
            help="Attention scores (prefix_matching, previous_token, duplicate_token, "
            "...), loss, copying, composition, entropy_neurons, truth, refusal, probe; "
            f"{CHEAP} by default, and what the given data allows."
        ),
    ] = "",
    statements: Annotated[
        Files, typer.Option(help="For truth and probe; as in `interp compare`.")
    ] = None,
    harmful: Annotated[Files, typer.Option(help="Instructions, for refusal.")] = None,
    harmless: Annotated[Files, typer.Option(help="The same, harmless.")] = None,
    limit: Annotated[
        int | None, typer.Option(help="At most so many statements.", min=8)
    ] = None,
    layer: Annotated[
        int | None,
        typer.Option(help="Layer of truth, refusal and probe; the middle by default."),
    ] = None,
    n_sequences: Annotated[
        int, typer.Option(help="Sequences of repeated tokens.", min=2)
    ] = 64,
    n_tokens: Annotated[
        int | None, typer.Option(help="Their length; 128 by default.", min=8)
    ] = None,
    tokens_per_step: Annotated[
        float | None, typer.Option(help="Where the names of checkpoints do not say.")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep what is downloaded.")
    ] = False,
    seed: Seed = 0,
    shard: ShardOption = None,
    ray: RayOption = None,
    shards: ShardsOption = None,
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
        wanted, statements, harmful, harmless, layer=layer, limit=limit
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


def metric_names(
    metrics: str, statements: Files, harmful: Files, harmless: Files
) -> list[str]:
    """What is asked for, or by default what is cheap and what there is data for.

    Args:
        metrics: What `--metrics` says.
        statements: What `--statements` says.
        harmful: What `--harmful` says.
        harmless: What `--harmless` says.

    Raises:
        ConfigError: If there is no such metric, or it lacks its data.
    """
    from interp.errors import ConfigError, closest
    from interp.heads.targets import PATTERN_METRICS

    known = (*PATTERN_METRICS, *OTHERS)
    wanted = [name.strip() for name in metrics.split(",") if name.strip()]
    for name in wanted:
        if name not in known:
            raise ConfigError(
                f"There is no metric {name!r}.",
                expected=f"Metrics: {', '.join(known)}.",
                remedy=closest(name, known),
            )
    if not wanted:
        wanted = CHEAP.split(",")
        wanted += ["truth", "probe"] if statements else []
        wanted += ["refusal"] if harmful and harmless else []
    needs = {"truth": statements, "probe": statements, "refusal": harmful and harmless}
    for name, given in needs.items():
        if name in wanted and not given:
            options = (
                "--harmful and --harmless" if name == "refusal" else "--statements"
            )
            raise ConfigError(f"The metric {name!r} needs {options}.")
    return list(dict.fromkeys(wanted))


def chosen_metrics(
    wanted: list[str],
    statements: Files,
    harmful: Files,
    harmless: Files,
    *,
    layer: int | None,
    limit: int | None,
) -> "list[CheckpointMetric]":
    """The metrics by their names, with the data that they need.

    Args:
        wanted: What `metric_names` returned.
        statements: What `--statements` says.
        harmful: What `--harmful` says.
        harmless: What `--harmless` says.
        layer: What `--layer` says.
        limit: What `--limit` says.
    """
    from interp import heads

    patterns = tuple(name for name in wanted if name not in OTHERS)
    found: list[CheckpointMetric] = (
        [heads.AttentionScores(names=patterns)] if patterns else []
    )
    for name in OTHERS:
        if name not in wanted:
            continue
        match name:
            case "loss":
                found.append(heads.Losses())
            case "copying":
                found.append(heads.CopyingByWeights())
            case "composition":
                found.append(heads.StrongestComposition())
            case "entropy_neurons":
                found.append(heads.EntropyNeurons())
            case "truth" | "probe":
                found.append(_of_statements(name, statements or [], layer, limit))
            case "refusal":
                found.append(_refusal(harmful or [], harmless or [], layer))
            case _:
                assert_never(name)
    return found


def _of_statements(
    name: Literal["truth", "probe"],
    files: list[str],
    layer: int | None,
    limit: int | None,
) -> "CheckpointMetric":
    import numpy as np

    from interp import data, heads

    found = data.join([data.statements(file) for file in files])
    if limit is not None and len(found) > limit:
        # The true and the false statement about one thing stay or go together.
        names = list(dict.fromkeys(found.groups))
        order = np.random.default_rng(0).permutation(len(names)).tolist()
        rank = {names[place]: number for number, place in enumerate(order)}
        rows = sorted(range(len(found)), key=lambda row: rank[found.groups[row]])
        found = found.take(sorted(rows[:limit]))
    if name == "truth":
        return heads.truth_direction(found, layer=layer)
    from probes.logistic import fit_logistic

    return heads.ProbeAccuracy(
        name="truth",
        examples=heads.statement_examples(found),
        fit=fit_logistic,
        layer=layer,
    )


def _refusal(
    harmful: list[str], harmless: list[str], layer: int | None
) -> "CheckpointMetric":
    from interp import data, heads

    contrast = data.contrast(data.instructions(harmful), data.instructions(harmless))
    return heads.refusal_direction(contrast, layer=layer)


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
