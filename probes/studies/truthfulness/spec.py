"""Settings of the truthfulness study."""

from dataclasses import dataclass
from typing import Literal, get_args

from interp.errors import ConfigError
from probes.studies.ranges import require_at_least, require_finite, require_seed


ProbeName = Literal["mean_difference", "lda", "logistic", "ridge", "ccs", "crc", "ttpd"]
PROBES: tuple[ProbeName, ...] = get_args(ProbeName)


@dataclass(frozen=True, slots=True, kw_only=True)
class TruthfulnessSpec:
    """Settings of the study.

    What costs time with large models is asking, counted in passes over questions that
    share their beginning. Choosing a place takes two passes over `asked_validation` for
    each model, range of layers (12 at most) and token (3 to 5); naming `layers` and
    `tokens` saves them all. Measuring takes, in each model, `2 + 3 * controls` passes
    over `asked_test` or a few more, and each dose 5 or 6 over `dose_statements`. Probes
    take seconds with small models and minutes with large ones, most of them for CCS.

    Attributes:
        base: Hub id or folder of the base model.
        post: Hub id or folder of the post-trained model.
        statements: Files or data sets of the hub with statements and labels.
        base_revision: Revision of a hub model.
        post_revision: Revision of a hub model.
        dtype: How the weights run.
        statement_column: The column of the statements.
        label_column: The column of their labels.
        group: The column of the things that statements are about; found by default.
        dataset_column: A column that names the data set of each statement, for files
            that hold several; by default every file is one.
        limit: At most so many statements are used, whole groups of them.
        fractions: Shares of train, validation and test.
        centring: What is taken out before reading: the training mean, or the mean of
            each data set of each split, which needs many test statements at once.
        probes: What is fitted at every layer beside the difference of means.
        transfer_probe: What is trained on each data set and judged on each; None for
            nothing. Takes two data sets or more.
        permutations: Shuffles of the labels for the nulls of cosines; 0 for none.
        resamples: Bootstrap samples of each interval.
        interventions: Whether anything is added to the models' activations.
        tokens: Where vectors are added: at the tokens that do most on validation
            statements, or at the final token and the one before it.
        layers: First and last layer at which vectors are added; chosen on validation
            statements by default.
        strength: How often the difference of class means is added.
        doses: Lengths of the vectors of the dose-response curves, in units of the mean
            norm of the residual stream; none for no curves.
        dose_statements: Test statements for each point of these curves.
        asked_validation: Statements on which the place of the intervention is chosen.
        asked_test: Statements on which its effect is measured.
        controls: Vectors of each kind that mean nothing.
        seed: Of splits, shuffles, demonstrations and controls.
    """

    base: str
    post: str
    statements: tuple[str, ...]
    base_revision: str | None = None
    post_revision: str | None = None
    dtype: str = "auto"
    statement_column: str = "statement"
    label_column: str = "label"
    group: str | None = None
    dataset_column: str | None = None
    limit: int | None = None
    fractions: tuple[float, float, float] = (0.5, 0.2, 0.3)
    centring: Literal["inductive", "transductive"] = "inductive"
    probes: tuple[ProbeName, ...] = PROBES
    transfer_probe: ProbeName | None = "mean_difference"
    permutations: int = 200
    resamples: int = 1000
    interventions: bool = True
    tokens: Literal["chosen", "final two tokens"] = "chosen"
    layers: tuple[int, int] | None = None
    strength: float = 1.0
    doses: tuple[float, ...] = (0.125, 0.25, 0.5, 1.0, 2.0)
    dose_statements: int = 40
    asked_validation: int = 32
    asked_test: int = 120
    controls: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        require_at_least(
            self,
            **dict.fromkeys(("limit", "resamples"), 1),
            **dict.fromkeys(("permutations", "controls"), 0),
            **dict.fromkeys(("asked_validation", "asked_test", "dose_statements"), 2),
        )
        require_finite(self, "strength", "doses", "fractions")
        require_seed(self.seed)
        if self.layers is not None and not 0 <= self.layers[0] <= self.layers[1]:
            raise ConfigError(
                f"layers is {list(self.layers)}.",
                expected="The first and the last layer, counted from 0.",
            )
