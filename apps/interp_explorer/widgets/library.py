"""Directions as a list shows them. Knows nothing of Streamlit."""

import math
from collections import Counter
from collections.abc import Sequence

import pandas as pd

from interp_explorer.saved import SavedDirection


def gap(saved: SavedDirection) -> float:
    """The distance of the class means along the direction, NaN if it is unknown.

    Args:
        saved: The direction.
    """
    low, high = saved.direction.negative_mean, saved.direction.positive_mean
    return math.nan if low is None or high is None else high - low


def table(found: Sequence[SavedDirection]) -> pd.DataFrame:
    """One row per direction.

    Args:
        found: The directions.
    """
    held = [saved.direction for saved in found]
    return pd.DataFrame(
        {
            "name": [saved.name for saved in found],
            "site": [one.site for one in held],
            "layer": pd.array([one.layer for one in held], dtype="Int64"),
            "norm": [one.scale for one in held],
            "class gap": [gap(saved) for saved in found],
            "position": [one.position for one in held],
            "model": [one.model for one in held],
            "revision": [(one.revision or one.weights)[:12] for one in held],
            "d_model": [len(one.unit) for one in held],
            "examples": [one.n_negative + one.n_positive for one in held],
            "made as": [one.rule for one in held],
            "run": [saved.run for saved in found],
        }
    )


def python_code(found: Sequence[SavedDirection]) -> str:
    """The Python that draws the cosines again.

    Args:
        found: The directions.
    """
    files = "".join(f"    {str(saved.path)!r},\n" for saved in found)
    return (
        "import numpy as np\n\nfrom interp.directions.stored import read_direction\n"
        "from interp.figures.cosine_matrix import cosine_matrix\n\n"
        f"files = [\n{files}]\n"
        "units = np.stack([read_direction(file).unit for file in files])\n"
        "cosine_matrix(files, units).show()"
    )


def labels(found: Sequence[SavedDirection]) -> list[str]:
    """Short names, longer where they would be the same.

    Args:
        found: The directions.
    """
    short = [lab_label(saved, ()) for saved in found]
    often = Counter(short)
    runs = [saved.run.split("/")[-1] or saved.name for saved in found]
    named = [
        name if often[name] == 1 else f"{name} · {run}"
        for name, run in zip(short, runs, strict=True)
    ]
    twice = Counter(named)
    return [
        name if twice[name] == 1 else saved.name
        for name, saved in zip(named, found, strict=True)
    ]


def lab_label(saved: SavedDirection, others: Sequence[SavedDirection]) -> str:
    """What the Lab calls a direction among those of as many dimensions.

    Args:
        saved: The direction.
        others: What else there is.
    """
    label = f"{saved.path.stem} · {saved.direction.site}"
    width = len(saved.direction.unit)
    same = [
        one
        for one in others
        if f"{one.path.stem} · {one.direction.site}" == label
        and len(one.direction.unit) == width
    ]
    return label if len(same) < 2 else f"{label} · {saved.name}"


def usual_width(found: Sequence[SavedDirection]) -> int:
    """How many dimensions most of the directions have.

    Args:
        found: The directions.
    """
    return Counter(len(saved.direction.unit) for saved in found).most_common(1)[0][0]
