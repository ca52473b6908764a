"""The closed set of studies: settings, data, and what runs them.

A new study is a member of `StudyName` and `StudySpec` and a case in every `match` here;
the type checker names the places that were forgotten. What needs torch is imported when
a study runs, so that settings can be read and shown without it.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, assert_never, get_args

from interp.data import Contrast, Statements
from interp.errors import ConfigError, closest
from interp.provenance import Provenance
from interp.results import Result, RunFolder
from probes.studies.confidence.spec import ConfidenceSpec
from probes.studies.confidence.texts import Texts, texts_of
from probes.studies.inputs import contrast_for, statements_of
from probes.studies.knowledge.spec import KnowledgeSpec
from probes.studies.refusal.spec import RefusalSpec
from probes.studies.truthfulness.spec import TruthfulnessSpec


if TYPE_CHECKING:
    from interp.models.language_model import LanguageModel

StudyName = Literal["truthfulness", "refusal", "knowledge", "confidence"]
StudySpec = TruthfulnessSpec | RefusalSpec | KnowledgeSpec | ConfidenceSpec
Data = Statements | Contrast | Texts
STUDIES: tuple[StudyName, ...] = get_args(StudyName)
# What people look for among the studies, and another command does.
TRACKED = ("induction", "formation", "heads", "track")
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where the data of a comparison comes from.

    Attributes:
        statements: Files or data sets of statements with labels.
        harmful: Instructions that should be refused.
        harmless: Instructions that should be followed.
        texts: Ordinary texts; for confidence true statements will do.
    """

    statements: tuple[str, ...] = ()
    harmful: tuple[str, ...] = ()
    harmless: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Setting:
    """What a study runs in.

    Attributes:
        base: The base model.
        post: The post-trained model.
        provenance: What goes into the result as its origin.
        folder: Where long studies keep finished shards.
        tell: Is told each step in a sentence.
    """

    base: "LanguageModel"
    post: "LanguageModel"
    provenance: Provenance
    folder: RunFolder
    tell: Tell


def checked_name(name: str) -> StudyName:
    """The name of a study.

    Raises:
        ConfigError: If there is no such study.

    Example:
        >>> checked_name("refusal")
        'refusal'
    """
    for known in STUDIES:
        if name == known:
            return known
    raise ConfigError(
        f"There is no study {name!r}.",
        expected=f"Studies: {', '.join(STUDIES)}.",
        remedy=f"For {name}: interp track SERIES --out DIR, which follows a model over "
        "its checkpoints."
        if name in TRACKED
        else closest(name, STUDIES),
    )


def spec_class(name: StudyName) -> type[StudySpec]:
    """The class of a study's settings."""
    match name:
        case "truthfulness":
            return TruthfulnessSpec
        case "refusal":
            return RefusalSpec
        case "knowledge":
            return KnowledgeSpec
        case "confidence":
            return ConfidenceSpec
        case _:
            assert_never(name)


def study_name(spec: StudySpec) -> StudyName:
    """The name of the study whose settings these are."""
    match spec:
        case TruthfulnessSpec():
            return "truthfulness"
        case RefusalSpec():
            return "refusal"
        case KnowledgeSpec():
            return "knowledge"
        case ConfidenceSpec():
            return "confidence"
        case _:
            assert_never(spec)


def needs(name: StudyName) -> tuple[str, ...]:
    """The fields of `Sources` without which a study cannot run."""
    match name:
        case "truthfulness":
            return ("statements",)
        case "refusal":
            return ("harmful", "harmless")
        case "knowledge":
            return ("statements",)
        case "confidence":
            return ("texts",)
        case _:
            assert_never(name)


def has_data(name: StudyName, given: Collection[str]) -> bool:
    """Whether a study can run on what was given.

    Args:
        name: The study.
        given: The fields of `Sources` that are not empty.

    Example:
        >>> has_data("confidence", {"statements"}), has_data("refusal", {"statements"})
        (True, False)
    """
    if name == "confidence" and "statements" in given:
        return True
    return set(needs(name)) <= set(given)


def default_spec(
    name: StudyName, base: str, post: str, sources: Sources, *, seed: int = 0
) -> StudySpec:
    """The usual settings of a study of two models.

    Args:
        name: The study.
        base: Hub id or folder of the base model.
        post: Hub id or folder of the post-trained model.
        sources: The data; the study takes what it needs.
        seed: Of everything random.
    """
    match name:
        case "truthfulness":
            return TruthfulnessSpec(
                base=base, post=post, statements=sources.statements, seed=seed
            )
        case "refusal":
            return RefusalSpec(
                base=base,
                post=post,
                harmful=sources.harmful,
                harmless=sources.harmless,
                seed=seed,
            )
        case "knowledge":
            return KnowledgeSpec(
                base=base, post=post, statements=sources.statements, seed=seed
            )
        case "confidence":
            return ConfidenceSpec(
                base=base,
                post=post,
                texts=sources.texts,
                statements=() if sources.texts else sources.statements,
                seed=seed,
            )
        case _:
            assert_never(name)


def sources_of(spec: StudySpec) -> Sources:
    """Where the data of a study comes from."""
    match spec:
        case TruthfulnessSpec():
            return Sources(statements=spec.statements)
        case RefusalSpec():
            return Sources(harmful=spec.harmful, harmless=spec.harmless)
        case KnowledgeSpec():
            return Sources(statements=spec.statements)
        case ConfidenceSpec():
            return Sources(texts=spec.texts, statements=spec.statements)
        case _:
            assert_never(spec)


def data_of(spec: StudySpec) -> Data:
    """The data of a study, read and cut to size.

    Raises:
        DataError: If it cannot be read or is not enough.
    """
    match spec:
        case TruthfulnessSpec():
            return statements_of(spec)
        case RefusalSpec():
            return contrast_for(spec)
        case KnowledgeSpec():
            return statements_of(spec)
        case ConfidenceSpec():
            return texts_of(spec)
        case _:
            assert_never(spec)


def run_study(spec: StudySpec, data: Data, setting: Setting) -> Result:
    """The result of a study; it is not saved here.

    Args:
        spec: The settings.
        data: What `data_of` read for them.
        setting: Models, origin, shards.
    """
    models, provenance = (setting.base, setting.post), setting.provenance
    run = setting.folder.path
    match spec:
        case TruthfulnessSpec():
            from probes.studies.truthfulness.study import truthfulness

            assert isinstance(data, Statements)
            return truthfulness(
                *models, data, spec=spec, provenance=provenance, run=run
            )
        case RefusalSpec():
            from probes.studies.refusal.study import refusal

            assert isinstance(data, Contrast)
            return refusal(*models, data, spec=spec, provenance=provenance, run=run)
        case KnowledgeSpec():
            from probes.studies.knowledge.study import knowledge

            assert isinstance(data, Statements)
            return knowledge(
                *models,
                data,
                spec=spec,
                provenance=provenance,
                run=run,
                tell=setting.tell,
            )
        case ConfidenceSpec():
            from probes.studies.confidence.study import confidence

            assert isinstance(data, Texts)
            return confidence(*models, data, spec=spec, provenance=provenance, run=run)
        case _:
            assert_never(spec)
