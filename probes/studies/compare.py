"""Comparing a base with a post-trained model: all studies, one folder, one report.

DIR/truthfulness/<models>/<spec hash>/   settings, provenance, events, result
DIR/refusal/<models>/<spec hash>/
DIR/report.html                          what was found, with figures
"""

import logging
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal, get_args

from interp import atomic
from interp.config import spec_hash
from interp.data import Contrast, Statements
from interp.errors import ConfigError, closest
from interp.models.language_model import LanguageModel
from interp.models.loading import load
from interp.provenance import Provenance, record
from interp.results import (
    RefusalComparison,
    Result,
    RunFolder,
    TruthfulnessComparison,
    open_run,
)
from interp.stopping import stop_if_requested
from probes.studies.inputs import contrast_for, record_of, statements_of
from probes.studies.refusal import refusal
from probes.studies.refusal_setting import RefusalSpec
from probes.studies.summary import sentences
from probes.studies.truthfulness import (
    TruthfulnessSpec,
    require_same_shape,
    truthfulness,
)


logger = logging.getLogger("interp.studies")

Study = Literal["truthfulness", "refusal"]
StudySpec = TruthfulnessSpec | RefusalSpec
Tell = Callable[[str], None]
REPORT = "report.html"
# Settings that the command line names as the specs do.
OPTIONS = "base_revision post_revision dtype limit seed group max_new_tokens batch_size"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What a comparison gave.

    Attributes:
        out: The results folder.
        report: The report.
        results: The results by study.
        runs: The run folder of each study.
        resumed: The studies that were already there and were loaded.
    """

    out: Path
    report: Path
    results: Mapping[Study, Result]
    runs: Mapping[Study, Path]
    resumed: tuple[Study, ...]


def compare(
    specs: Sequence[StudySpec],
    *,
    out: str | Path,
    device: str = "auto",
    trust_remote_code: bool = False,
    command: str = "",
    tell: Tell = logger.info,
) -> Comparison:
    """Run studies of two models into one results folder with a report.

    All data is read before a model is loaded. A study that is already finished with the
    same settings, weights and data is loaded and not run again.

    Args:
        specs: The settings of the studies, all of the same two models.
        out: The results folder; others' results in it stay.
        device: Where the models run.
        trust_remote_code: Whether code that comes with a model may run.
        command: The command that repeats it; made from the settings by default.
        tell: Is told each step in a sentence.

    Raises:
        ConfigError: If there is no study, or they name different models.
        DataError: If data cannot be read or is not enough.
        StoppedError: If a signal asked for it; finished studies are kept.
    """
    _check_specs(specs)
    out = Path(out).expanduser()
    command = command or command_of(specs, out)
    data = [_data_of(spec) for spec in specs]
    first = specs[0]
    with atomic.clear_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    models = tuple(
        _loaded(name, revision, first.dtype, device, trust_remote_code, tell)
        for name, revision in (
            (first.base, first.base_revision),
            (first.post, first.post_revision),
        )
    )
    base, post = models[0], models[1]
    require_same_shape(base, post)
    results: dict[Study, Result] = {}
    runs: dict[Study, Path] = {}
    resumed: list[Study] = []
    for spec, given in zip(specs, data, strict=True):
        name = study_name(spec)
        run, provenance = _opened(out, spec, given, (base, post), command)
        found = run.result()
        if found is not None:
            tell(f"{name}: already finished with these settings, loaded.")
            resumed.append(name)
        else:
            tell(f"{name}: running.")
            found = _run(base, post, spec, given, provenance)
            run.finish(found)
            stop_if_requested(f"{name} is finished and kept in {run.path}")
        results[name], runs[name] = found, run.path
    report = write_report(out, results, command=command)
    return Comparison(
        out=out, report=report, results=results, runs=runs, resumed=tuple(resumed)
    )


def plan(
    base: str,
    post: str,
    *,
    statements: Sequence[str] = (),
    harmful: Sequence[str] = (),
    harmless: Sequence[str] = (),
    studies: Sequence[str] = (),
    seed: int = 0,
) -> tuple[StudySpec, ...]:
    """The default settings of the studies for which there is data, or of those asked.

    Args:
        base: Hub id or folder of the base model.
        post: Hub id or folder of the post-trained model.
        statements: Files or data sets of statements, for `truthfulness`.
        harmful: Instructions that should be refused, for `refusal`.
        harmless: Instructions that should be followed, for `refusal`.
        studies: Which studies; by default those whose data was given.
        seed: Of everything random.

    Raises:
        ConfigError: If a study does not exist or lacks its data.

    Example:
        >>> [study_name(spec) for spec in plan("a", "b", statements=["s.csv"])]
        ['truthfulness']
    """
    known = get_args(Study)
    if bool(harmful) != bool(harmless):
        given, missing = ("harmful", "harmless") if harmful else ("harmless", "harmful")
        raise ConfigError(
            f"--{given} was given without --{missing}.",
            expected="Refusal is studied on both kinds of instructions.",
            remedy=f"Add --{missing} FILE.",
        )
    has = {"truthfulness": bool(statements), "refusal": bool(harmful)}
    chosen = list(dict.fromkeys(studies)) or [name for name in known if has[name]]
    if not chosen:
        raise ConfigError(
            "There is nothing to compare the models on.",
            expected="--statements FILE, or --harmful FILE and --harmless FILE.",
        )
    for name in chosen:
        if name not in known:
            raise ConfigError(
                f"There is no study {name!r}.",
                expected=f"Studies: {', '.join(known)}.",
                remedy=closest(name, known),
            )
        if not has[name]:
            needs = (
                "--statements" if name == "truthfulness" else "--harmful, --harmless"
            )
            raise ConfigError(
                f"The study {name!r} has no data.", remedy=f"Add {needs}."
            )
    specs: list[StudySpec] = []
    if "truthfulness" in chosen:
        specs.append(
            TruthfulnessSpec(
                base=base, post=post, statements=tuple(statements), seed=seed
            )
        )
    if "refusal" in chosen:
        specs.append(
            RefusalSpec(
                base=base,
                post=post,
                harmful=tuple(harmful),
                harmless=tuple(harmless),
                seed=seed,
            )
        )
    return tuple(specs)


def study_name(spec: StudySpec) -> Study:
    """The name of the study whose settings these are."""
    return "truthfulness" if isinstance(spec, TruthfulnessSpec) else "refusal"


def command_of(specs: Sequence[StudySpec], out: Path) -> str:
    """The command line that runs these studies."""
    first = specs[0]
    words = ["interp", "compare", first.base, first.post]
    for spec in specs:
        if isinstance(spec, TruthfulnessSpec):
            words += [w for file in spec.statements for w in ("--statements", file)]
        else:
            words += [w for file in spec.harmful for w in ("--harmful", file)]
            words += [w for file in spec.harmless for w in ("--harmless", file)]
    for field in OPTIONS.split():
        kinds = [spec for spec in specs if hasattr(spec, field)]
        values = {getattr(spec, field) for spec in kinds}
        for value in values:
            if any(value != _default(spec, field) for spec in kinds):
                words += [f"--{field.replace('_', '-')}", str(value)]
    return shlex.join([*words, "--out", str(out)])


def _default(spec: StudySpec, field: str) -> object:
    return next(one.default for one in fields(spec) if one.name == field)


def write_report(out: Path, results: Mapping[Study, Result], *, command: str) -> Path:
    """Write `report.html` about some results, and return where it is."""
    # Plotly is slow to import and not needed before there is something to draw.
    from interp.figures import report_html, report_section

    origins = [result.provenance for result in results.values()]
    names = next(iter(results.values())).models
    provenance = record(
        "compare",
        models=origins[0].models,
        datasets=[data for origin in origins for data in origin.datasets],
        spec_hash=", ".join(origin.spec_hash for origin in origins),
        seed=origins[0].seed,
        command=command,
    )
    page = report_html(
        f"{short_name(names[0])} and {short_name(names[1])}",
        [
            replace(report_section(result), summary=" ".join(sentences(result)))
            for result in results.values()
        ],
        provenance,
        lead="What changed between a base model and the model that was post-trained "
        "from it. Bounds are 95% intervals; every number comes from test data that "
        "nothing was fitted or chosen on.",
    )
    path = out / REPORT
    atomic.write_text(path, page)
    return path


def short_name(model: str) -> str:
    """A model's name for a heading: the last part of a path or hub id."""
    return model.rstrip("/").rsplit("/", 1)[-1] or model


