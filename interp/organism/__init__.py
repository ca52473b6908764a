"""The embedded model family: tiny models trained from a seed, with something to find.

`train("facts")` gives a BASE model with checkpoints and a POST model fine-tuned from
it: facts that can be traced, a truth direction that both share, a refusal direction
that only POST has. `train("induction")` gives a checkpoint series in which induction
heads form. Both are ordinary Hugging Face folders and go through the code path of any
other model.
"""

from .checks import Check as Check, TrainingError as TrainingError
from .family import (
    Family as Family,
    FamilyName as FamilyName,
    read_family as read_family,
)
from .recipes import (
    FactsRecipe as FactsRecipe,
    InductionRecipe as InductionRecipe,
    Phase as Phase,
)
from .table import FactTable as FactTable, read_facts as read_facts
from .training import OrganismWarning as OrganismWarning, train as train
