"""Settings of the refusal study."""

from dataclasses import dataclass


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
        positions: Where directions are read, counted from the end of the prompt.
        refusal_tokens: First tokens of refusals; found by contrast if none is given.
        max_divergence: Directions whose ablation changes harmless answers more than
            this are dropped.
        max_new_tokens: Where answers are cut.
        batch_size: Prompts that are answered together.
        seed: Of the splits and of the random direction.
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
    positions: tuple[int, ...] = (-1,)
    refusal_tokens: tuple[str, ...] = ()
    max_divergence: float = 0.1
    max_new_tokens: int = 48
    batch_size: int = 64
    seed: int = 0
