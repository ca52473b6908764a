"""Neurons of the last MLP that regulate confidence: find, test, compare and swap."""

from interp.neurons.confidence import (
    TokenConfidence as TokenConfidence,
    token_confidence as token_confidence,
)
from interp.neurons.effects import effects as effects
from interp.neurons.frequency import (
    frequency_cosines as frequency_cosines,
    own_token_counts as own_token_counts,
    token_counts as token_counts,
    unigram_direction as unigram_direction,
)
from interp.neurons.overlap import (
    Overlap as Overlap,
    overlap as overlap,
    overlap_of_rankings as overlap_of_rankings,
)
from interp.neurons.promoted import promoted_tokens as promoted_tokens
from interp.neurons.swaps import (
    distance_moved as distance_moved,
    matched_controls as matched_controls,
    swapped_neurons as swapped_neurons,
)
from interp.neurons.table import entropy_neurons as entropy_neurons
from interp.results.calibration import (
    Bins as Bins,
    ratio_interval as ratio_interval,
    reliability as reliability,
)
from interp.statistics.calibration import (
    CalibrationError as CalibrationError,
    calibration_error as calibration_error,
)