def _check_specs(specs: Sequence[StudySpec]) -> None:
    if not specs:
        raise ConfigError("There is no study to run.", remedy="Name at least one.")
    for field in ("base", "post", "base_revision", "post_revision", "dtype"):
        values = {getattr(spec, field) for spec in specs}
        if len(values) > 1:
            raise ConfigError(
                f"The studies have different settings of {field}: {sorted(values)}.",
                expected="One comparison is about two models.",
            )


def _data_of(spec: StudySpec) -> Statements | Contrast:
    if isinstance(spec, TruthfulnessSpec):
        return statements_of(spec)
    return contrast_for(spec)


def _loaded(
    name: str,
    revision: str | None,
    dtype: str,
    device: str,
    trust_remote_code: bool,
    tell: Tell,
) -> LanguageModel:
    model = load(
        name,
        revision=revision,
        device=device,
        dtype=dtype,
        trust_remote_code=trust_remote_code,
    )
    tell(f"loaded {model!r}")
    return model


def _opened(
    out: Path,
    spec: StudySpec,
    data: Statements | Contrast,
    models: tuple[LanguageModel, LanguageModel],
    command: str,
) -> tuple[RunFolder, Provenance]:
    identities = tuple(model.identity() for model in models)
    sources = (
        spec.statements
        if isinstance(spec, TruthfulnessSpec)
        else (*spec.harmful, *spec.harmless)
    )
    content = [
        *(one.weights_hash for one in identities),
        *(one.tokenizer_hash for one in identities),
        *(one.template_hash for one in identities),
        data.fingerprint,
    ]
    provenance = record(
        study_name(spec),
        models=identities,
        datasets=[record_of(data, ", ".join(sources))],
        spec_hash=spec_hash(spec, content=content),
        seed=spec.seed,
        command=command,
    )
    run = open_run(
        out,
        study=study_name(spec),
        models=[spec.base, spec.post],
        spec=spec,
        provenance=provenance,
        content=content,
    )
    return run, provenance


def _run(
    base: LanguageModel,
    post: LanguageModel,
    spec: StudySpec,
    data: Statements | Contrast,
    provenance: Provenance,
) -> TruthfulnessComparison | RefusalComparison:
    if isinstance(spec, TruthfulnessSpec):
        assert isinstance(data, Statements)
        return truthfulness(base, post, data, spec=spec, provenance=provenance)
    assert isinstance(data, Contrast)
    return refusal(base, post, data, spec=spec, provenance=provenance)
