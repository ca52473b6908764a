"""Edits: what is changed inside a model while it runs, as values and `with` blocks."""

from interp.edits.orthogonalise import (
    logit_error as logit_error,
    orthogonalise as orthogonalise,
)
from interp.edits.planting import edit as edit, unedited as unedited
from interp.edits.shortcuts import (
    ablate as ablate,
    clamp as clamp,
    erase as erase,
    patch as patch,
    steer as steer,
)
from interp.edits.values import (
    Add as Add,
    Clamp as Clamp,
    Edit as Edit,
    Erase as Erase,
    ProjectOut as ProjectOut,
    Replace as Replace,
    Scale as Scale,
)
from interp.edits.weights_files import (
    save_model as save_model,
    save_orthogonalised as save_orthogonalised,
)
from interp.edits.where import Where as Where
