"""An unchanged and a steered text with all their scores, kept as a result."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, assert_never

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float32, Int64

from interp.errors import ShapeError
from interp.provenance import Provenance
from interp.results.display import table_html
from interp.results.files import Number, write_result
from interp.results.folders import load_as
from interp.results.streams import SideBySide, TokenScores, WrittenText


Operation = Literal["add", "project_out", "at_most", "at_least"]
When = Literal["both", "prompt", "generated"]
PARTS = ("prompt", "unchanged", "steered")


@dataclass(frozen=True, slots=True, kw_only=True)
class SteeringAsked:
    """What was asked for when a text was steered.

    Attributes:
        prompt: What the model was asked.
        chat: Whether it went through the chat template.
        direction: What the model was steered along.
        operation: What was done along it, as `streaming.steering_edits` takes it.
        strength: In class gaps of the direction.
        layers: Where, in words.
        when: At the prompt's tokens, at generated ones, or both.
        max_new_tokens: Tokens at most.
        temperature: Of the draws; 0 takes the likeliest token.
        seed: Of the draws.
    """

    prompt: str
    chat: bool
    direction: str
    operation: Operation
    strength: Number
    layers: str
    when: When
    max_new_tokens: int
    temperature: Number
    seed: int

    def in_words(self) -> str:
        """What was done, in a few words."""
        match self.operation:
            case "add":
                return f"{self.strength:+g} × {self.direction}"
            case "project_out":
                return f"without {self.direction}"
            case "at_most":
                return f"{self.direction} at most {self.strength:+g}"
            case "at_least":
                return f"{self.direction} at least {self.strength:+g}"
            case _:
                assert_never(self.operation)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class SteeredText:
    """What a model wrote unchanged and steered: texts, scores, divergence, settings.

    Attributes:
        model: The model's name.
        asked: The prompt, what was done, and how tokens were drawn.
        readers: What scored the tokens.
        units: What one unit of each score is, in words.
        tokens: Decoded, of prompt, unchanged and steered text in this order.
        token_ids: The same as ids.
        part: Which of the three each token belongs to: 0, 1 or 2.
        scores: What each reader says at every token, in the model that wrote it.
        hidden: Whether a token is the first one or belongs to the chat template.
        log_probability: Of each token in the model that wrote it; NaN in the prompt.
        kl: KL divergence (nats) of the steered model's prediction of each token of the
            steered text from the unchanged model's.
        unchanged_log_probability: Of the steered text's tokens in the unchanged model.
        texts: Unchanged and steered text, each decoded as a whole.
        link: What reopens the settings in the Lab; empty if it was made elsewhere.
        notes: What the reader should know.
        provenance: What produced this.
    """

    KIND: ClassVar[str] = "steering"
    SCHEMA: ClassVar[int] = 1

    model: str
    asked: SteeringAsked
    readers: tuple[str, ...]
    units: tuple[str, ...]
    tokens: tuple[str, ...]
    token_ids: Int64[np.ndarray, " token"]
    part: Int64[np.ndarray, " token"]
    scores: Float32[np.ndarray, "reader token"]
    hidden: Bool[np.ndarray, " token"]
    log_probability: Float32[np.ndarray, " token"]
    kl: Float32[np.ndarray, " steered"]
    unchanged_log_probability: Float32[np.ndarray, " steered"]
    texts: tuple[str, str]
    link: str = ""
    notes: tuple[str, ...] = ()
    provenance: Provenance

    def __post_init__(self) -> None:
        lengths = {
            "tokens": (len(self.tokens), self.part.size),
            "units": (len(self.units), len(self.readers)),
            "scores": (len(self.scores), len(self.readers)),
            "kl": (self.kl.size, int((self.part == 2).sum())),
        }
        for name, (found, expected) in lengths.items():
            if found != expected:
                raise ShapeError(f"{name} has {found} entries, not {expected}.")

    def __repr__(self) -> str:
        return f"SteeredText({self.model!r}, {self.asked.in_words()!r})"

    @property
    def models(self) -> tuple[str]:
        return (self.model,)

    @property
    def sides(self) -> SideBySide:
        """The texts and scores as `streaming.side_by_side` gives them."""
        at = self.part == 0
        prompt = TokenScores(
            token_ids=self._ids(0),
            tokens=self._tokens(0),
            readers=self.readers,
            units=self.units,
            scores=self.scores[:, at],
            first=np.arange(int(at.sum())) == 0,
            template=self.hidden[at],
        )
        return SideBySide(
            model=self.model,
            prompt=prompt,
            unchanged=self._written(1),
            steered=self._written(2),
            kl=self.kl,
            unchanged_log_probability=self.unchanged_log_probability,
        )

    def _ids(self, part: int) -> tuple[int, ...]:
        return tuple(int(one) for one in self.token_ids[self.part == part])

    def _tokens(self, part: int) -> tuple[str, ...]:
        return tuple(
            token
            for token, own in zip(self.tokens, self.part, strict=True)
            if own == part
        )

    def _written(self, part: int) -> WrittenText:
        at = self.part == part
        return WrittenText(
            token_ids=self._ids(part),
            tokens=self._tokens(part),
            text=self.texts[part - 1],
            log_probability=self.log_probability[at],
            scores=self.scores[:, at],
        )

    def to_dataframe(self) -> pd.DataFrame:
        """One row per token of prompt, unchanged and steered text."""
        steered = self.part == 2
        later = np.full((2, self.part.size), np.nan, dtype=np.float32)
        later[:, steered] = self.kl, self.unchanged_log_probability
        columns: dict[str, object] = {
            "text": np.array(PARTS, dtype=object)[self.part],
            "pos": np.concatenate(
                [np.arange(int((self.part == part).sum())) for part in range(3)]
            ),
            "token": self.tokens,
            "log_probability": self.log_probability,
            "kl": later[0],
            "unchanged_log_probability": later[1],
        }
        for name, row in zip(self.readers, self.scores, strict=True):
            columns[f"score: {name}"] = row
        return pd.DataFrame(columns)

    def headline(self) -> str:
        """What was done and where the texts part, in two sentences."""
        return f"Steered: {self.asked.in_words()}. {self.sides.headline()}"

    def save(self, folder: str | Path) -> Path:
        """Write this into a folder; see `interp.results.save`."""
        return write_result(self, folder)

    @classmethod
    def load(cls, folder: str | Path) -> "SteeredText":
        """The result of this kind in a folder; see `interp.results.load`."""
        return load_as(folder, cls)

    def _repr_html_(self) -> str:
        return table_html(self.to_dataframe(), caption=self.headline())


def steered_text(
    found: SideBySide,
    asked: SteeringAsked,
    *,
    provenance: Provenance,
    link: str = "",
) -> SteeredText:
    """Two texts side by side as a result that can be saved.

    Args:
        found: The texts with their scores.
        asked: What was asked for.
        provenance: What produced them.
        link: What reopens the settings in the Lab.
    """
    prompt, texts = found.prompt, (found.unchanged, found.steered)
    nothing = np.full(len(prompt.tokens), np.nan, dtype=np.float32)
    sizes = [len(prompt.tokens), *(len(text.tokens) for text in texts)]
    hidden = np.zeros(sum(sizes), dtype=bool)
    hidden[: sizes[0]] = prompt.first | prompt.template
    ids = [prompt.token_ids, *(text.token_ids for text in texts)]
    return SteeredText(
        model=found.model,
        asked=asked,
        readers=prompt.readers,
        units=prompt.units,
        tokens=(*prompt.tokens, *texts[0].tokens, *texts[1].tokens),
        token_ids=np.array([one for part in ids for one in part], dtype=np.int64),
        part=np.repeat(np.arange(3), sizes),
        scores=np.concatenate([prompt.scores, *(one.scores for one in texts)], axis=1),
        hidden=hidden,
        log_probability=np.concatenate(
            [nothing, *(one.log_probability for one in texts)]
        ),
        kl=found.kl,
        unchanged_log_probability=found.unchanged_log_probability,
        texts=(texts[0].text, texts[1].text),
        link=link,
        provenance=provenance,
    )
