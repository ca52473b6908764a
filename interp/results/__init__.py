"""Results of studies: frozen values that are saved, found and opened without torch."""

from interp.results.confidence import (
    ConfidenceComparison as ConfidenceComparison,
    ConfidenceRow as ConfidenceRow,
    NeuronEffect as NeuronEffect,
)
from interp.results.formation import (
    FormationFinding as FormationFinding,
    FormationRun as FormationRun,
    FormationTime as FormationTime,
)
from interp.results.head_ablation import HeadAblations as HeadAblations
from interp.results.heads import HeadScores as HeadScores
from interp.results.kinds import (
    KINDS as KINDS,
    Result as Result,
    load as load,
    save as save,
    title as title,
)
from interp.results.knowledge import KnowledgeComparison as KnowledgeComparison
from interp.results.map_comparison import MapComparison as MapComparison
from interp.results.neurons import (
    NeuronEffects as NeuronEffects,
    NeuronTable as NeuronTable,
)
from interp.results.patch_map import PatchMap as PatchMap
from interp.results.refusal import (
    Completion as Completion,
    InstructionCount as InstructionCount,
    ReadAnswer as ReadAnswer,
    RefusalCandidate as RefusalCandidate,
    RefusalComparison as RefusalComparison,
    RefusalCondition as RefusalCondition,
    RefusalCosine as RefusalCosine,
    RefusalDirection as RefusalDirection,
    RefusalDose as RefusalDose,
    RefusalLimits as RefusalLimits,
    RefusalProjection as RefusalProjection,
    RefusalPunctuation as RefusalPunctuation,
    RefusalSideEffect as RefusalSideEffect,
    ScoreInterval as ScoreInterval,
    conditions_of as conditions_of,
)
from interp.results.runs import (
    RunFolder as RunFolder,
    RunInfo as RunInfo,
    find as find,
    open_run as open_run,
    run_info as run_info,
)
from interp.results.steered import (
    SteeredText as SteeredText,
    SteeringAsked as SteeringAsked,
    steered_text as steered_text,
)
from interp.results.sweep import (
    Baseline as Baseline,
    Erasure as Erasure,
    ProbeSweep as ProbeSweep,
)
from interp.results.timeline import HeadTimeline as HeadTimeline
from interp.results.timeline_rows import (
    ChangeTime as ChangeTime,
    FailedCheckpoint as FailedCheckpoint,
    HeadSwap as HeadSwap,
    Lag as Lag,
    PhaseChange as PhaseChange,
)
from interp.results.transfer import TransferMatrix as TransferMatrix
from interp.results.truthfulness import (
    CarriedOver as CarriedOver,
    DatasetTransfer as DatasetTransfer,
    ProbeScore as ProbeScore,
    SplitCount as SplitCount,
    TruthCosine as TruthCosine,
    TruthEffect as TruthEffect,
    TruthfulnessComparison as TruthfulnessComparison,
)
