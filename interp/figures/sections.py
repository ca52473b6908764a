"""What a report shows of each kind of result."""

from typing import assert_never

import numpy as np

from interp.figures.confidence_panels import (
    confidence_panels,
    neuron_panels,
    neuron_tables,
)
from interp.figures.formation import formation_panels, formation_tables
from interp.figures.heads import copy_curve, head_map
from interp.figures.heads_ablation import ablation_map, ablation_routes
from interp.figures.knowledge_panels import knowledge_panels, knowledge_tables
from interp.figures.patching import patch_heatmap
from interp.figures.refusal_panels import refusal_panels, refusal_tables
from interp.figures.report import Hidden, Panel, Section, panel
from interp.figures.steered import steered_panels, steered_tables
from interp.figures.sweep import probe_curve, probe_heatmap
from interp.figures.timeline_panels import timeline_panels, timeline_tables
from interp.figures.transfer import transfer_heatmap
from interp.figures.truthfulness_panels import (
    truthfulness_panels,
    truthfulness_tables,
)
from interp.results.confidence import ConfidenceComparison
from interp.results.formation import FormationRun
from interp.results.head_ablation import HeadAblations
from interp.results.heads import HeadScores
from interp.results.kinds import Result, title
from interp.results.knowledge import KnowledgeComparison
from interp.results.neurons import NeuronTable
from interp.results.patch_map import PatchMap
from interp.results.refusal import RefusalComparison
from interp.results.steered import SteeredText
from interp.results.sweep import ProbeSweep
from interp.results.timeline import HeadTimeline
from interp.results.transfer import TransferMatrix
from interp.results.truthfulness import TruthfulnessComparison


def report_section(result: Result) -> Section:
    """The section of a report about one result: what was found, figures, tables.

    Args:
        result: The result.
    """
    match result:
        case TruthfulnessComparison():
            panels, hidden = truthfulness_panels(result), truthfulness_tables(result)
        case RefusalComparison():
            panels, hidden = refusal_panels(result), refusal_tables(result)
        case ProbeSweep():
            panels, hidden = _probe_panels(result), _probe_tables(result)
        case PatchMap():
            panels, hidden = _patch_panels(result), ()
        case KnowledgeComparison():
            panels, hidden = knowledge_panels(result), knowledge_tables(result)
        case HeadScores():
            panels, hidden = _head_panels(result), ()
        case HeadAblations():
            panels, hidden = _ablation_panels(result), ()
        case HeadTimeline():
            panels, hidden = timeline_panels(result), timeline_tables(result)
        case FormationRun():
            panels, hidden = formation_panels(result), formation_tables(result)
        case NeuronTable():
            panels, hidden = neuron_panels(result), neuron_tables(result)
        case ConfidenceComparison():
            panels, hidden = confidence_panels(result), neuron_tables(result)
        case SteeredText():
            panels, hidden = steered_panels(result), steered_tables(result)
        case TransferMatrix():
            panels, hidden = _transfer_panels(result), ()
        case _:
            assert_never(result)
    return Section(
        title=title(result),
        summary=result.headline(),
        panels=panels,
        notes=result.notes,
        hidden=hidden,
    )


def _patch_panels(result: PatchMap) -> tuple[Panel, ...]:
    return tuple(
        Panel(
            name="patch_heatmap",
            figure=patch_heatmap(result, unit=unit),
            alt=f"Heat map of what patching {name} moves, by layer and role.",
        )
        for unit, name in enumerate(result.units[:4])
    )


def _probe_panels(result: ProbeSweep) -> tuple[Panel, ...]:
    panels: list[Panel] = []
    rows = result.to_dataframe()
    best = f"{result.sites[result.best]} reaches {result.auroc[result.best]:.2f}"
    if len({*result.layers[result.layers >= 0].tolist()}) > 1:
        alt = f"AUROC by layer beside controls and baselines; {best}, chance 0.5."
        panels.append(panel(probe_curve, result, alt=alt, rows=rows))
    if len({*result.positions}) > 1:
        alt = f"A map of AUROC by site and position; {best}."
        panels.append(panel(probe_heatmap, result, alt=alt, rows=rows))
    return tuple(panels)


def _transfer_panels(result: TransferMatrix) -> tuple[Panel, ...]:
    worst = float(np.nanmin(result.left_out[:, result.best], initial=1.0))
    alt = f"AUROC by training and test data set; left out, {worst:.2f} or more."
    return (panel(transfer_heatmap, result, alt=alt, rows=result.to_dataframe()),)


def _probe_tables(result: ProbeSweep) -> tuple[Hidden, ...]:
    tables = [Hidden(title="Every probe", rows=result.to_dataframe())]
    if result.baselines:
        rows = result.baselines_dataframe()
        tables.append(Hidden(title="What a probe must beat", rows=rows))
    return tuple(tables)


def _ablation_panels(result: HeadAblations) -> tuple[Panel, ...]:
    kind = result.kinds[0]
    return (
        Panel(
            name="ablation_map",
            figure=ablation_map(result, kind),
            alt=f"A map of the change of loss by layer and head; most for "
            f"{', '.join(result.top(kind))}.",
            rows=result.to_dataframe(),
        ),
        panel(
            ablation_routes,
            result,
            alt="The change of loss of the heads that matter most, by what is put in"
            " their place.",
        ),
    )


def _head_panels(result: HeadScores) -> tuple[Panel, ...]:
    panels = [
        Panel(
            name="head_map",
            figure=head_map(result, metric),
            alt=f"A map of {metric} by layer and head; highest are "
            f"{', '.join(result.top(metric))}.",
            rows=result.to_dataframe().query("metric == @metric"),
        )
        for metric in result.metrics
    ]
    if result.periods.any():
        panels.append(
            panel(
                copy_curve,
                result,
                alt="Loss by position, aligned at the start of the second copy.",
                rows=result.by_copy(),
            )
        )
    return tuple(panels)
