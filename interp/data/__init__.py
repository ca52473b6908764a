"""Data for studies: statements with labels, contrasting instructions, splits."""

from interp.data.duplicates import (
    NearDuplicate as NearDuplicate,
    near_duplicates as near_duplicates,
)
from interp.data.instructions import (
    Contrast as Contrast,
    Instructions as Instructions,
    InstructionSplits as InstructionSplits,
    contrast as contrast,
    instructions as instructions,
    overlap as overlap,
)
from interp.data.labelled import join as join, statements as statements
from interp.data.pairing import pair_statements as pair_statements
from interp.data.pairing_values import (
    StatementPair as StatementPair,
    StatementPairs as StatementPairs,
)
from interp.data.prompts import PromptTable as PromptTable, prompts as prompts
from interp.data.splits import Splits as Splits, split_by_group as split_by_group
from interp.data.statements import Statements as Statements
from interp.data.surface import bag_of_words_scores as bag_of_words_scores
