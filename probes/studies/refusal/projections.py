"""Where prompts and answers lie along chosen directions, in the unchanged models."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, Int32

from interp.activations import capture
from interp.models.words import token_words
from interp.results import RefusalProjection
from interp.results.refusal import Instructions
from interp.results.truthfulness import Role
from interp.statistics import mean_interval
from probes.studies.refusal.asked import Asked
from probes.studies.refusal.completions import Answers, Vector
from probes.studies.refusal.setting import Side


Own = Literal["base", "post"]
OWN: tuple[Own, Own] = ("base", "post")
# The middle of the prompts: all but a tenth at each end.
BAND = (0.1, 0.9)
# Answers whose activations are held at once.
ANSWERS_AT_A_TIME = 32


def projection_rows(asked: Asked) -> tuple[RefusalProjection, ...]:
    """Where both models' test prompts lie along both directions before every block.

    Args:
        asked: The study after the choice of a direction.
    """
    return tuple(
        row
        for side in asked.sides
        for kind, texts in asked.texts.items()
        for row in _rows(asked, side, kind, texts)
    )


def _rows(
    asked: Asked, side: Side, kind: Instructions, texts: tuple[str, ...]
) -> list[RefusalProjection]:
    vectors = asked.vectors
    held: dict[Own, Vector] = {
        own: vectors[side.role, own] for own in OWN if (side.role, own) in vectors
    }
    if not held:
        return []
    acts = capture(
        side.model,
        side.template.ids(side.model, texts),
        sites="resid_pre.*",
        positions=next(iter(held.values())).position,
        dtype="float32",
    )["resid_pre"].double()
    rows: list[RefusalProjection] = []
    for own, vector in held.items():
        unit = torch.nn.functional.normalize(vector.vector.double(), dim=-1)
        along = (acts @ unit).T.numpy()
        rows += _by_layer(side.role, own, kind, along, seed=asked.spec.seed)
    return rows


def _by_layer(
    role: Role,
    source: Own,
    kind: Instructions,
    along: Float[np.ndarray, "layer prompt"],
    *,
    seed: int,
) -> list[RefusalProjection]:
    means = mean_interval(along, seed=seed)
    low, high = np.quantile(along, BAND, axis=1)
    return [
        RefusalProjection(
            model=role,
            direction=source,
            instructions=kind,
            layer=layer,
            n=along.shape[1],
            mean=float(means.estimate[layer]),
            mean_low=float(means.low[layer]),
            mean_high=float(means.high[layer]),
            low=float(low[layer]),
            high=float(high[layer]),
        )
        for layer in range(along.shape[0])
    ]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReadAnswers:
    """The tokens of all answers, and where they lie along the chosen direction.

    Attributes:
        words: The different tokens, decoded.
        tokens: Which of them each token is, all answers one after the other.
        projections: See `interp.results.ReadAnswer`.
        lengths: How many tokens each answer has.
    """

    words: tuple[str, ...]
    tokens: Int32[np.ndarray, " token"]
    projections: Float32[np.ndarray, " token"]
    lengths: Int32[np.ndarray, " answer"]


def read_answers(asked: Asked, answers: Sequence[Answers]) -> ReadAnswers:
    """Where each token of each answer lies along the direction of POST.

    Every answer is read by the unchanged model that gave it, behind its prompt: what
    was done to the model meanwhile would be added to every token, or removed from it.

    Args:
        asked: The study after the choice of a direction; without one nothing is read.
        answers: All answers.
    """
    if asked.choice.chosen is None:
        answers = ()
    spelled: list[str] = []
    lengths: list[int] = []
    values: list[np.ndarray] = []
    for one in answers:
        side = asked.side(one.rows[0].model)
        values.append(_read(side, one, asked.vectors[side.role, "post"]))
        lengths += [len(row) for row in one.ids]
        ids = [token for row in one.ids for token in row]
        spelled += token_words(side.model.tokenizer, ids)
    places = {word: place for place, word in enumerate(dict.fromkeys(spelled))}
    return ReadAnswers(
        words=tuple(places),
        tokens=np.array([places[word] for word in spelled], np.int32),
        projections=np.concatenate([*values, np.empty(0)]).astype(np.float32),
        lengths=np.array(lengths, np.int32),
    )


def _read(side: Side, answers: Answers, vector: Vector) -> Float[np.ndarray, " token"]:
    prompts = side.template.ids(side.model, [row.prompt for row in answers.rows])
    length = vector.vector.double().norm()
    unit = vector.vector.double() / length
    values: list[np.ndarray] = [np.empty(0)]
    for start in range(0, len(prompts), ANSWERS_AT_A_TIME):
        part = slice(start, start + ANSWERS_AT_A_TIME)
        pairs = list(zip(prompts[part], answers.ids[part], strict=True))
        acts = capture(
            side.model,
            [(*prompt, *answer) for prompt, answer in pairs],
            sites=f"resid_pre.{vector.layer}",
            positions="all",
            dtype="float32",
        )[f"resid_pre.{vector.layer}"]
        for row, (prompt, answer) in zip(acts, pairs, strict=True):
            here = row[len(prompt) : len(prompt) + len(answer)].double()
            values.append(((here @ unit - vector.level) / length).numpy())
    return np.concatenate(values)
