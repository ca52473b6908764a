"""The plan of `interp track`: the same tokens at every checkpoint."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import assert_never

from interp import heads
from interp.activations.costs import Tokens, capture_tokens, pass_cost, shares_prefix
from interp.config import spec_hash
from interp.heads.series import CheckpointRef, Series
from interp.heads.track_patterns import part_bytes
from interp.heads.track_shards import Shards
from interp.heads.track_spec import track_spec
from interp.models.outline import Outline, outline
from interp.positions import resolve
from interp.results.runs import slug
from probes.planning.capturing import Planned
from probes.planning.machine import budget_of, free_disk, memory_of
from probes.planning.plan import Part, Plan
from probes.series_metrics import OTHERS, Other, chosen_metrics, metric_names


ESTIMATES = (
    "Peak memory is an estimate: the weights twice, while the next checkpoint is read,"
    " and one batch inside a block with its logits.",
    "Bytes written are an estimate, from the sizes of what is measured.",
)
# Values of one sequence that the losses keep.
LOSSES = 5
SCORE_BYTES = 4


def planned_track(params: Mapping[str, object]) -> Planned:
    """What a tracking would do; only names, the first config and tokenizer are read.

    Args:
        params: The parameters of `interp track` by name.

    Raises:
        InterpError: What the tracking raises before it reads weights.
    """
    wanted, metrics = _metrics(params)
    series = _series(params)
    found = _outline(series, params)
    spec = heads.SequenceSpec(
        n_sequences=_number(params["n_sequences"]) or 1,
        n_tokens=_number(params["n_tokens"]),
    )
    given = heads.repeated_tokens(
        found.model, n_sequences=spec.n_sequences, n_tokens=spec.n_tokens
    )
    ids = tuple(tuple(row) for row in given.ids.tolist())
    tokens, flops, examples = _measured(found, metrics, ids, wanted)
    out = Path(str(params["out"])).expanduser()
    shards = Shards(_run_folder(params, out, series, metrics, spec) / "shards")
    n_bytes = _result_bytes(found, wanted, given)
    parts = tuple(
        Part(
            number=number,
            tokens=tokens.computed,
            flops=flops,
            passes=tokens.passes,
            n_bytes=n_bytes,
            reads=_file_bytes(ref, found),
            done=shards.read(ref) is not None,
        )
        for number, ref in enumerate(series.checkpoints)
    )
    todo = [part for part in parts if not part.done]
    budget = budget_of(found)
    plan = Plan(
        command="track",
        models=(series.name,),
        parts_are="checkpoints",
        parts=parts,
        own=Part(number=0, tokens=0, flops=0, passes=0),
        examples=examples,
        tokens=tokens.real,
        parameters=pass_cost(found, "logits", every_token=True).parameters,
        free_disk=free_disk(out),
        read_bytes=0,
        download_bytes=_downloads(series, found, len(todo), keep=bool(params["keep"])),
        memory=memory_of(
            [found, found],
            rows=n_bytes,
            tokens=min(budget, sum(map(len, ids))),
            logits=True,
        ),
        estimates=ESTIMATES,
        notes=_notes(series, wanted, found),
    )
    return Planned(
        plan=plan,
        source=found.model.name,
        revision=found.model.commit,
        loads=max(1, len(todo)),
        ids=(ids,),
        sites=("logits",),
    )


def _metrics(
    params: Mapping[str, object],
) -> tuple[list[str], list[heads.CheckpointMetric]]:
    """What is measured: the names, and what measures it."""
    files = [_files(params, name) for name in ("statements", "harmful", "harmless")]
    wanted = metric_names(str(params["metrics"]), *files)
    layer, limit = _number(params["layer"]), _number(params["limit"])
    columns = str(params["statement_column"]), str(params["label_column"])
    return wanted, chosen_metrics(
        wanted, *files, layer=layer, limit=limit, columns=columns
    )


def _series(params: Mapping[str, object]) -> Series:
    per_step = params["tokens_per_step"]
    assert per_step is None or isinstance(per_step, float)
    return heads.find_series(
        str(params["series"]),
        revisions=_files(params, "revisions"),
        tokens_per_step=per_step,
    )


def _run_folder(
    params: Mapping[str, object],
    out: Path,
    series: Series,
    metrics: Sequence[heads.CheckpointMetric],
    spec: heads.SequenceSpec,
) -> Path:
    """Where the tracking will keep its parts."""
    loading = heads.Loading(dtype=str(params["dtype"]))
    seed = _number(params["seed"]) or 0
    identity = spec_hash(track_spec(series, metrics, spec, loading=loading, seed=seed))
    return out / heads.track.__name__ / slug([series.name]) / identity


def _outline(series: Series, params: Mapping[str, object]) -> Outline:
    first = series.checkpoints[0]
    return outline(
        series.name if first.folder is None else first.folder,
        revision=first.commit if first.folder is None else None,
        device=str(params["device"]),
        dtype=str(params["dtype"]),
        trust_remote_code=bool(params["trust_remote_code"]),
    )


def _measured(
    found: Outline,
    metrics: Sequence[heads.CheckpointMetric],
    ids: tuple[tuple[int, ...], ...],
    wanted: Sequence[str],
) -> tuple[Tokens, int, int]:
    """The tokens of one checkpoint, their FLOPs, and how many prompts there are."""
    budget, shares = budget_of(found), shares_prefix(found)
    total, flops, examples = Tokens(), 0, 0
    if any(name == "loss" or name not in OTHERS for name in wanted):
        # Every token is predicted, so nothing is left out at the end.
        tokens = capture_tokens(
            ids, resolve("all", ids), token_budget=budget, may_share_prefix=False
        )
        total, examples = tokens, len(ids)
        flops = pass_cost(found, "logits", every_token=True).flops(tokens)
    layer_of: dict[object, None] = {}
    for metric in metrics:
        if not isinstance(metric, heads.ContrastDirection | heads.ProbeAccuracy):
            continue
        layer = found.model.n_layers // 2 if metric.layer is None else metric.layer
        key = (repr(metric.examples), metric.examples.chat, layer)
        if key in layer_of:
            continue
        layer_of[key] = None
        template = getattr(found.model.tokenizer, "chat_template", None)
        chat = metric.examples.chat and bool(template)
        prompts = found.model.tokenize(metric.examples.prompts, chat=chat).ids
        tokens = capture_tokens(
            prompts,
            resolve("last", prompts),
            token_budget=budget,
            may_share_prefix=shares,
        )
        total += tokens
        examples += len(prompts)
        flops += pass_cost(found, f"resid_post.{layer}").flops(tokens)
    return total, flops, examples


def _result_bytes(
    found: Outline, wanted: Sequence[str], given: heads.RepeatedTokens
) -> int:
    model, n_values = found.model, 0
    n_sequences, n_tokens = given.ids.shape
    heads_of_all = model.n_layers * model.n_heads
    of_patterns = 0
    for name in wanted:
        if name not in OTHERS:
            n_values += heads_of_all * n_sequences
            of_patterns = part_bytes(heads_of_all, n_tokens)
            continue
        other: Other = name  # pyright: ignore[reportAssignmentType]  # checked above
        match other:
            case "loss":
                n_values += LOSSES * n_sequences
            case "copying" | "composition":
                n_values += heads_of_all
            case "truth" | "refusal" | "probe" | "entropy_neurons":
                n_values += model.d_model
            case _:
                assert_never(other)
    return SCORE_BYTES * n_values + of_patterns


def _file_bytes(ref: CheckpointRef, found: Outline) -> int:
    if ref.folder is None:
        return found.file_bytes
    return sum(path.stat().st_size for path in ref.folder.glob("*.safetensors"))


def _downloads(series: Series, found: Outline, todo: int, *, keep: bool) -> int:
    """What fetched checkpoints take at once: all of them, or two."""
    if not series.on_hub:
        return 0
    return found.file_bytes * (todo if keep else min(todo, 2))


def _notes(series: Series, wanted: Sequence[str], found: Outline) -> tuple[str, ...]:
    notes = list(series.notes)
    by_weights = {"copying", "composition", "entropy_neurons"} & set(wanted)
    if by_weights:
        notes.append(
            f"What comes from weights alone ({', '.join(sorted(by_weights))}) is not"
            " counted."
        )
    if series.on_hub:
        notes.append(
            f"Each checkpoint is {found.file_bytes / 2**30:.1f} GiB to fetch, by the"
            " size of the first; what was measured is removed unless --keep is given."
        )
    return tuple(notes)


def _files(params: Mapping[str, object], name: str) -> list[str] | None:
    value = params[name]
    return (
        [str(one) for one in value]
        if isinstance(value, list | tuple) and value
        else None
    )


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None
