"""Settings of the truthfulness study."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TruthfulnessSpec:
    """Settings of the study.

    Attributes:
        base: Hub id or folder of the base model.
        post: Hub id or folder of the post-trained model.
        statements: Files or data sets of the hub with statements and labels.
        base_revision: Revision of a hub model.
        post_revision: Revision of a hub model.
        dtype: How the weights run.
        group: The column of the things that statements are about; found by default.
        limit: At most so many statements are used, whole groups of them.
        fractions: Shares of train, validation and test.
        permutations: Shuffles of the labels for the band of cosines.
        resamples: Bootstrap samples of each interval.
        strength: How often the difference of class means is added.
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
    group: str | None = None
    limit: int | None = None
    fractions: tuple[float, float, float] = (0.5, 0.2, 0.3)
    permutations: int = 200
    resamples: int = 1000
    strength: float = 1.0
    asked_validation: int = 32
    asked_test: int = 120
    controls: int = 3
    seed: int = 0
