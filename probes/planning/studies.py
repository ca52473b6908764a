"""The plan of `interp study` and `interp compare`: the costs of studies, and parts."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import assert_never

import numpy as np

from interp.activations.costs import pass_cost
from interp.config import to_toml
from interp.data import Contrast, Statements, pair_statements
from interp.errors import IncompatibleError
from interp.models.outline import Outline, outline
from interp.patching import PromptPairs, prompt_pairs
from interp.patching.costs import TraceCost, trace_cost
from interp.results.runs import slug
from probes.planning.capturing import Planned
from probes.planning.machine import budget_of, free_disk, memory_of
from probes.planning.plan import Part, Plan, together
from probes.planning.refusal_costs import refusal_cost
from probes.planning.study_costs import (
    Ids,
    Pair,
    StudyCost,
    confidence_cost,
    truthfulness_cost,
)
from probes.studies.confidence.spec import ConfidenceSpec
from probes.studies.confidence.texts import Texts
from probes.studies.kinds import StudySpec, data_of, study_name
from probes.studies.knowledge.pairing import prepare
from probes.studies.knowledge.spec import KnowledgeSpec
from probes.studies.refusal.spec import RefusalSpec
from probes.studies.truthfulness.spec import TruthfulnessSpec


ESTIMATES = (
    "Peak memory is an estimate: both models and one batch inside a block.",
    "Results of a few MiB for each study are not counted among the bytes written.",
)
LD_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted:
    """The parts of one study and what else the plan says of it."""

    parts: tuple[Part, ...]
    own: Part
    examples: int
    real: int
    ids: Ids
    estimates: tuple[str, ...] = ()
    token_layers: tuple[int, int] = (0, 0)


def planned_studies(
    specs: Sequence[StudySpec], params: Mapping[str, object], *, command: str
) -> Planned:
    """What studies of two models would do; config, tokenizers and data are read.

    Args:
        specs: The settings of the studies.
        params: Parameters by name: `out`, `device`, `trust_remote_code`.
        command: The name of the command.

    Raises:
        InterpError: What the studies raise before weights are read.
    """
    first, out = specs[0], Path(str(params["out"])).expanduser()
    base, post = _outlines(first, params)
    counted = [
        _counted(number, spec, (base, post), out) for number, spec in enumerate(specs)
    ]
    layers = [one.token_layers for one in counted if one.token_layers[1]]
    longest = max(max(map(len, one.ids)) for one in counted)
    parts = tuple(part for one in counted for part in one.parts)
    plan = Plan(
        command=command,
        models=(first.base, first.post),
        parts_are="studies, and groups of 16 pairs of the knowledge study",
        parts=parts,
        own=together([one.own for one in counted]),
        examples=sum(one.examples for one in counted),
        tokens=sum(one.real for one in counted),
        parameters=pass_cost(base, "logits", every_token=True).parameters,
        free_disk=free_disk(out),
        read_bytes=base.file_bytes + post.file_bytes,
        download_bytes=base.download_bytes + post.download_bytes,
        memory=memory_of(
            [base, post], rows=0, tokens=max(longest, budget_of(base)), logits=True
        ),
        token_layers=(sum(a for a, _ in layers), sum(b for _, b in layers))
        if layers
        else None,
        estimates=(*(s for one in counted for s in one.estimates), *ESTIMATES),
    )
    return Planned(
        plan=plan,
        source=first.base,
        revision=base.model.commit,
        loads=2,
        ids=tuple(one.ids for one in counted),
        sites=("logits",),
    )


def _outlines(spec: StudySpec, params: Mapping[str, object]) -> Pair:
    base, post = (
        outline(
            name,
            revision=revision,
            device=str(params["device"]),
            dtype=spec.dtype,
            trust_remote_code=bool(params["trust_remote_code"]),
        )
        for name, revision in (
            (spec.base, spec.base_revision),
            (spec.post, spec.post_revision),
        )
    )
    _require_same_shape(base, post)
    return base, post


def _require_same_shape(base: Outline, post: Outline) -> None:
    for name in ("n_layers", "d_model"):
        one, other = getattr(base.model, name), getattr(post.model, name)
        if one != other:
            raise IncompatibleError(
                f"{base.model.name!r} has {name} {one} and {post.model.name!r} has"
                f" {other}.",
                expected="BASE and POST are one model before and after post-training.",
                remedy="Name two models of one family.",
            )


def _counted(number: int, spec: StudySpec, pair: Pair, out: Path) -> _Counted:
    data = data_of(spec)
    runs = _runs(spec, out)
    done = any((run / "result").is_dir() for run in runs)
    match spec:
        case TruthfulnessSpec():
            assert isinstance(data, Statements)
            return _whole(number, truthfulness_cost(spec, data, pair), done=done)
        case RefusalSpec():
            assert isinstance(data, Contrast)
            return _whole(number, refusal_cost(spec, data, pair), done=done)
        case KnowledgeSpec():
            assert isinstance(data, Statements)
            return _knowledge(spec, data, pair, runs, done=done)
        case ConfidenceSpec():
            assert isinstance(data, Texts)
            return _whole(number, confidence_cost(spec, data, pair), done=done)
        case _:
            assert_never(spec)


def _whole(number: int, cost: StudyCost, *, done: bool) -> _Counted:
    return _Counted(
        parts=(
            Part(
                number=number,
                tokens=cost.tokens.computed,
                flops=cost.flops,
                passes=cost.tokens.passes,
                done=done,
            ),
        ),
        own=Part(number=0, tokens=0, flops=0, passes=0),
        examples=cost.examples,
        real=cost.real,
        ids=cost.ids,
        estimates=cost.estimates,
    )


def _knowledge(
    spec: KnowledgeSpec,
    statements: Statements,
    pair: Pair,
    runs: Sequence[Path],
    *,
    done: bool,
) -> _Counted:
    """The token-layers of every trace, as the planner of traces counts them."""
    base, post = (one.model for one in pair)
    prompts, estimates = _prompts(spec, statements, pair)
    sources = [(base, None, 0), (post, None, 1)]
    sources += [(post, base, 1), (base, post, 0)] if spec.cross else []
    traces = [
        trace_cost(
            model,
            prompts[which],
            sites=spec.sites,
            direction=spec.direction,
            window=spec.window,
            source=source,
        )
        for model, source, which in sources
    ]
    # All traces name their shards by the number of the group.
    held = Counter(path.stem.rpartition("-")[2] for run in runs for path in _kept(run))
    parts: list[Part] = []
    each = _layer_flops(pair[0])
    for place, trace in enumerate(traces):
        for index, layers in enumerate(trace.groups):
            part = replace(
                _patching(index, layers, base.n_layers, each),
                n_bytes=LD_BYTES * math.prod(trace.shapes[index]),
                done=done or place < held[f"{index:05d}"],
            )
            parts.append(part)
    ids = tuple(prompts[0].clean_ids) + tuple(prompts[0].corrupted_ids)
    own = sum(trace.overhead for trace in traces)
    return _Counted(
        parts=tuple(parts),
        own=_patching(0, own, base.n_layers, each),
        examples=len(ids),
        real=sum(map(len, ids)),
        ids=ids,
        estimates=(*estimates, *_SCREENED * spec.screen),
        token_layers=(_layers(traces), sum(trace.naive for trace in traces)),
    )


_SCREENED = ("knowledge: attribution patching, which is held against it, is left out.",)


def _prompts(
    spec: KnowledgeSpec, statements: Statements, pair: Pair
) -> tuple[tuple[PromptPairs, PromptPairs], tuple[str, ...]]:
    base, post = (one.model for one in pair)
    if spec.question:
        prepared = prepare(base, post, statements, spec=spec)
        return prepared.prompts, (
            "knowledge: token-layers are counted as the planner of traces does, for"
            " models whose blocks can be entered in the middle.",
        )
    pairs = pair_statements(
        statements,
        lambda texts: base.tokenize(texts, offsets=True),
        templates=spec.templates,
        form=spec.form,
        question=False,
        reuse=spec.reuse,
        n_pairs=spec.n_pairs,
        cluster=spec.cluster,
        seed=spec.seed,
    )
    answers = np.tile(np.array([0, 1]), (len(pairs), 1))
    both = prompt_pairs(pairs, answers=answers)
    return (both, both), (
        "knowledge: as if no pair was dropped; which ones are depends on what the"
        " models answer.",
    )


def _layers(traces: Sequence[TraceCost]) -> int:
    return sum(trace.token_layers for trace in traces)


def _layer_flops(one: Outline) -> float:
    """FLOPs of a token in one block, without attention to others."""
    n_layers = one.model.n_layers
    return pass_cost(one, f"resid_post.{n_layers - 1}").token / n_layers


def _patching(number: int, token_layers: int, n_layers: int, each: float) -> Part:
    return Part(
        number=number,
        tokens=-(-token_layers // n_layers),
        flops=round(token_layers * each),
        passes=0,
    )


def _runs(spec: StudySpec, out: Path) -> list[Path]:
    """The run folders of these very settings, whatever weights they were run with."""
    folder = out / study_name(spec) / slug([spec.base, spec.post])
    text = to_toml(spec)
    return [
        file.parent
        for file in sorted(folder.glob("*/spec.toml"))
        if file.read_text(encoding="utf-8") == text
    ]


def _kept(run: Path) -> list[Path]:
    return sorted((run / "shards").glob("*-*.safetensors"))
