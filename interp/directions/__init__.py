"""Directions: vectors of a model's activations that stand for something."""

from interp.directions.comparing import (
    CosineComparison as CosineComparison,
    compare_directions as compare_directions,
)
from interp.directions.direction import Direction as Direction, cosine as cosine
from interp.directions.erasure import (
    Eraser as Eraser,
    fit_inlp as fit_inlp,
    fit_leace as fit_leace,
    least_squares_direction as least_squares_direction,
)
from interp.directions.files import (
    load as load,
    load_eraser as load_eraser,
    load_subspace as load_subspace,
    save as save,
)
from interp.directions.means import (
    checked_labels as checked_labels,
    mean_difference as mean_difference,
    mean_differences as mean_differences,
)
from interp.directions.nulls import (
    CosineNull as CosineNull,
    CosineTest as CosineTest,
    cosine_test as cosine_test,
    isotropic_null as isotropic_null,
)
from interp.directions.selection import (
    Selection as Selection,
    SelectionRule as SelectionRule,
    Stability as Stability,
    select as select,
    stability as stability,
)
from interp.directions.shuffling import shuffled_labels as shuffled_labels
from interp.directions.spanning import (
    class_means as class_means,
    principal_differences as principal_differences,
    span as span,
)
from interp.directions.subspace import (
    Subspace as Subspace,
    SubspaceTest as SubspaceTest,
    principal_angles as principal_angles,
)
