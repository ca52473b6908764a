"""What a family promises, as numbers with bounds."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from interp.errors import InterpError


class TrainingError(InterpError, RuntimeError):
    """A family that breaks its promises even after more steps and new seeds."""

    exit_code = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One measured number and the bound it has to keep.

    Args:
        name: What was measured.
        value: The number.
        bound: The least or the largest that is right.
        kind: Which of the two the bound is.
        required: Whether the family is useless without it.
    """

    name: str
    value: float
    bound: float
    kind: Literal["at least", "at most"] = "at least"
    required: bool = True

    @property
    def held(self) -> bool:
        if self.kind == "at least":
            return self.value >= self.bound
        return self.value <= self.bound

    def __str__(self) -> str:
        return f"{self.name} {self.value:.2f} ({self.kind} {self.bound:g})"


def failed(checks: Iterable[Check], *, required: bool) -> tuple[Check, ...]:
    """The checks that do not hold, of those that are required or of the others."""
    return tuple(c for c in checks if not c.held and c.required == required)


def listed(checks: Iterable[Check]) -> str:
    return ", ".join(str(check) for check in checks)
