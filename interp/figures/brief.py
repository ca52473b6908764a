"""A result at a glance: one number and one line, for lists of results."""

import html
from dataclasses import dataclass
from typing import assert_never

import numpy as np
from jaxtyping import Float

from interp.figures.style import MODEL_COLOURS
from interp.results.confidence import ConfidenceComparison
from interp.results.formation import FormationRun
from interp.results.head_ablation import HeadAblations
from interp.results.heads import HeadScores
from interp.results.kinds import Result
from interp.results.knowledge import KnowledgeComparison
from interp.results.neurons import NeuronTable
from interp.results.patch_map import PatchMap
from interp.results.refusal import RefusalComparison
from interp.results.steered import SteeredText
from interp.results.sweep import NO_LAYER, ProbeSweep
from interp.results.timeline import HeadTimeline
from interp.results.transfer import TransferMatrix
from interp.results.truthfulness import TruthfulnessComparison


WIDTH, HEIGHT, MARGIN = 220, 44, 4
# More points than this cannot be seen apart.
MOST_POINTS = 110


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Brief:
    """What a card shows of a result.

    Attributes:
        number: The headline number as text.
        name: What it is of.
        values: A line to draw.
        line: What the line is, in words.
    """

    number: str
    name: str
    values: Float[np.ndarray, " place"]
    line: str


def brief(result: Result) -> Brief:
    """The headline number of a result, and a line that tells most of it.

    Args:
        result: The result.
    """
    match result:
        case TruthfulnessComparison():
            return _truthfulness(result)
        case RefusalComparison():
            return _refusal(result)
        case ProbeSweep():
            return _sweep(result)
        case PatchMap():
            return _patching(result)
        case KnowledgeComparison():
            return _knowledge(result)
        case HeadScores():
            metric = result.metrics[0]
            name = f"{_words(metric)} score"
            return _heads(result.value(metric), name, result.top(metric))
        case HeadAblations():
            kind = result.kinds[0]
            name = f"change of loss (nats) under {_words(kind)} ablation"
            return _heads(result.value(kind), name, result.top(kind))
        case NeuronTable():
            return _neurons(result)
        case ConfidenceComparison():
            return _confidence(result)
        case HeadTimeline():
            return _timeline(result)
        case FormationRun():
            return _formation(result)
        case SteeredText():
            return _steered(result)
        case TransferMatrix():
            return _transfer(result)
        case _:
            assert_never(result)


