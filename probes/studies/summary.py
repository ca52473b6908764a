"""What a result says, as numbers for machines and as sentences for people.

Knows neither torch nor models.
"""

from typing import assert_never

import numpy as np
import pandas as pd

from interp.results import (
    ConfidenceComparison,
    FormationRun,
    HeadAblations,
    HeadScores,
    HeadTimeline,
    KnowledgeComparison,
    NeuronTable,
    PatchMap,
    ProbeSweep,
    RefusalComparison,
    Result,
    SteeredText,
    TransferMatrix,
    TruthfulnessComparison,
)
from probes.studies import sweep_summary, timeline_summary
from probes.studies.confidence import summary as confidence
from probes.studies.knowledge import summary as knowledge
from probes.studies.refusal import summary as refusal
from probes.studies.truthfulness import summary as truthfulness
from probes.studies.values import Value, number


def numbers(result: Result) -> dict[str, Value]:
    """The numbers of a result that a caller wants first, ready for JSON.

    An interval is a list `[estimate, low, high]`; what is not defined is None.
    """
    match result:
        case TruthfulnessComparison():
            return truthfulness.numbers(result)
        case RefusalComparison():
            return refusal.numbers(result)
        case ProbeSweep():
            return sweep_summary.numbers(result)
        case PatchMap():
            return {}
        case HeadScores():
            return {
                name: [list(result.top(name)), number(result.value(name).max())]
                for name in result.metrics
            }
        case HeadAblations():
            return {
                name: [list(result.top(name)), number(np.nanmax(result.value(name)))]
                for name in result.kinds
            }
        case NeuronTable():
            return {
                "headline": result.headline(),
                "candidates": result.candidates.tolist(),
            }
        case ConfidenceComparison():
            return confidence.numbers(result)
        case KnowledgeComparison():
            return knowledge.numbers(result)
        case FormationRun():
            return {str(f): f.held for f in result.findings}
        case HeadTimeline():
            return timeline_summary.numbers(result)
        case SteeredText():
            return {
                "unchanged": result.texts[0],
                "steered": result.texts[1],
                "kl": [number(value) for value in result.kl],
            }
        case TransferMatrix():
            return sweep_summary.transfer_numbers(result)
        case _:
            assert_never(result)


def sentences(result: Result) -> tuple[str, ...]:
    """What was found and what limits it, in sentences."""
    match result:
        case TruthfulnessComparison():
            return (result.headline(), *truthfulness.sentences(result))
        case RefusalComparison():
            return (result.headline(), *refusal.sentences(result))
        case ProbeSweep():
            return (result.headline(),)
        case PatchMap():
            return (result.headline(),)
        case HeadScores() | HeadAblations():
            return (result.headline(),)
        case NeuronTable():
            return (result.headline(),)
        case ConfidenceComparison():
            return (result.headline(), *confidence.sentences(result))
        case KnowledgeComparison():
            return (result.headline(), *knowledge.sentences(result))
        case FormationRun():
            return (result.headline(), *(str(f) for f in result.findings[2:]))
        case HeadTimeline():
            return (result.headline(), *timeline_summary.sentences(result))
        case SteeredText():
            return (result.headline(),)
        case TransferMatrix():
            return (result.headline(),)
        case _:
            assert_never(result)


def brief_table(result: Result) -> pd.DataFrame:
    """The table that a person wants first, a few columns of text."""
    match result:
        case TruthfulnessComparison():
            return truthfulness.layer_table(result)
        case RefusalComparison():
            return refusal.rate_table(result)
        case ProbeSweep():
            return sweep_summary.probe_table(result)
        case PatchMap():
            return result.to_dataframe()
        case HeadScores():
            frame = result.to_dataframe()
            return frame.sort_values("score", ascending=False).groupby("metric").head(5)
        case HeadAblations():
            frame = result.to_dataframe()
            return frame.sort_values("loss", ascending=False).groupby("kind").head(5)
        case NeuronTable():
            frame = result.to_dataframe()
            return frame.query("candidate").sort_values("logit_var")
        case ConfidenceComparison():
            return confidence.brief_table(result)
        case KnowledgeComparison():
            return knowledge.step_table(result)
        case FormationRun():
            return result.findings_dataframe()
        case HeadTimeline():
            return timeline_summary.phase_table(result)
        case SteeredText():
            rows = result.to_dataframe().drop(columns=["token", "pos"])
            return rows.groupby("text", sort=False).agg("mean").reset_index()
        case TransferMatrix():
            return sweep_summary.transfer_table(result)
        case _:
            assert_never(result)
