"""The facts of a refusal study in the words of its result."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from interp.data import Contrast
from interp.results import (
    InstructionCount,
    RefusalCandidate,
    RefusalDirection,
    RefusalLimits,
    RefusalPunctuation,
    ScoreInterval,
)
from interp.results.refusal import Instructions
from interp.results.truthfulness import Role
from probes.studies.refusal.asked import Asked
from probes.studies.refusal.candidates import Candidates, template_positions
from probes.studies.refusal.choice import Choice
from probes.studies.refusal.confounds import end_marks
from probes.studies.refusal.setting import FEWEST_KEPT, Kept, Side, Split


# A choice that fewer resamples repeat is said to be unstable.
UNSTABLE = 0.5
SOMETIMES_NONE = 0.05
ScoreName = Literal["bypass", "induce", "kl"]


def chosen_directions(asked: Asked) -> tuple[RefusalDirection, RefusalDirection]:
    """Where the direction of each model is read, or why there is none."""
    choice, tokens = asked.choice, asked.fitted.tokens
    chosen, decode = choice.chosen, asked.sides[1].model.tokenizer.decode
    spelled = tuple(decode([token]) for token in tokens)
    reason = _reason(choice.candidates, tokens) if chosen is None else ""

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
            norm=float(asked.vectors[role, "post"].vector.norm()),
        )

    return of("base"), of("post")


def notes_of(
    asked: Asked, punctuation: Sequence[RefusalPunctuation]
) -> tuple[str, ...]:
    """What was left out, is weak or limits the conclusions."""
    sides, instructions = asked.sides, asked.instructions
    return (
        *instructions.notes,
        *prompt_notes(sides, instructions),
        *kept_notes(asked.fitted.kept),
        *position_notes(sides, asked.fitted.found, instructions),
        *asked.choice.notes,
        *stability_notes(asked.choice),
        *punctuation_notes(asked.choice.chosen, punctuation),
        *ablation_notes(asked.reasons),
    )


def _reason(candidates: Sequence[RefusalCandidate], tokens: Sequence[int]) -> str:
    if not tokens:
        return "its first token does not tell harmful from harmless instructions"
    fates = [one.fate for one in candidates]
    counted = {fate: fates.count(fate) for fate in dict.fromkeys(fates)}
    listed = "; ".join(f"{n} of {len(fates)}: {fate}" for fate, n in counted.items())
    return f"every candidate fell ({listed})"


def position_in_words(found: Sequence[Candidates], position: int) -> str:
    tokens = [one.tokens[one.positions.index(position)] for one in found]
    place = f"position {position} from the end"
    if tokens[0] == tokens[1]:
        return f"{place} ({tokens[1]!r})"
    return f"{place} ({tokens[0]!r} in base, {tokens[1]!r} in post)"


def position_notes(
    sides: Sequence[Side], found: Sequence[Candidates], instructions: Contrast
) -> list[str]:
    """Which tokens the directions were read at, and where the models differ in them."""
    tokens = [
        ", ".join(
            f"{position} {token!r}"
            for position, token in zip(one.positions, one.tokens, strict=True)
        )
        for one in found
    ]
    said = f"base {tokens[0]}; post {tokens[1]}"
    notes = [
        f"Tokens at the positions: {tokens[0] if len(set(tokens)) == 1 else said}."
    ]
    first = instructions.harmful.train[0]
    ends = template_positions(sides[0].model, sides[0].template, first)
    beyond = [position for position in found[0].positions if position < ends[0]]
    if beyond:
        notes.append(
            f"At the positions {beyond} the base model's template has no token of its "
            "own: there its directions are read inside the instruction."
        )
    return notes


def chosen_scores(choice: Choice) -> tuple[ScoreInterval, ...]:
    """The scores of the chosen direction on validation prompts, with intervals."""
    chosen, judged, stability = choice.chosen, choice.judged, choice.stability
    if chosen is None or judged is None or stability is None:
        return ()
    scores = judged.scores
    names: tuple[tuple[ScoreName, float, float], ...] = (
        ("bypass", float(scores.clean_harmful.mean()), chosen.bypass),
        ("induce", float(scores.clean_harmless.mean()), chosen.induce),
        ("kl", 0.0, chosen.kl),
    )
    return tuple(
        ScoreInterval(
            name=name,
            clean=clean,
            estimate=estimate,
            low=stability.intervals[name][0],
            high=stability.intervals[name][1],
        )
        for name, clean, estimate in names
    )


def limits_of(choice: Choice) -> RefusalLimits | None:
    """The rule that was applied, in numbers; None if there were no candidates.

    Args:
        choice: What was chosen.
    """
    if choice.judged is None:
        return None
    rule = choice.judged.selection.rule
    return RefusalLimits(
        first_late_layer=rule.first_late_layer,
        max_bypass=math.nan if rule.max_bypass is None else rule.max_bypass,
        min_induce=rule.min_induce,
        # The lenient rule has no limit, and JSON has no infinity.
        max_kl=rule.max_kl if math.isfinite(rule.max_kl) else math.nan,
    )


def stability_notes(choice: Choice) -> list[str]:
    """How surely a direction was chosen, where it was not sure."""
    if choice.chosen is None or choice.stability is None:
        return []
    notes: list[str] = []
    if choice.chosen.share < UNSTABLE:
        notes.append(
            "The choice is not stable: of resampled validation prompts "
            f"{choice.chosen.share:.0%} choose the same place."
        )
    if choice.stability.none > SOMETIMES_NONE:
        notes.append(
            f"In {choice.stability.none:.0%} of the resamples no direction is usable."
        )
    left = next(one for one in chosen_scores(choice) if one.name == "bypass")
    if left.estimate > 0:
        notes.append(
            "Ablating the chosen direction leaves a mean refusal score of "
            f"{left.estimate:.1f} [{left.low:.1f}, {left.high:.1f}] on harmful "
            "validation prompts: one direction does not carry all of the refusal."
        )
    return notes


def counts_of(
    instructions: Contrast, kept: dict[Split, Kept]
) -> tuple[InstructionCount, ...]:
    counts: list[InstructionCount] = []
    kinds: tuple[Instructions, Instructions] = ("harmful", "harmless")
    for i, kind in enumerate(kinds):
        parts = getattr(instructions, kind)
        for split in ("train", "val", "test"):
            given = len(getattr(parts, split))
            n = given if split == "test" else kept[split].passed[i]
            counts.append(
                InstructionCount(
                    model="post", instructions=kind, split=split, given=given, kept=n
                )
            )
    return tuple(counts)


def kept_notes(kept: dict[Split, Kept]) -> list[str]:
    """Where too few instructions passed the refusal filter to use only those."""
    names: dict[Split, str] = {"train": "training", "val": "validation"}
    notes: list[str] = []
    for split, one in kept.items():
        whole = len(one.harmful), len(one.harmless)
        for kind, verb, n, used in zip(
            ("harmful", "harmless"),
            ("refuses", "does not refuse"),
            one.passed,
            whole,
            strict=True,
        ):
            if n < FEWEST_KEPT:
                notes.append(
                    f"The post-trained model {verb} only {n} of {used} {kind} "
                    f"{names[split]} instructions, fewer than {FEWEST_KEPT}: all "
                    f"{used} were used, whatever it makes of them."
                )
    return notes


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
    marks = end_marks(instructions.harmful.train, instructions.harmless.train)
    if marks.is_confounded:
        notes.append(
            f"{marks.harmful.rate:.0%} of the harmful and {marks.harmless.rate:.0%} of "
            "the harmless instructions end in a punctuation mark: part of the "
            "direction may be that."
        )
    return notes


def punctuation_notes(
    chosen: RefusalCandidate | None, rows: Sequence[RefusalPunctuation]
) -> list[str]:
    """How much the chosen direction is that of a punctuation mark."""
    if chosen is None:
        return []
    place = chosen.model, chosen.position, chosen.layer
    return [
        "The chosen direction's cosine with that of a mark at the end is "
        f"{row.cosine:.2f} (below {row.null:.2f} in 95% of cases if marks did nothing)."
        for row in rows
        if (row.model, row.position, row.layer) == place
    ]


def ablation_notes(reasons: Sequence[str]) -> list[str]:
    names = ("base", "post-trained")
    return [
        f"Nothing was ablated in the {name} model: {reason}"
        for name, reason in zip(names, reasons, strict=True)
        if reason
    ]
