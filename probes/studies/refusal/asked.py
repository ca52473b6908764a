"""A refusal study after a direction was chosen: what is asked of whom, and by what."""

from dataclasses import dataclass
from functools import cached_property

from interp.data import Contrast
from interp.results.refusal import Instructions, Source
from interp.results.truthfulness import ROLES, Role
from probes.studies.refusal.choice import Choice, vectors_of
from probes.studies.refusal.completions import Vector
from probes.studies.refusal.fitting import Fitted
from probes.studies.refusal.setting import Side
from probes.studies.refusal.spec import RefusalSpec


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """What all measurements share.

    Attributes:
        sides: BASE and POST.
        instructions: Harmful and harmless instructions, already split.
        fitted: What training prompts gave.
        choice: The direction that was chosen for POST, or none.
        reasons: Why directions cannot be ablated in BASE and in POST; empty if they
            can.
        spec: The settings.
    """

    sides: tuple[Side, Side]
    instructions: Contrast
    fitted: Fitted
    choice: Choice
    reasons: tuple[str, str]
    spec: RefusalSpec

    @cached_property
    def vectors(self) -> dict[tuple[Role, Source], Vector]:
        """Each direction as it is used in each model."""
        chosen = self.choice.chosen
        return vectors_of(chosen, self.fitted.found, seed=self.spec.seed)

    @property
    def texts(self) -> dict[Instructions, tuple[str, ...]]:
        """The instructions to which answers are reported."""
        return {
            "harmful": self.instructions.harmful.test,
            "harmless": self.instructions.harmless.test,
        }

    @property
    def able(self) -> tuple[Role, ...]:
        """The models in which directions can be ablated everywhere."""
        pairs = zip(ROLES, self.reasons, strict=True)
        return tuple(role for role, reason in pairs if not reason)

    def side(self, role: Role) -> Side:
        """The model of a role."""
        return self.sides[ROLES.index(role)]
