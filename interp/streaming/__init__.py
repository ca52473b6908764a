"""Text token by token: with edits in force, scored by readers, beside the unchanged."""

from interp.results.streams import (
    SideBySide as SideBySide,
    TokenScores as TokenScores,
    WrittenText as WrittenText,
)
from interp.streaming.pairs import (
    PairStep as PairStep,
    compare as compare,
    side_by_side as side_by_side,
    stream_pair as stream_pair,
)
from interp.streaming.readers import TokenReader as TokenReader, reader_of as reader_of
from interp.streaming.scoring import token_scores as token_scores
from interp.streaming.steering import (
    EditSize as EditSize,
    Operation as Operation,
    edit_sizes as edit_sizes,
    steering_edits as steering_edits,
)
from interp.streaming.stepping import (
    Sampling as Sampling,
    Step as Step,
    stream as stream,
)
