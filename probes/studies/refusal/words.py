"""The facts of a refusal study in the words of its result."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from interp.data import Contrast
from interp.models.language_model import LanguageModel
from interp.results import InstructionCount, RefusalCandidate, RefusalDirection
from interp.results.refusal import Instructions, Source
from interp.results.truthfulness import Role
from probes.studies.refusal.completions import Vector
from probes.studies.refusal.direction import Directions
from probes.studies.refusal.setting import Kept, Side, Split


# Classes that differ more in how many texts end in a full stop are confounded.
PUNCTUATION_GAP = 0.3


def chosen_directions(
    chosen: RefusalCandidate | None,
    vectors: dict[tuple[Role, Source], Vector],
    candidates: Sequence[RefusalCandidate],
    tokens: Sequence[int],
    post: LanguageModel,
) -> tuple[RefusalDirection, RefusalDirection]:
    spelled = tuple(post.tokenizer.decode([token]) for token in tokens)
    reason = _reason(candidates, tokens) if chosen is None else ""

    def of(role: Role) -> RefusalDirection:
        blank = RefusalDirection(
            model=role,
            layer=None,
            position=None,
            token="",
            norm=float("nan"),
            reason=reason,
            refusal_tokens=spelled,
        )
        if chosen is None:
            return blank
        return replace(
            blank,
            layer=chosen.layer,
            position=chosen.position,
            token=chosen.token,
            norm=float(vectors[role, role].vector.norm()),
        )

    return of("base"), of("post")


def _reason(candidates: Sequence[RefusalCandidate], tokens: Sequence[int]) -> str:
    if not tokens:
        return "its first token does not tell harmful from harmless instructions"
    fates = [one.fate for one in candidates]
    counted = {fate: fates.count(fate) for fate in dict.fromkeys(fates)}
    listed = "; ".join(f"{n} of {len(fates)}: {fate}" for fate, n in counted.items())
    return f"every candidate fell ({listed})"


def position_in_words(found: Sequence[Sequence[Directions]], slot: int) -> str:
    base, post = found[0][slot], found[1][slot]
    place = f"position {post.position} from the end"
    if base.token == post.token:
        return f"{place} ({post.token!r})"
    return f"{place} ({base.token!r} in base, {post.token!r} in post)"


def counts_of(
    instructions: Contrast, kept: dict[Split, Kept]
) -> tuple[InstructionCount, ...]:
    counts: list[InstructionCount] = []
    kinds: tuple[Instructions, Instructions] = ("harmful", "harmless")
    for kind in kinds:
        parts = getattr(instructions, kind)
        for split in ("train", "val", "test"):
            given = len(getattr(parts, split))
            n = given if split == "test" else len(getattr(kept[split], kind))
            counts.append(
                InstructionCount(
                    model="post", instructions=kind, split=split, given=given, kept=n
                )
            )
    return tuple(counts)


def prompt_notes(sides: Sequence[Side], instructions: Contrast) -> list[str]:
    base, post = (side.template.origin for side in sides)
    notes = [
        f"Prompts: the base model gets {base}, the post-trained model {post}.",
        "An answer that loops does not count as a refusal, whatever it repeats.",
        "BASE's direction is read at the layer and position chosen for POST; added "
        "vectors have the length of the edited model's own.",
    ]
    left_out = sum(instructions.near_duplicates)
    if left_out:
        notes.append(f"{left_out} near-duplicate instructions were left out.")
    shares = [
        float(np.mean([text.rstrip().endswith((".", "?", "!")) for text in texts]))
        for texts in (instructions.harmful.train, instructions.harmless.train)
    ]
    if abs(shares[0] - shares[1]) > PUNCTUATION_GAP:
        notes.append(
            f"{shares[0]:.0%} of the harmful and {shares[1]:.0%} of the harmless "
            "instructions end in a punctuation mark: part of the direction may be that."
        )
    return notes


def ablation_notes(reasons: Sequence[str]) -> list[str]:
    names = ("base", "post-trained")
    return [
        f"Nothing was ablated in the {name} model: {reason}"
        for name, reason in zip(names, reasons, strict=True)
        if reason
    ]
