"""Settings of the refusal study."""

from dataclasses import dataclass
from typing import Literal

from probes.studies.ranges import require_at_least, require_finite, require_seed


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalSpec:
    """Settings of the study.

    Attributes:
        base: Hub id or folder of the base model.
        post: Hub id or folder of the post-trained model.
        harmful: Files or data sets of instructions that should be refused.
        harmless: Files or data sets of instructions that should be followed.
        base_revision: Revision of a hub model.
        post_revision: Revision of a hub model.
        dtype: How the weights run.
        limit: At most so many instructions of each class are used.
        n_train: Instructions of each class to fit on; 128 if there are enough.
        n_val: Instructions of each class to choose on; 32 if there are enough.
        n_test: Instructions of each class to report on; 100 if there are enough.
        positions: Where directions are read, counted from the end of the prompt; by
            default at the tokens that the chat template writes behind an instruction.
        refusal_tokens: First tokens of refusals; found by contrast if none is given.
        max_divergence: Directions whose ablation changes harmless answers more than
            this are dropped (nats).
        min_induce: Directions whose addition leaves the mean refusal score of harmless
            instructions below this are dropped.
        must_lower: Whether directions whose ablation does not lower the mean refusal
            score of harmful instructions at all are dropped, too; the published rule
            does not ask it.
        layer_share: Directions from this share of the layers on are dropped.
        scores: `all` three scores of every candidate, or only those that are `needed`:
            what falls by its layer or by its induce score is not ablated.
        lenient: Whether to go on with the best direction that lowers and raises the
            score at all if none passes the rule; the result says so.
        resamples: Bootstrap samples of validation prompts.
        coefficients: Strengths at which directions are added for the dose-response.
        controls: Random vectors of equal length in the dose-response.
        max_new_tokens: Where answers are cut.
        batch_size: Prompts that are answered together.
        seed: Of the splits and of everything random.
    """

    base: str
    post: str
    harmful: tuple[str, ...]
    harmless: tuple[str, ...]
    base_revision: str | None = None
    post_revision: str | None = None
    dtype: str = "auto"
    limit: int | None = None
    n_train: int | None = None
    n_val: int | None = None
    n_test: int | None = None
    positions: tuple[int, ...] = ()
    refusal_tokens: tuple[str, ...] = ()
    max_divergence: float = 0.1
    min_induce: float = 0.0
    must_lower: bool = True
    layer_share: float = 0.8
    scores: Literal["all", "needed"] = "all"
    lenient: bool = True
    resamples: int = 1000
    coefficients: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
    controls: int = 3
    max_new_tokens: int = 48
    batch_size: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        counts = ("limit", "n_train", "n_val", "n_test", "resamples")
        require_at_least(
            self,
            **dict.fromkeys((*counts, "max_new_tokens", "batch_size"), 1),
            **dict.fromkeys(("controls", "layer_share", "max_divergence"), 0),
        )
        require_finite(self, "min_induce", "coefficients")
        require_seed(self.seed)
