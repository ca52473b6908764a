"""What settings of a study may be, told before anything is loaded."""

import math

from interp.errors import ConfigError


MOST_SEED = 2**31 - 1


def require_at_least(settings: object, **least: int | float) -> None:
    """Refuse a setting that lies below its least value; None is left alone.

    Args:
        settings: The settings.
        least: The least value of each, by its name.

    Raises:
        ConfigError: If one lies below, or is not a number.

    Example:
        >>> from types import SimpleNamespace
        >>> require_at_least(SimpleNamespace(draws=0), draws=1)
        Traceback (most recent call last):
        interp.errors.ConfigError: draws is 0. At least 1.
    """
    for name, bound in least.items():
        value = getattr(settings, name)
        if value is not None and not value >= bound:
            raise ConfigError(f"{name} is {value}.", expected=f"At least {bound}.")


def require_finite(settings: object, *names: str) -> None:
    """Refuse numbers, or tuples of them, that are infinite or not a number.

    Args:
        settings: The settings.
        names: Which of them.

    Raises:
        ConfigError: If one is not finite.
    """
    for name in names:
        value = getattr(settings, name)
        for number in value if isinstance(value, tuple) else (value,):
            if not math.isfinite(number):
                raise ConfigError(f"{name} is {number}.", expected="A finite number.")


def require_seed(seed: int) -> None:
    """Refuse what not every generator of random numbers takes as its seed.

    Args:
        seed: The seed.

    Raises:
        ConfigError: If it is negative or too large.
    """
    if not 0 <= seed <= MOST_SEED:
        raise ConfigError(
            f"The seed is {seed}.", expected=f"A seed is between 0 and {MOST_SEED}."
        )