def sparkline(values: Float[np.ndarray, " place"], *, alt: str) -> str:
    """A line without axes as SVG, which reads on light and on dark.

    Args:
        values: From left to right; NaN leaves a gap.
        alt: What it shows, for readers who cannot see it.

    Example:
        >>> sparkline(np.array([0.0, 1.0]), alt="<b>").count("polyline")
        1
        >>> "<b>" in sparkline(np.array([0.0, 1.0]), alt="<b>")
        False
    """
    values = np.asarray(values, dtype=np.float64)
    step = -(-len(values) // MOST_POINTS) if len(values) else 1
    values = values[::step]
    held = np.isfinite(values)
    low, high = (values[held].min(), values[held].max()) if held.any() else (0, 1)
    # A constant is drawn in the middle.
    span = high - low
    x = np.linspace(MARGIN, WIDTH - MARGIN, max(len(values), 2))
    share = (values - low) / span if span else np.full(len(values), 0.5)
    y = HEIGHT - MARGIN - share * (HEIGHT - 2 * MARGIN)
    pieces, current = [], []
    for place, height, is_held in zip(x, y, held, strict=False):
        if is_held:
            current.append(f"{place:.1f},{height:.1f}")
        elif current:
            pieces, current = [*pieces, current], []
    pieces = [*pieces, current] if current else pieces
    colour = MODEL_COLOURS["base"]
    lines = "".join(
        f'<polyline points="{" ".join(piece)}" fill="none" stroke="{colour}" '
        'stroke-width="2" stroke-linejoin="round" stroke-linecap="round"/>'
        for piece in pieces
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="{html.escape(alt)}">{lines}</svg>'
    )


def _brief(
    number: str, name: str, values: Float[np.ndarray, " place"], line: str
) -> Brief:
    return Brief(number=number, name=name, values=values, line=line)


def _curve_words(name: str) -> str:
    """What a curve over training is, with its definition where its name hides it."""
    match name:
        case "truth_direction_auroc":
            told = "the truth direction tells true from false statements"
        case "refusal_direction_auroc":
            told = "the refusal direction tells harmful from harmless instructions"
        case _:
            return _words(name)
    return f"how well {told} (AUROC on the half it was not fitted on, chance 0.5)"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _number(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "–"


def _largest(cells: Float[np.ndarray, "layer column"]) -> Float[np.ndarray, " layer"]:
    """The largest value of each row; NaN where a row has none."""
    filled = np.where(np.isfinite(cells), cells, -np.inf).max(1, initial=-np.inf)
    return np.where(np.isfinite(filled), filled, np.nan)


def _truthfulness(result: TruthfulnessComparison) -> Brief:
    value = float(result.auroc[1, 1, result.best_index("post")])
    return _brief(
        f"{value:.2f}",
        "AUROC of the post-trained model's own truth direction",
        result.auroc[1, 1],
        "AUROC by layer",
    )


def _refusal(result: RefusalComparison) -> Brief:
    rates = {
        row.intervention: row.rate
        for row in result.conditions
        if (row.model, row.instructions) == ("post", "harmful")
        and row.direction in ("none", "post")
    }
    number, name = "–", "no usable refusal direction"
    if "none" in rates:
        number, name = f"{rates['none']:.0%}", "of harmful instructions refused"
    if "ablate" in rates:
        number += f" → {rates['ablate']:.0%}"
        name += ", then with the direction ablated"
    line = "cosine of the two models' refusal directions by layer"
    return _brief(number, name, result.cosine, line)


def _sweep(result: ProbeSweep) -> Brief:
    layered = np.flatnonzero(result.layers != NO_LAYER)
    order = layered[np.argsort(result.layers[layered], kind="stable")]
    layers = result.layers[order]
    best = [result.auroc[order][layers == one].max() for one in np.unique(layers)]
    at = result.best
    return _brief(
        f"{result.auroc[at]:.2f}",
        f"highest AUROC of a probe, at {result.sites[at]}",
        np.array(best or [np.nan]),
        "highest AUROC by layer",
    )


def _transfer(result: TransferMatrix) -> Brief:
    mean = np.nan_to_num(result.left_out.mean(axis=0), nan=0.5)
    at = result.best
    return _brief(
        f"{mean[at]:.2f}",
        f"mean AUROC on data sets left out, at {result.sites[at]}",
        mean,
        "mean AUROC on data sets left out, by site and position",
    )


def _patching(result: PatchMap) -> Brief:
    gap = (result.other_ld.astype(np.float64) - result.unpatched_ld).mean()
    moved = result.ld[0].astype(np.float64) - result.unpatched_ld[:, None, None]
    held = np.isfinite(moved)
    sums = np.where(held, moved, 0).sum(0)
    counts = held.sum(0)
    mean = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    curve = _largest(mean / gap if gap else np.full(mean.shape, np.nan))
    largest = float(np.nanmax(curve)) if np.isfinite(curve).any() else np.nan
    return _brief(
        _number(largest),
        "of the difference of the two prompts' logits, the most that patching "
        f"{result.units[0]} at one layer and token moves",
        curve,
        "the most that a token moves, by layer",
    )


def _knowledge(result: KnowledgeComparison) -> Brief:
    run = result.runs.index("post")
    found = result.restoration[run, 0][:, result.knowledge]
    likeness = result.likeness_of()
    rows = likeness.rows if likeness else ()
    r = next((row.value for row in rows if row.measure == "pearson"), np.nan)
    return _brief(
        _number(r),
        "correlation of the two models' restoration maps",
        _largest(found),
        "largest restoration at a token of subject or object, by layer",
    )


def _heads(
    scores: Float[np.ndarray, "layer head"], name: str, top: tuple[str, ...]
) -> Brief:
    found = scores[np.isfinite(scores)]
    largest = float(found.max()) if found.size else np.nan
    first = f" ({top[0]})" if top else ""
    return _brief(
        _number(largest),
        f"highest {name} of a head{first}",
        np.sort(found)[::-1],
        f"{name}, all heads from highest to lowest",
    )


def _neurons(result: NeuronTable) -> Brief:
    return _brief(
        str(result.candidates.size),
        f"candidate entropy neurons in layer {result.layer}",
        np.log10(np.maximum(result.singular_values, 1e-12)),
        "singular values of the unembedding, on a logarithmic scale",
    )


def _confidence(result: ConfidenceComparison) -> Brief:
    change = float((result.entropy[1] - result.entropy[0]).mean())
    return _brief(
        f"{change:+.2f} nats",
        "change of mean entropy from base to post-trained",
        result.overlap,
        "candidate entropy neurons that both models share, by how many are taken of "
        "each",
    )


def _timeline(result: HeadTimeline) -> Brief:
    changes = sum(phase.verdict == "transition" for phase in result.phases)
    return _brief(
        f"{changes} of {len(result.phases)}",
        "curves over training have a phase change",
        result.mean[0],
        f"{_curve_words(result.curves[0])} by checkpoint",
    )


def _formation(result: FormationRun) -> Brief:
    held = sum(finding.held for finding in result.findings)
    return _brief(
        f"{held} of {len(result.findings)}",
        "published claims that hold in these runs",
        np.nanmean(result.curves[0], axis=0),
        f"{_words(result.metrics[0])} by training step",
    )


def _steered(result: SteeredText) -> Brief:
    mean = float(result.kl.mean()) if result.kl.size else 0.0
    return _brief(
        f"{mean:.2f} nats",
        "mean KL divergence of the steered from the unchanged model, per token",
        result.kl if result.kl.size else np.zeros(1),
        "KL divergence by token",
    )
