"""Edits: what is changed inside a model while it runs, as values and `with` blocks."""

from interp.edits.planting import edit as edit, unedited as unedited
from interp.edits.shortcuts import (
    ablate as ablate,
    clamp as clamp,
    patch as patch,
    steer as steer,
)
from interp.edits.values import (
    Add as Add,
    Clamp as Clamp,
    Edit as Edit,
    ProjectOut as ProjectOut,
    Replace as Replace,
    Scale as Scale,
)
from interp.edits.where import Where as Where
