"""What else than refusal may be in a refusal direction: punctuation, and the template.

Harmful prompts of the usual lists never end in a mark and most harmless ones do, so the
difference of their means at the end of a prompt is partly that of a full stop. And the
last positions of a prompt hold other tokens where templates differ.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp.activations import capture
from interp.errors import DataError, PositionError, ShapeError
from interp.models.language_model import LanguageModel
from interp.statistics import Proportion, wilson
from probes.studies.refusal.chat import Ids, Template


MARKS = (".", "?", "!")
# Classes that differ more in how many prompts end in a mark are confounded.
LARGE_GAP = 0.3
FLIPS = 1000
LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class EndMarks:
    """How many prompts of each class end in a full stop, question or exclamation mark.

    Attributes:
        harmful: Share of the harmful prompts, with a Wilson interval.
        harmless: The same of the harmless ones.
    """

    harmful: Proportion
    harmless: Proportion

    @property
    def gap(self) -> float:
        """The difference of the two shares, harmful minus harmless."""
        return self.harmful.rate - self.harmless.rate

    @property
    def is_confounded(self) -> bool:
        return abs(self.gap) > LARGE_GAP


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PunctuationConfound:
    """How much a direction looks like that of a mark at the end of the prompt.

    Attributes:
        cosine: With mean(with a mark) - mean(without), for each position and layer.
        null: Below this the absolute cosine would stay in 95 % of cases if marks did
            nothing, by flipping the signs of pairs.
        n_pairs: Prompts that were compared with and without a mark.
        positions: Counted from the end of the prompt.
    """

    cosine: Float[np.ndarray, "position layer"]
    null: Float[np.ndarray, "position layer"]
    n_pairs: int
    positions: tuple[int, ...]

    def to_dataframe(self) -> pd.DataFrame:
        """One row per position and layer: position, layer, cosine, null."""
        return pd.DataFrame(
            [
                {
                    "position": position,
                    "layer": layer,
                    "cosine": float(self.cosine[slot, layer]),
                    "null": float(self.null[slot, layer]),
                }
                for slot, position in enumerate(self.positions)
                for layer in range(self.cosine.shape[1])
            ]
        )


def ends_in_mark(text: str) -> bool:
    """Whether a prompt ends in a full stop, question mark or exclamation mark.

    Example:
        >>> ends_in_mark("Write a poem. "), ends_in_mark("Write a poem")
        (True, False)
    """
    return text.rstrip().endswith(MARKS)


def end_marks(harmful: Sequence[str], harmless: Sequence[str]) -> EndMarks:
    """How many prompts of each class end in a mark.

    Example:
        >>> end_marks(["Steal it"], ["Sing.", "Dance!"]).gap
        -1.0
    """
    shares = [
        wilson(sum(map(ends_in_mark, texts)), len(texts))
        for texts in (harmful, harmless)
    ]
    return EndMarks(harmful=shares[0], harmless=shares[1])


def matched_pairs(texts: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The same prompts with a mark at the end and without one.

    The marks take turns, so that none stands for all. Prompts of nothing but marks are
    left out.

    Example:
        >>> matched_pairs(["Sing", "Dance?"])
        (('Sing.', 'Dance?'), ('Sing', 'Dance'))
    """
    stems = [text.rstrip().rstrip("".join(MARKS)).rstrip() for text in texts]
    kept = tuple(stem for stem in stems if stem)
    marked = tuple(stem + MARKS[i % len(MARKS)] for i, stem in enumerate(kept))
    return marked, kept


