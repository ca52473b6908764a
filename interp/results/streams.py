"""Scores of single tokens, and an unchanged and a steered text side by side."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float32

from interp.errors import ResultError
from interp.results.display import table_html


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class TokenScores:
    """What readers say about every token of a prompt.

    Attributes:
        token_ids: The tokens.
        tokens: Decoded.
        readers: The name of each reader.
        units: What one unit of each reader's score is, in words.
        scores: The score at every token.
        first: Whether a token is the very first one, on which attention rests: its
            residual stream is unlike all others.
        template: Whether a token is a special one or belongs to the chat template and
            not to the user's message.
    """

    token_ids: tuple[int, ...]
    tokens: tuple[str, ...]
    readers: tuple[str, ...]
    units: tuple[str, ...]
    scores: Float32[np.ndarray, "reader pos"]
    first: Bool[np.ndarray, " pos"]
    template: Bool[np.ndarray, " pos"]

    def __repr__(self) -> str:
        return f"TokenScores({len(self.readers)} readers, {len(self.tokens)} tokens)"

    def of(self, reader: str) -> Float32[np.ndarray, " pos"]:
        """The scores of one reader.

        Raises:
            ResultError: If there is no such reader.
        """
        if reader not in self.readers:
            raise ResultError(
                f"There is no reader {reader!r}.",
                expected=f"There are {', '.join(self.readers) or 'none'}.",
            )
        return self.scores[self.readers.index(reader)]

    @property
    def masked(self) -> Float32[np.ndarray, "reader pos"]:
        """The scores with NaN at the first and at template tokens."""
        hidden = self.first | self.template
        return np.where(hidden, np.float32(np.nan), self.scores)

    def to_dataframe(self) -> pd.DataFrame:
        """One row per reader and token."""
        reader, pos = (axis.ravel() for axis in np.indices(self.scores.shape))
        return pd.DataFrame(
            {
                "reader": [self.readers[i] for i in reader],
                "pos": pos,
                "token": [self.tokens[i] for i in pos],
                "score": self.scores.ravel(),
                "first": self.first[pos],
                "template": self.template[pos],
            }
        )

    def _repr_html_(self) -> str:
        return table_html(self.to_dataframe(), caption=repr(self))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class WrittenText:
    """What a model wrote behind a prompt, and how likely each token was to it.

    Attributes:
        token_ids: The new tokens, without one that ended the text.
        tokens: Decoded one by one.
        text: Decoded together.
        log_probability: Of each token, in the model that wrote it.
        scores: What each reader says at each of them, in the model that wrote them.
    """

    token_ids: tuple[int, ...]
    tokens: tuple[str, ...]
    text: str
    log_probability: Float32[np.ndarray, " pos"]
    scores: Float32[np.ndarray, "reader pos"]

    def __repr__(self) -> str:
        return f"WrittenText({self.text!r:.60})"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class SideBySide:
    """What a model writes unchanged and steered, and how far the two are apart.

    Attributes:
        model: The model's name.
        prompt: The prompt's tokens with the scores of the unchanged model.
        unchanged: What the model writes.
        steered: What it writes under the edits.
        kl: `D(steered || unchanged)`, the KL divergence, in nats, of the steered
            model's prediction of each token of the steered text from the unchanged
            model's, both given the same text.
        unchanged_log_probability: Of the steered text's tokens in the unchanged model.
    """

    model: str
    prompt: TokenScores
    unchanged: WrittenText
    steered: WrittenText
    kl: Float32[np.ndarray, " pos"]
    unchanged_log_probability: Float32[np.ndarray, " pos"]

    def __repr__(self) -> str:
        return f"SideBySide({self.headline()})"

    @property
    def n_shared(self) -> int:
        """How many tokens the two texts have in common at their beginning."""
        pairs = zip(self.unchanged.token_ids, self.steered.token_ids, strict=False)
        same = [a == b for a, b in pairs]
        return same.index(False) if False in same else len(same)

    def to_dataframe(self) -> pd.DataFrame:
        """One row per token of the steered text."""
        steered = self.steered
        columns: dict[str, object] = {
            "pos": np.arange(len(steered.tokens)),
            "token": steered.tokens,
            "kl": self.kl,
            "log_probability": steered.log_probability,
            "unchanged_log_probability": self.unchanged_log_probability,
        }
        for name, row in zip(self.prompt.readers, steered.scores, strict=True):
            columns[f"score: {name}"] = row
        return pd.DataFrame(columns)

    def headline(self) -> str:
        """Where the texts part, in one sentence."""
        mean = float(self.kl.mean()) if len(self.kl) else 0.0
        same = self.unchanged.token_ids == self.steered.token_ids
        where = "The texts are equal" if same else f"They part at token {self.n_shared}"
        return f"{where}; KL is {mean:.3g} nats a token on average."

    def _repr_html_(self) -> str:
        return table_html(self.to_dataframe(), caption=self.headline())
