"""Attention heads: what each looks at, copies and reads from others."""

from interp.heads.ablation import ablate_heads as ablate_heads
from interp.heads.attribution import (
    HeadAttribution as HeadAttribution,
    attribute_heads as attribute_heads,
)
from interp.heads.composition import (
    Composition as Composition,
    composition as composition,
)
from interp.heads.copying import Copying as Copying, copying as copying
from interp.heads.copying_activation import (
    CopyingByActivation as CopyingByActivation,
    copying_by_activation as copying_by_activation,
)
from interp.heads.in_context import (
    CopyGain as CopyGain,
    InContextScore as InContextScore,
    TokenLosses as TokenLosses,
    copy_gain as copy_gain,
    in_context_score as in_context_score,
    token_losses as token_losses,
)
from interp.heads.metrics import (
    AttentionScores as AttentionScores,
    CheckpointMetric as CheckpointMetric,
    CopyingByWeights as CopyingByWeights,
    Losses as Losses,
    Measured as Measured,
    MetricContext as MetricContext,
    StrongestComposition as StrongestComposition,
)
from interp.heads.metrics_readout import (
    ContrastDirection as ContrastDirection,
    EntropyNeurons as EntropyNeurons,
    Examples as Examples,
    ProbeAccuracy as ProbeAccuracy,
    refusal_direction as refusal_direction,
    statement_examples as statement_examples,
    truth_direction as truth_direction,
)
from interp.heads.phase import (
    lag as lag,
    over_runs as over_runs,
    phase_change as phase_change,
)
from interp.heads.prefix_trace import (
    PrefixTrace as PrefixTrace,
    prefix_match_trace as prefix_match_trace,
)
from interp.heads.rotation import lag_matrices as lag_matrices
from interp.heads.scoring import score as score
from interp.heads.sequences import (
    RepeatedTokens as RepeatedTokens,
    repeated_tokens as repeated_tokens,
    token_pool as token_pool,
)
from interp.heads.series import (
    CheckpointRef as CheckpointRef,
    Series as Series,
    find_series as find_series,
)
from interp.heads.skeleton import Loading as Loading
from interp.heads.strength import (
    InductionStrength as InductionStrength,
    induction_strength as induction_strength,
)
from interp.heads.track import track as track
from interp.heads.track_spec import SequenceSpec as SequenceSpec
from interp.heads.weights import (
    HeadWeights as HeadWeights,
    head_weights as head_weights,
)
