"""Settings of the confidence study."""

from dataclasses import dataclass
from typing import Literal

from interp.errors import ConfigError
from probes.studies.ranges import require_at_least, require_seed


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidenceSpec:
    """Settings of the study.

    What costs time with large vocabularies is ablating: every neuron is two softmaxes
    over the vocabulary for each prediction of `effect_texts`. A swap is a forward pass
    over all texts.

    Attributes:
        base: Hub id or folder of the base model.
        post: Hub id or folder of the post-trained model.
        texts: Files or data sets of the hub with ordinary texts.
        statements: Files or data sets of labelled statements; the true ones are used
            where no texts are given.
        base_revision: Revision of a hub model.
        post_revision: Revision of a hub model.
        dtype: How the weights run.
        column: The column of the texts; found by default.
        statement_column: The column of the statements.
        label_column: The column of their labels.
        max_texts: At most so many texts are used, drawn at random.
        max_tokens: Longer texts are cut.
        percentile: Only norms above this percentile make a candidate entropy neuron.
        candidates: How many candidates of smallest LogitVar.
        null_share: The share of directions that count as the head's null space.
        unigram: Whether token frequencies are those of the texts or of what the base
            model writes by itself.
        frequency_neurons: How many of the largest cosine with token frequency are
            ablated too.
        effect_texts: On how many texts neurons are ablated.
        controls: Draws of random neurons for the swaps.
        resamples: Bootstrap samples of each interval.
        seed: Of everything random.
    """

    base: str
    post: str
    texts: tuple[str, ...] = ()
    statements: tuple[str, ...] = ()
    base_revision: str | None = None
    post_revision: str | None = None
    dtype: str = "auto"
    column: str | None = None
    statement_column: str = "statement"
    label_column: str = "label"
    max_texts: int = 400
    max_tokens: int = 128
    percentile: float = 75.0
    candidates: int = 10
    null_share: float = 0.01
    unigram: Literal["texts", "own"] = "texts"
    frequency_neurons: int = 5
    effect_texts: int = 64
    controls: int = 3
    resamples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.texts and not self.statements:
            raise ConfigError(
                "The confidence study has no texts.",
                expected="Files of ordinary texts (texts), or of statements "
                "(statements), of which the true ones are taken.",
            )
        require_at_least(
            self,
            max_texts=10,
            candidates=1,
            frequency_neurons=0,
            effect_texts=1,
            controls=0,
            resamples=1,
            max_tokens=3,
        )
        require_seed(self.seed)
