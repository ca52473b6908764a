"""The closed set of result kinds, and opening a folder of any of them."""

from pathlib import Path
from typing import assert_never, get_args

from interp.errors import ResultError, closest
from interp.results.confidence import ConfidenceComparison
from interp.results.files import read_description, read_result
from interp.results.folders import result_folder
from interp.results.formation import FormationRun
from interp.results.head_ablation import HeadAblations
from interp.results.heads import HeadScores
from interp.results.knowledge import KnowledgeComparison
from interp.results.neurons import NeuronTable
from interp.results.patch_map import PatchMap
from interp.results.refusal import RefusalComparison
from interp.results.steered import SteeredText
from interp.results.sweep import ProbeSweep
from interp.results.timeline import HeadTimeline
from interp.results.transfer import TransferMatrix
from interp.results.truthfulness import TruthfulnessComparison


# A new kind is a member here, a heading in `title`, and a case wherever the type
# checker asks for one.
Result = (
    TruthfulnessComparison
    | RefusalComparison
    | ProbeSweep
    | PatchMap
    | HeadScores
    | HeadAblations
    | NeuronTable
    | ConfidenceComparison
    | KnowledgeComparison
    | HeadTimeline
    | FormationRun
    | SteeredText
    | TransferMatrix
)
CLASSES: tuple[type[Result], ...] = get_args(Result)
KINDS: tuple[str, ...] = tuple(kind.KIND for kind in CLASSES)


def result_class(kind: object) -> type[Result]:
    """The class of a kind of result.

    Raises:
        ResultError: If there is no such kind.

    Example:
        >>> result_class("refusal").__name__
        'RefusalComparison'
    """
    for known in CLASSES:
        if kind == known.KIND:
            return known
    raise ResultError(
        f"There is no kind of result called {kind!r}.",
        expected=f"Kinds: {', '.join(KINDS)}.",
        remedy=closest(str(kind), KINDS) or "A newer interp may know it.",
    )


def title(result: Result) -> str:
    """What a result is about, as a heading.

    Raises:
        AssertionError: If a kind was added and not named here.
    """
    match result:
        case TruthfulnessComparison():
            return "Truthfulness"
        case RefusalComparison():
            return "Refusal"
        case ProbeSweep():
            return "Probes"
        case PatchMap():
            return "Activation patching"
        case HeadScores():
            return "Attention heads"
        case HeadAblations():
            return "Ablated heads"
        case NeuronTable():
            return "Entropy neurons"
        case ConfidenceComparison():
            return "Confidence"
        case KnowledgeComparison():
            return "Knowledge"
        case HeadTimeline():
            return "Heads over training"
        case FormationRun():
            return "Formation"
        case SteeredText():
            return "Steered text"
        case TransferMatrix():
            return "Transfer between data sets"
        case _:
            assert_never(result)


def save(result: Result, folder: str | Path) -> Path:
    """Write a result into a folder, whole or not at all.

    Args:
        result: The result.
        folder: A new folder, or one that holds an older result, which is replaced.

    Returns:
        The folder.

    Raises:
        ResultError: If the folder holds something else.
        DiskFullError: If the disk is full; an older result stays as it was.
        UnwritableError: If the folder cannot be written.
    """
    return result.save(folder)


def load(folder: str | Path) -> Result:
    """The result in a folder, of whatever kind, without torch or a model.

    Where the kind is known, its own method gives it typed, and refuses another kind:
    `ProbeSweep.load(folder)`.

    Args:
        folder: A result folder, or a run folder with `result/` inside.

    Raises:
        ResultError: If there is none, or a file of it is damaged; the message names it.

    Example:
        >>> import tempfile
        >>> from sample_results import refusal
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     type(load(refusal().save(f"{folder}/run"))).__name__
        'RefusalComparison'
    """
    place = result_folder(folder)
    description = read_description(place)
    kind = result_class(description["kind"])
    return read_result(place, description, kind, newest=kind.SCHEMA)
