"""How alike the two models' refusal directions are, at every place and by template."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float32

from interp.results import RefusalCosine
from probes.studies.refusal.candidates import Candidates
from probes.studies.truthfulness.readout import cosines


Reading = Literal["own", "common"]


def cosine_rows(
    base: Candidates, base_in_common: Candidates, post: Candidates
) -> tuple[RefusalCosine, ...]:
    """The cosine of BASE's and POST's candidates at every position and layer.

    Positions are counted from the end of the prompt, so that the same place in a
    template stands beside the same one.

    Args:
        base: BASE's candidates, in its own template.
        base_in_common: BASE's in the template of POST.
        post: POST's candidates.
    """
    rows: list[RefusalCosine] = []
    readings: tuple[tuple[Reading, Candidates], ...] = (
        ("own", base),
        ("common", base_in_common),
    )
    for name, one in readings:
        alike = cosines(one.vectors, post.vectors)
        dead = one.degenerate | post.degenerate
        rows += [
            RefusalCosine(
                template=name,
                position=position,
                layer=layer,
                base_token=one.tokens[slot],
                post_token=post.tokens[slot],
                cosine=float("nan") if dead[slot, layer] else float(alike[slot, layer]),
            )
            for slot, position in enumerate(post.positions)
            for layer in range(post.n_layers)
        ]
    return tuple(rows)


def own_cosines(
    rows: Sequence[RefusalCosine], position: int
) -> Float32[np.ndarray, " layer"]:
    """The cosines at one position by layer, each model in its own template."""
    return np.array(
        [
            row.cosine
            for row in rows
            if row.template == "own" and row.position == position
        ],
        dtype=np.float32,
    )