def punctuation_confound(
    model: LanguageModel,
    vectors: Float[Tensor, "position layer d_model"],
    texts: Sequence[str],
    *,
    template: Template,
    positions: Sequence[int] = (-1,),
    flips: int = FLIPS,
    seed: int = 0,
) -> PunctuationConfound:
    """How much directions look like that of a mark at the end of the prompt.

    The contrast is matched: every prompt is compared with itself, with and without a
    mark, at the same positions counted from the end, before every block.

    Args:
        model: The model in which the directions were found.
        vectors: The directions, for each position and layer (`resid_pre`).
        texts: Prompts of one class; their own marks are replaced.
        template: How they are put to the model.
        positions: Counted from the end of the prompt.
        flips: How many random flips of signs give the null.
        seed: Feeds the flips.

    Raises:
        ShapeError: If there are not as many directions as positions and layers.
        DataError: If no prompt is left.

    Example:
        >>> import interp
        >>> from tiny import tiny_model, tiny_tokenizer
        >>> model = interp.load(tiny_model("llama"), tokenizer=tiny_tokenizer())
        >>> template = Template(writer=model.tokenizer, origin="its own")
        >>> found = punctuation_confound(
        ...     model, torch.ones(1, 3, 32), ["the city", "Paris is"], template=template
        ... )
        >>> found.cosine.shape
        (1, 3)
    """
    wanted = (len(positions), model.n_layers, model.d_model)
    if tuple(vectors.shape) != wanted:
        raise ShapeError(
            f"Directions of the shape {list(vectors.shape)} were given.",
            expected=f"[position, layer, d_model], here {list(wanted)}.",
        )
    marked, plain = matched_pairs(texts)
    if not plain:
        raise DataError("No prompt is left.", expected="Prompts with words in them.")
    states = [
        capture(
            model,
            template.ids(model, given),
            sites="resid_pre.*",
            positions=list(positions),
            dtype="float32",
        )["resid_pre"].double()
        for given in (marked, plain)
    ]
    # [example, layer, position, d_model] to [position, layer, example, d_model]
    changes = (states[0] - states[1]).permute(2, 1, 0, 3)
    unit = torch.nn.functional.normalize(vectors.double(), dim=-1)
    projected = torch.einsum("plnd,pld->pln", changes, unit)
    gram = changes @ changes.mT
    signs = torch.from_numpy(
        np.random.default_rng(seed).choice((-1.0, 1.0), size=(flips, len(plain)))
    )
    null = _cosines(projected, gram, signs).abs()
    return PunctuationConfound(
        cosine=_cosines(projected, gram, torch.ones_like(signs[:1]))[..., 0].numpy(),
        null=torch.quantile(null, LEVEL, dim=-1).numpy(),
        n_pairs=len(plain),
        positions=tuple(positions),
    )


def _cosines(
    projected: Float[Tensor, "position layer example"],
    gram: Float[Tensor, "position layer example other"],
    signs: Float[Tensor, "flip example"],
) -> Float[Tensor, "position layer flip"]:
    """Cosine of the signed mean change with the unit, for every flip of the signs."""
    length = torch.einsum("fn,plnm,fm->plf", signs, gram, signs).clamp_min(0).sqrt()
    along = torch.einsum("fn,pln->plf", signs, projected)
    # No change at all, as of a template token before the first block: no direction.
    return torch.where(length > 0, along / length, torch.zeros_like(along))


def position_tokens(
    prompts: Mapping[str, tuple[LanguageModel, Ids]],
    *,
    positions: Sequence[int] = (-1,),
) -> pd.DataFrame:
    """What token stands at each position that is used, in every model.

    Where templates differ, the same position holds other tokens, and a low cosine of
    two models' directions can come from that alone.

    Args:
        prompts: By name a model and its prompts as token ids.
        positions: Counted from the end of the prompt.

    Returns:
        One row per model and position: model, position, token_id, token (decoded), and
        the share of prompts that have this most frequent token there.

    Raises:
        PositionError: If a prompt is too short.
        DataError: If there are no prompts.

    Example:
        >>> import interp
        >>> from tiny import tiny_model, tiny_tokenizer
        >>> model = interp.load(tiny_model("llama"), tokenizer=tiny_tokenizer())
        >>> ids = model.tokenize(["the city", "Paris is in"]).ids
        >>> position_tokens({"post": (model, ids)}, positions=[-1])["share"].tolist()
        [0.5]
    """
    rows: list[dict[str, object]] = []
    for name, (model, ids) in prompts.items():
        if not ids:
            raise DataError(f"There are no prompts of {name!r}.")
        shortest = min(map(len, ids))
        for position in positions:
            if not -shortest <= position < 0:
                raise PositionError(
                    f"Position {position} was asked of prompts of {name!r}.",
                    expected="Positions count from the end: -1 is the last; the "
                    f"shortest prompt has {shortest} tokens.",
                )
            counts = Counter(row[position] for row in ids)
            token, count = counts.most_common(1)[0]
            decoded = None
            if model.tokenizer is not None:
                decoded = model.tokenizer.decode([token])
            rows.append(
                {
                    "model": name,
                    "position": position,
                    "token_id": token,
                    "token": decoded,
                    "share": count / len(ids),
                }
            )
    return pd.DataFrame(rows)
