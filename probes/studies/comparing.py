"""Comparing a base with a post-trained model: studies, one folder, one report.

DIR/truthfulness/<models>/<spec hash>/   settings, provenance, events, shards, result
DIR/refusal/<models>/<spec hash>/
DIR/report.html                          what was found, with figures
"""

import logging
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

from interp import atomic
from interp.config import spec_hash
from interp.errors import (
    ConfigError,
    DataError,
    IncompatibleError,
    PromptError,
    ResultError,
    SelfCheckError,
    UnsupportedModelError,
)
from interp.progress import using
from interp.provenance import Provenance, record
from interp.results import (
    ConfidenceComparison,
    KnowledgeComparison,
    RefusalComparison,
    Result,
    RunFolder,
    TruthfulnessComparison,
    open_run,
)
from interp.results.run_progress import recorded
from interp.sharding import OthersMissingError, is_mine, require_all
from interp.stopping import stop_if_requested
from probes.studies.inputs import record_of
from probes.studies.kinds import (
    Data,
    Setting,
    Sources,
    StudyName,
    StudySpec,
    Tell,
    data_of,
    run_study,
    sources_of,
    study_name,
)
from probes.studies.pair import Pair, load_pair
from probes.studies.report import write_report
from probes.studies.specs import command_of


logger = logging.getLogger("interp.studies")

# What a study says of data or models that are not for it.
UNSUITABLE = (
    DataError,
    PromptError,
    IncompatibleError,
    UnsupportedModelError,
    SelfCheckError,
)

Kind = TypeVar("Kind", bound=Result)

# Studies whose parts all shards share; of the others, each belongs to one shard.
SHARED_BY_SHARDS: tuple[StudyName, ...] = ("knowledge",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What a comparison gave.

    Attributes:
        out: The results folder.
        report: The report.
        results: The results by study; `truthfulness`, `refusal`, `knowledge` and
            `confidence` give each as its own kind.
        runs: The run folder of each study.
        resumed: The studies that were already there and were loaded.
    """

    out: Path
    report: Path
    results: Mapping[StudyName, Result]
    runs: Mapping[StudyName, Path]
    resumed: tuple[StudyName, ...]

    @property
    def truthfulness(self) -> TruthfulnessComparison:
        """The result of the study of truthfulness; an error if there is none."""
        return self._result("truthfulness", TruthfulnessComparison)

    @property
    def refusal(self) -> RefusalComparison:
        """The result of the study of refusal; an error if there is none."""
        return self._result("refusal", RefusalComparison)

    @property
    def knowledge(self) -> KnowledgeComparison:
        """The result of the study of knowledge; an error if there is none."""
        return self._result("knowledge", KnowledgeComparison)

    @property
    def confidence(self) -> ConfidenceComparison:
        """The result of the study of confidence; an error if there is none."""
        return self._result("confidence", ConfidenceComparison)

    def _result(self, study: StudyName, kind: type[Kind]) -> Kind:
        found = self.results.get(study)
        if isinstance(found, kind):
            return found
        raise ResultError(
            f"This comparison has no result of the study of {study}.",
            expected=f"It has: {', '.join(self.results) or 'none'}.",
            remedy=f"Give `compare` the settings of {study}; if they were given, it "
            "told why the study was left out.",
        )


def compare(
    specs: Sequence[StudySpec],
    *,
    out: str | Path,
    device: str = "auto",
    trust_remote_code: bool = False,
    resume: bool = True,
    command: str = "",
    may_leave_out: Collection[StudyName] = (),
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
        resume: Whether finished studies and shards are taken as they are; without it
            everything is computed again.
        command: The command that repeats it; made from the settings by default.
        may_leave_out: Studies that are left out, with the reason told, if the data or
            the models do not suit them.
        tell: Is told each step in a sentence.

    Raises:
        ConfigError: If there is no study, or they name different models.
        DataError: If data cannot be read or is not enough.
        StoppedError: If a signal asked for it; finished studies are kept.
        OthersMissingError: If this is one of several shards and others are not done;
            see `interp.sharding`.
    """
    _check_specs(specs)
    out = Path(out).expanduser()
    command = command or command_of(specs, out)
    data = [data_of(spec) for spec in specs]
    with atomic.clear_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    pair = load_pair(
        specs[0], device=device, trust_remote_code=trust_remote_code, tell=tell
    )
    done = [
        _done(
            _Asked(number=number, spec=spec, data=given, command=command),
            pair,
            out=out,
            resume=resume,
            may_be_left_out=study_name(spec) in may_leave_out and len(specs) > 1,
            tell=tell,
        )
        for number, (spec, given) in enumerate(zip(specs, data, strict=True))
    ]
    require_all(sum(one.is_missing for one in done), of=len(specs), what="studies")
    results: dict[StudyName, Result] = {
        one.name: one.result for one in done if one.result is not None
    }
    there = [one for one in done if one.name in results]
    report = write_report(out, results, command=command)
    return Comparison(
        out=out,
        report=report,
        results=results,
        runs={one.name: one.run for one in there},
        resumed=tuple(one.name for one in there if one.is_resumed),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Asked:
    """A study that is to be run."""

    number: int
    spec: StudySpec
    data: Data
    command: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Done:
    """What became of a study; one without a result is another shard's or left out."""

    name: StudyName
    run: Path
    result: Result | None = None
    is_resumed: bool = False
    is_missing: bool = False


def _done(
    asked: _Asked,
    pair: Pair,
    *,
    out: Path,
    resume: bool,
    may_be_left_out: bool,
    tell: Tell,
) -> _Done:
    """Run a study, or load it if it is finished with the same settings."""
    name = study_name(asked.spec)
    folder, provenance = _opened(out, asked.spec, asked.data, pair, asked.command)
    if not resume:
        shutil.rmtree(folder.shards, ignore_errors=True)
    elif (found := folder.result()) is not None:
        tell(f"{name}: already finished with these settings, loaded.")
        return _Done(name=name, run=folder.path, result=found, is_resumed=True)
    if not (is_mine(asked.number) or name in SHARED_BY_SHARDS):
        tell(f"{name}: another shard's.")
        return _Done(name=name, run=folder.path, is_missing=True)
    tell(f"{name}: running.")
    setting = Setting(
        base=pair[0], post=pair[1], provenance=provenance, folder=folder, tell=tell
    )
    try:
        with using(recorded(folder)):
            result = run_study(asked.spec, asked.data, setting)
    except OthersMissingError as error:
        tell(f"{name}: {error.what}")
        return _Done(name=name, run=folder.path, is_missing=True)
    except UNSUITABLE as error:
        if not may_be_left_out:
            raise
        tell(f"{name}: left out. {error}")
        folder.append("left out", {"reason": str(error)})
        return _Done(name=name, run=folder.path)
    folder.finish(result)
    stop_if_requested(f"{name} is finished and kept in {folder.path}")
    return _Done(name=name, run=folder.path, result=result)


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


def _opened(
    out: Path, spec: StudySpec, data: Data, pair: Pair, command: str
) -> tuple[RunFolder, Provenance]:
    """The folder of a run, named by settings, weights and data."""
    identities = tuple(model.identity() for model in pair)
    content = [
        *(one.weights_hash for one in identities),
        *(one.tokenizer_hash for one in identities),
        *(one.template_hash for one in identities),
        data.fingerprint,
    ]
    given = sources_of(spec)
    files = [file for kind in fields(Sources) for file in getattr(given, kind.name)]
    provenance = record(
        study_name(spec),
        models=identities,
        datasets=[record_of(data, ", ".join(files))],
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
