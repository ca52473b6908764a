"""Directions: vectors of a model's activations that stand for something."""

from interp.directions.direction import Direction as Direction, cosine as cosine
from interp.directions.files import load as load, save as save
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
from interp.directions.shuffling import shuffled_labels as shuffled_labels
