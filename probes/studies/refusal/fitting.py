"""What training prompts give: refusal tokens, and the candidates of both models."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from interp.data import Contrast
from probes.studies.refusal.candidates import Candidates, candidates, template_positions
from probes.studies.refusal.setting import Kept, Side, Split, kept_of, tokens_of
from probes.studies.refusal.spec import RefusalSpec


SPLITS: tuple[Split, Split] = ("train", "val")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fitted:
    """What training prompts give, before anything is chosen.

    Attributes:
        tokens: The refusal tokens.
        kept: The instructions on which POST does what it should.
        found: The candidates of BASE and POST, each in its own template.
        common: BASE's in the template of POST.
    """

    tokens: tuple[int, ...]
    kept: dict[Split, Kept]
    found: tuple[Candidates, Candidates]
    common: Candidates


def fitted(
    sides: tuple[Side, Side], instructions: Contrast, spec: RefusalSpec
) -> Fitted:
    """The refusal tokens, the prompts that are used, and the candidates of both models.

    Args:
        sides: BASE and POST.
        instructions: Harmful and harmless instructions, already split.
        spec: The settings.
    """
    base, post = sides
    tokens = tokens_of(post, instructions, spec)
    kept: dict[Split, Kept] = {
        split: kept_of(post, instructions, split, tokens) for split in SPLITS
    }
    positions = spec.positions or template_positions(
        post.model, post.template, instructions.harmful.train[0]
    )
    own, of_post = (_candidates(side, kept["train"], positions) for side in sides)
    common = own
    if base.template != post.template:
        moved = replace(base, template=post.template)
        common = _candidates(moved, kept["train"], positions)
    return Fitted(tokens=tokens, kept=kept, found=(own, of_post), common=common)


def _candidates(side: Side, train: Kept, positions: Sequence[int]) -> Candidates:
    prompts = side.prompts(train.harmful, train.harmless)
    return candidates(side.model, prompts, positions=positions)
