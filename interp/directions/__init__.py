"""Directions: vectors of a model's activations that stand for something.

What can be read without torch, directions in files among it, is imported without it:
every name below is loaded on first use.
"""

from typing import TYPE_CHECKING

from interp.lazy import lazy_names


if TYPE_CHECKING:
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
        load_probe as load_probe,
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
    from interp.directions.probe import Probe as Probe
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


_WHERE = {
    "CosineComparison": "interp.directions.comparing",
    "compare_directions": "interp.directions.comparing",
    "Direction": "interp.directions.direction",
    "cosine": "interp.directions.direction",
    "Eraser": "interp.directions.erasure",
    "fit_inlp": "interp.directions.erasure",
    "fit_leace": "interp.directions.erasure",
    "least_squares_direction": "interp.directions.erasure",
    "load": "interp.directions.files",
    "load_eraser": "interp.directions.files",
    "load_probe": "interp.directions.files",
    "load_subspace": "interp.directions.files",
    "save": "interp.directions.files",
    "checked_labels": "interp.directions.means",
    "mean_difference": "interp.directions.means",
    "mean_differences": "interp.directions.means",
    "CosineNull": "interp.directions.nulls",
    "CosineTest": "interp.directions.nulls",
    "cosine_test": "interp.directions.nulls",
    "isotropic_null": "interp.directions.nulls",
    "Probe": "interp.directions.probe",
    "Selection": "interp.directions.selection",
    "SelectionRule": "interp.directions.selection",
    "Stability": "interp.directions.selection",
    "select": "interp.directions.selection",
    "stability": "interp.directions.selection",
    "shuffled_labels": "interp.directions.shuffling",
    "class_means": "interp.directions.spanning",
    "principal_differences": "interp.directions.spanning",
    "span": "interp.directions.spanning",
    "Subspace": "interp.directions.subspace",
    "SubspaceTest": "interp.directions.subspace",
    "principal_angles": "interp.directions.subspace",
}

__getattr__, __dir__ = lazy_names(__name__, _WHERE)
