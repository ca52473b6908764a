"""Directions: vectors of a model's activations that stand for something."""

from interp.directions.direction import Direction as Direction, cosine as cosine
from interp.directions.files import load as load, save as save
from interp.directions.means import (
    checked_labels as checked_labels,
    mean_difference as mean_difference,
    mean_differences as mean_differences,
)
