"""Models: loading, where their sites are, and the check that it holds."""

from typing import TYPE_CHECKING

from interp.lazy import lazy_names


if TYPE_CHECKING:
    from interp.models.selfcheck import (
        Check as Check,
        SelfCheck as SelfCheck,
        check as check,
    )


_WHERE = {
    "Check": "interp.models.selfcheck",
    "SelfCheck": "interp.models.selfcheck",
    "check": "interp.models.selfcheck",
}

__getattr__, __dir__ = lazy_names(__name__, _WHERE)
