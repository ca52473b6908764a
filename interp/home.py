"""Where things are kept between runs."""

import os
from pathlib import Path


def interp_home() -> Path:
    """The folder of everything that is kept between runs.

    Returns:
        The environment variable `INTERP_HOME`, or `~/.cache/interp`.
    """
    return Path(os.environ.get("INTERP_HOME") or Path.home() / ".cache" / "interp")
