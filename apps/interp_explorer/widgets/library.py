"""Directions and probes as a list shows them. Knows nothing of Streamlit."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from interp.directions.probe import Probe
from interp_explorer.saved import SavedDirection
from interp_explorer.widgets.text import spoken


MOST_LETTERS = 20
# What the less common names of `measures` mean.
MEANINGS = {
    "Norm": "The length of the vector: of a probe, of its weights.",
    "Class gap": "How far the means of the two classes are apart along it; the unit of "
    "strength in the Lab.",
    "Test AUROC": "The chance that a positive example of the test set scores higher "
    "than a negative one; 0.5 is guessing.",
    "Threshold (logit)": "Above it an example is taken for positive.",
}


def gap(saved: SavedDirection) -> float:
    """The distance of the class means along the direction, NaN if it is unknown.

    Args:
        saved: The direction.
    """
    low, high = saved.direction.negative_mean, saved.direction.positive_mean
    return math.nan if low is None or high is None else high - low


def kind_of(probe: Probe) -> str:
    """What kind of probe it is, in words; of a function that fitted it, its name.

    Args:
        probe: The probe.

    Example:
        >>> kind_of(Probe(weights=np.ones(2), kind="fit_mean_difference"))
        'mean difference probe'
    """
    return f"{spoken(probe.kind.removeprefix('fit_'))} probe".strip()


def norm(saved: SavedDirection) -> float:
    """The length of the vector in the file: of a probe, of its weights.

    Args:
        saved: The direction or probe.
    """
    if saved.probe is not None:
        return float(np.linalg.norm(saved.probe.weights))
    return saved.direction.scale


def table(found: Sequence[SavedDirection]) -> pd.DataFrame:
    """One row per direction or probe.

    Args:
        found: The directions and probes.
    """
    held = [saved.direction for saved in found]
    return pd.DataFrame(
        {
            "name": [saved.name for saved in found],
            "what": [
                "direction" if saved.probe is None else kind_of(saved.probe)
                for saved in found
            ],
            "site": [one.site for one in held],
            "layer": pd.array([one.layer for one in held], dtype="Int64"),
            "norm": [norm(saved) for saved in found],
            "class gap": [gap(saved) for saved in found],
            "position": [one.position for one in held],
            "model": [one.model for one in held],
            "revision": [(one.revision or one.weights)[:12] for one in held],
            "d_model": [len(one.unit) for one in held],
            "examples": [one.n_negative + one.n_positive for one in held],
            "test AUROC": [
                math.nan
                if saved.probe is None or saved.probe.test_auroc is None
                else saved.probe.test_auroc
                for saved in found
            ],
            "made as": [one.rule for one in held],
            "run": [saved.run for saved in found],
        }
    )


def measures(saved: SavedDirection) -> dict[str, float]:
    """The numbers of a direction or probe by their names, NaN where unknown.

    Args:
        saved: The direction or probe.
    """
    one = saved.probe or saved.direction
    found: dict[str, float | None] = {"Norm": norm(saved)}
    if saved.probe is None:
        found["Class gap"] = gap(saved)
        found["Mean of the negative"] = one.negative_mean
        found["Mean of the positive"] = one.positive_mean
    else:
        found["Test AUROC"] = saved.probe.test_auroc
        found["Threshold (logit)"] = saved.probe.threshold
        found["Mean logit, negative"] = one.negative_mean
        found["Mean logit, positive"] = one.positive_mean
    return {name: math.nan if x is None else x for name, x in found.items()}


def facts(saved: SavedDirection) -> dict[str, str]:
    """Where a direction or probe comes from, by what it is; empty where unknown.

    Args:
        saved: The direction or probe.
    """
    one = saved.direction
    found = {
        "file": saved.name,
        "run": saved.run,
        "weights": one.weights,
        "revision": one.revision,
        "chat template": one.template,
    }
    if saved.probe is not None:
        found["training data"] = saved.probe.data
        found["hash of the training data"] = saved.probe.fingerprint
    return found


def cosine_rows(found: Sequence[SavedDirection]) -> pd.DataFrame:
    """The cosine of every two of them.

    Args:
        found: Directions and probes of as many dimensions.
    """
    units = np.stack([saved.direction.unit for saved in found]).astype(np.float64)
    cosines, names = units @ units.T, [saved.name for saved in found]
    pairs = [(i, j) for i in range(len(found)) for j in range(i)]
    return pd.DataFrame(
        {
            "first": [names[j] for _, j in pairs],
            "second": [names[i] for i, _ in pairs],
            "cosine": [cosines[i, j] for i, j in pairs],
        }
    )


def python_code(found: Sequence[SavedDirection]) -> str:
    """The Python that draws the cosines again.

    Args:
        found: The directions.
    """
    readers = {True: "read_probe", False: "read_direction"}
    calls = [
        f"{readers[saved.probe is not None]}({str(saved.path)!r})" for saved in found
    ]
    held = "".join(f"    {call},\n" for call in calls)
    return (
        "import numpy as np\n\n"
        "from interp.directions.stored import read_direction, read_probe\n"
        "from interp.figures.cosine_matrix import cosine_matrix\n\n"
        f"held = [\n{held}]\n"
        f"names = {labels(found)!r}\n"
        f"short = {stems(found)!r}\n"
        "vectors = np.stack([one.unit for one in held])\n"
        "cosine_matrix(names, vectors, short=short).show()"
    )


def stems(found: Sequence[SavedDirection]) -> list[str]:
    """The names of their files, long ones without their middle; they may be the same.

    Args:
        found: The directions.
    """
    return [_cut(saved.path.stem) for saved in found]


def _cut(stem: str) -> str:
    # Names of one study differ at their ends more often than at their beginnings.
    end = MOST_LETTERS // 2
    return stem if len(stem) <= MOST_LETTERS else f"{stem[: end - 1]}…{stem[-end:]}"


def labels(found: Sequence[SavedDirection]) -> list[str]:
    """Short names, longer where they would be the same.

    Args:
        found: The directions.
    """
    short = [saved.label for saved in found]
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
    width = len(saved.direction.unit)
    same = [
        one
        for one in others
        if one.label == saved.label and len(one.direction.unit) == width
    ]
    return saved.label if len(same) < 2 else f"{saved.label} · {saved.name}"


def lab_query(
    saved: SavedDirection, others: Sequence[SavedDirection]
) -> dict[str, str]:
    """The address of the Lab where tokens are scored, and text steered, along it.

    Args:
        saved: The direction or probe.
        others: What else there is.
    """
    label = lab_label(saved, others)
    query = {"l_readers": label}
    return {**query, "l_direction": label} if saved.has_gap else query


def usual_width(found: Sequence[SavedDirection]) -> int:
    """How many dimensions most of the directions have.

    Args:
        found: The directions.
    """
    return Counter(len(saved.direction.unit) for saved in found).most_common(1)[0][0]
