"""What both models make of the statements, before anything is fitted to it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from interp.activations import capture
from interp.data import Splits, Statements, split_by_group
from interp.errors import ConfigError
from interp.models.language_model import LanguageModel
from probes.studies.same_shape import require_same_shape
from probes.studies.truthfulness.negation import with_negations_together
from probes.studies.truthfulness.readout import centred
from probes.studies.truthfulness.spec import TruthfulnessSpec
from probes.studies.truthfulness.spots import LAST, Slots, slots_of


Pair = tuple[LanguageModel, LanguageModel]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Readings:
    """The residual streams of base and post, in that order.

    Attributes:
        models: The models.
        statements: What they read, with data sets and negations as the settings say.
        splits: Which are for training, validation and test.
        slots: The tokens of the statements in each model.
        at_slots: Activations at all of them.
        plain: Those of the last token, as they are.
        read: Those of the last token as directions and probes see them, perhaps
            centred.
    """

    models: Pair
    statements: Statements
    splits: Splits
    slots: Sequence[Slots]
    at_slots: Sequence[Float[Tensor, "example layer slot d_model"]]
    plain: Sequence[Float[Tensor, "example layer d_model"]]
    read: Sequence[Float[Tensor, "example layer d_model"]]


def readings(models: Pair, statements: Statements, spec: TruthfulnessSpec) -> Readings:
    """Both models' activations on the statements, which are split here.

    Args:
        models: The base and the post-trained model.
        statements: Labelled statements.
        spec: The settings.

    Raises:
        IncompatibleError: If the models differ in depth or width.
        DataError: If the statements cannot be split by group.
        ConfigError: If the settings name layers or a column that do not exist.
    """
    require_same_shape(*models)
    _check_layers(models[0], spec)
    statements = with_negations_together(with_datasets(statements, spec))
    splits = split_by_group(
        statements.groups, statements.labels, fractions=spec.fractions, seed=spec.seed
    )
    slots = [slots_of(model, statements) for model in models]
    rows = [
        capture(
            model,
            statements.prompts,
            sites="resid_post.*",
            positions=own.positions(),
            dtype="float32",
        )["resid_post"]
        for model, own in zip(models, slots, strict=True)
    ]
    last = slots[0].names.index(LAST)
    plain = [each[:, :, last] for each in rows]
    read = plain
    if spec.centring == "transductive":
        read = [centred(each, splits, statements.sources) for each in plain]
    return Readings(
        models=models,
        statements=statements,
        splits=splits,
        slots=slots,
        at_slots=rows,
        plain=plain,
        read=read,
    )


def with_datasets(statements: Statements, spec: TruthfulnessSpec) -> Statements:
    """The statements with their data sets as the settings name them.

    Raises:
        ConfigError: If there is no such column.
    """
    column = spec.dataset_column
    if column is None:
        return statements
    if column not in statements.columns:
        raise ConfigError(
            f"dataset_column is {column!r}, and {statements.name} has no such column.",
            expected=f"Columns: {', '.join(map(str, statements.columns))}.",
        )
    return replace(statements, sources=tuple(statements.columns[column].astype(str)))


def _check_layers(model: LanguageModel, spec: TruthfulnessSpec) -> None:
    if spec.layers is not None and spec.layers[1] >= model.n_layers:
        raise ConfigError(
            f"layers is {list(spec.layers)}.",
            expected=f"{model.name!r} has the layers 0 to {model.n_layers - 1}.",
        )
