"""What a logit lens and a direct logit attribution say about one prompt."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int32

from interp.errors import ResultError
from interp.results.display import table_html


# What a layer by position map of a reading can show.
LensQuantity = Literal[
    "entropy", "rank", "log_probability", "kl", "target", "difference"
]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class LensReading:
    """What every layer would predict at every position, if it were the last.

    Rows are the embedding, the residual stream behind every block, and what the model
    itself says. Logarithms are natural.

    Attributes:
        model: The model's name.
        layers: What each row is: `"embed"`, the layer's number, `"output"`.
        positions: The token index of each column.
        tokens: The prompt's tokens, decoded, all of them.
        token_ids: Their ids.
        top_ids: The likeliest tokens.
        top_log_probabilities: Theirs.
        entropy: Of the whole distribution, in nats.
        kl: `D(model || row)`, the KL divergence of the model's own distribution from
            the row's, in nats: 0 where they are equal.
        next_log_probability: Of the token that comes next in the prompt; NaN where
            there is none.
        next_rank: Its rank, from 1; 0 where there is none.
        target: The token of interest, or None.
        distractor: What it is compared with, or None.
        target_log_probability: Of the target; empty without one.
        target_rank: From 1; empty without one.
        difference: Logit of the target minus that of the distractor, which is also the
            difference of their log-probabilities; empty without both.
        vocabulary: The decoded text of every token id that occurs here.
    """

    model: str
    layers: tuple[str, ...]
    positions: tuple[int, ...]
    tokens: tuple[str, ...]
    token_ids: tuple[int, ...]
    top_ids: Int32[np.ndarray, "layer pos k"]
    top_log_probabilities: Float32[np.ndarray, "layer pos k"]
    entropy: Float32[np.ndarray, "layer pos"]
    kl: Float32[np.ndarray, "layer pos"]
    next_log_probability: Float32[np.ndarray, "layer pos"]
    next_rank: Int32[np.ndarray, "layer pos"]
    target: int | None
    distractor: int | None
    target_log_probability: Float32[np.ndarray, "layer ..."]
    target_rank: Int32[np.ndarray, "layer ..."]
    difference: Float32[np.ndarray, "layer ..."]
    vocabulary: Mapping[int, str]

    def __repr__(self) -> str:
        return f"LensReading({self.headline()})"

    def quantity(self, name: LensQuantity) -> Float32[np.ndarray, "layer pos"]:
        """One number of every cell; NaN where there is none.

        `log_probability` and `rank` are those of the token that comes next, `target`
        is the log-probability of the target.

        Raises:
            ResultError: If the reading was made without a target or distractor.
        """
        match name:
            case "entropy":
                return self.entropy
            case "kl":
                return self.kl
            case "log_probability":
                return self.next_log_probability
            case "rank":
                ranks = self.next_rank.astype(np.float32)
                return np.where(self.next_rank > 0, ranks, np.float32(np.nan))
            case "target":
                return self._asked(self.target_log_probability, "target")
            case "difference":
                return self._asked(self.difference, "target and a distractor")
            case _:
                assert_never(name)

    def top(self, layer: int, pos: int) -> tuple[tuple[str, float], ...]:
        """The likeliest tokens of a cell with their log-probabilities.

        Args:
            layer: The row.
            pos: The column.
        """
        ids, found = self.top_ids[layer, pos], self.top_log_probabilities[layer, pos]
        return tuple(
            (self.vocabulary[int(token)], float(value))
            for token, value in zip(ids, found, strict=True)
        )

    def to_dataframe(self) -> pd.DataFrame:
        """One row per layer and position."""
        n_layers, n_positions = self.entropy.shape
        layer, pos = np.indices((n_layers, n_positions))
        places = np.array(self.positions)[pos.ravel()]
        best = self.top_ids[:, :, 0].ravel()
        columns: dict[str, object] = {
            "layer": np.array(self.layers, dtype=object)[layer.ravel()],
            "pos": places,
            "token": [self.tokens[place] for place in places],
            "top_token": [self.vocabulary[int(token)] for token in best],
            "top_log_probability": self.top_log_probabilities[:, :, 0].ravel(),
            "entropy": self.entropy.ravel(),
            "kl": self.kl.ravel(),
            "next_log_probability": self.next_log_probability.ravel(),
            "next_rank": self.next_rank.ravel(),
        }
        if self.target is not None:
            columns["target_log_probability"] = self.target_log_probability.ravel()
            columns["target_rank"] = self.target_rank.ravel()
        if self.distractor is not None:
            columns["difference"] = self.difference.ravel()
        return pd.DataFrame(columns)

    def headline(self) -> str:
        """From which layer on the last position's prediction stays, in a sentence."""
        last = self.top_ids[:, -1, 0]
        differs = np.flatnonzero(last != last[-1])
        since = self.layers[int(differs[-1]) + 1] if len(differs) else self.layers[0]
        names = {"embed": "the embedding", "output": "the output"}
        where = names.get(since, f"layer {since}")
        return (
            f"At token {self.positions[-1]} the likeliest next token is "
            f"{self.vocabulary[int(last[-1])]!r} from {where} on."
        )

    def _asked(self, values: np.ndarray, what: str) -> np.ndarray:
        if values.shape != self.entropy.shape:
            raise ResultError(
                f"This lens was read without a {what}.",
                remedy="Give target=... and distractor=... to logit_lens.",
            )
        return values

    def _repr_html_(self) -> str:
        last = self.to_dataframe().query(f"pos == {self.positions[-1]}")
        return table_html(last, caption=self.headline(), max_rows=len(last))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class LogitContributions:
    """What every component adds to a logit, or to a difference of two logits.

    With the scale of the final norm held as it was, the logit is linear in what was
    written, and the parts add up to it. What a component changes in later ones is
    counted there.

    Attributes:
        model: The model's name.
        target: The token whose logit it is.
        distractor: The token whose logit is taken off, or None.
        names: What each part is: `"embed"`, `"attn_out.3"`, ..., and `"bias"` for what
            the final norm and the head add by themselves.
        positions: The token index of each column.
        tokens: The prompt's tokens, decoded, all of them.
        values: What each part adds; a column adds up to `total`.
        total: The logit or difference, before the architecture's factor or soft cap.
        logit: As the model gives it.
        vocabulary: The decoded text of target and distractor.
    """

    model: str
    target: int
    distractor: int | None
    names: tuple[str, ...]
    positions: tuple[int, ...]
    tokens: tuple[str, ...]
    values: Float32[np.ndarray, "part pos"]
    total: Float32[np.ndarray, " pos"]
    logit: Float32[np.ndarray, " pos"]
    vocabulary: Mapping[int, str]

    def __repr__(self) -> str:
        return f"LogitContributions({self.headline()})"

    def what(self) -> str:
        """The logit in words."""
        target = repr(self.vocabulary[self.target])
        if self.distractor is None:
            return f"logit of {target}"
        return f"logit of {target} minus that of {self.vocabulary[self.distractor]!r}"

    def to_dataframe(self) -> pd.DataFrame:
        """One row per part and position."""
        part, pos = (axis.ravel() for axis in np.indices(self.values.shape))
        places = np.array(self.positions)[pos]
        return pd.DataFrame(
            {
                "component": np.array(self.names, dtype=object)[part],
                "pos": places,
                "token": [self.tokens[place] for place in places],
                "contribution": self.values.ravel(),
            }
        )

    def headline(self) -> str:
        """What adds most at the last position, in one sentence."""
        last = self.values[:, -1]
        best = int(last.argmax())
        return (
            f"At token {self.positions[-1]} the {self.what()} is "
            f"{self.total[-1]:+.2f}; {self.names[best]} adds most, {last[best]:+.2f}."
        )

    def _repr_html_(self) -> str:
        last = self.to_dataframe().query(f"pos == {self.positions[-1]}")
        return table_html(last, caption=self.headline(), max_rows=len(last))
