"""What the layers of a model would say, and what each part adds to what it says."""

from interp.lens.contributions import logit_contributions as logit_contributions
from interp.lens.reading import logit_lens as logit_lens
from interp.lens.tokens import token_id as token_id
from interp.results.lens import (
    LensQuantity as LensQuantity,
    LensReading as LensReading,
    LogitContributions as LogitContributions,
)
