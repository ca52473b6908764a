"""Statistics in NumPy: AUROC, intervals from resampled groups, proportions, seeds.

Everything is vectorised over leading axes (layers, models, conditions) and every
interval of one call uses the same resamples, so that differences between layers or
models are paired. Knows no torch.
"""

from interp.statistics.calibration import (
    CalibrationError as CalibrationError,
    calibration_error as calibration_error,
    consistency_band as consistency_band,
)
from interp.statistics.groups import (
    effective_groups as effective_groups,
    group_codes as group_codes,
)
from interp.statistics.intervals import (
    auroc_difference as auroc_difference,
    auroc_interval as auroc_interval,
    mean_interval as mean_interval,
)
from interp.statistics.proportions import wilson as wilson
from interp.statistics.ranking import auroc as auroc, average_ranks as average_ranks
from interp.statistics.seeds import (
    mean_over_seeds as mean_over_seeds,
    median_over_seeds as median_over_seeds,
)
from interp.statistics.small_samples import (
    corrected_resampled_t as corrected_resampled_t,
    t_quantile as t_quantile,
    widened as widened,
)
from interp.statistics.values import (
    LEVEL as LEVEL,
    Interval as Interval,
    Proportion as Proportion,
)
